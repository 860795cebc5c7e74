//! The gateway as the merchant sees it: its live encryption certificate, and what it decides.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hyper::{HeaderMap, body::Bytes};
use mtls::{
    SharedTrust,
    client::{Answer, ClientConfigError, HttpClient, Limits, Server},
    identity::Identity,
};
use protocol::{
    authorization::{AuthorizationBody, AuthorizationResponse},
    encoding,
    identifiers::{Digest, Jti, Xid},
    inquiry::{Certificates, Receipts},
    json,
    lifecycle::{BatchResponse, LifecycleBody},
    names::{GatewayName, Role},
    pki::Usage,
    problem::{Problem, ProblemDocument, Refusal},
};
use rustls_pki_types::CertificateDer;
use serde::{Serialize, de::DeserializeOwned};

use crate::operation::Operation;

/// How long a fetched certificate is offered without looking again; a replaced key stays live for
/// longer than that.
const FRESH: Duration = Duration::from_secs(60);

/// The way to one gateway.
pub(crate) struct GatewayLink {
    name: GatewayName,
    client: HttpClient,
    trust: SharedTrust,
    encryption: Mutex<Option<(Instant, OfferedCertificate)>>,
}

/// An encryption certificate of the gateway that was verified.
#[derive(Clone)]
pub(crate) struct OfferedCertificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) thumbprint: Digest,
}

/// What asking came to.
pub(crate) enum Asked {
    /// The gateway answered with a receipt or a batch's totals, not verified yet.
    Answered(String),
    /// It refused this copy of the request before doing anything, and will not answer otherwise.
    Refused(Refused),
    /// Nobody knows: ask again with the same bytes.
    Unknown(Unknown),
}

/// A refusal of one copy of a request. It says nothing of another copy that may still be under way.
pub(crate) struct Refused {
    pub(crate) problem: Problem,
    /// Whether another copy was sent just before, on a connection that broke.
    pub(crate) was_sent_twice: bool,
}

/// Why there is no outcome.
pub(crate) struct Unknown {
    /// What the gateway named, if it answered.
    pub(crate) problem: Option<Problem>,
    pub(crate) why: String,
}

impl From<String> for Unknown {
    fn from(why: String) -> Self {
        Self { problem: None, why }
    }
}

impl GatewayLink {
    pub(crate) fn new(
        name: GatewayName,
        url: String,
        identity: Identity,
        trust: SharedTrust,
    ) -> Result<Self, ClientConfigError> {
        let server = Server {
            url,
            role: Role::Gateway,
            name: Some(name.party().clone()),
            trust: SharedTrust::clone(&trust),
            identity: Some(identity),
        };
        let limits = Limits {
            request: Duration::from_secs(10),
            ..Limits::default()
        };
        Ok(Self {
            name,
            client: HttpClient::new(server, limits)?,
            trust,
            encryption: Mutex::new(None),
        })
    }

    pub(crate) fn name(&self) -> &GatewayName {
        &self.name
    }

    /// The certificate that PI is to be sealed to now.
    ///
    /// # Errors
    /// `overloaded`, when the gateway can't be asked or offers none that is good: try later.
    pub(crate) async fn encryption_certificate(&self) -> Result<OfferedCertificate, Refusal> {
        if let Some((fetched, certificate)) = &*self.encryption()
            && fetched.elapsed() < FRESH
        {
            return Ok(certificate.clone());
        }
        let certificate = self.fetch().await.map_err(|why| {
            Refusal::new(
                Problem::Overloaded,
                format!("no encryption certificate of the gateway: {why}"),
            )
        })?;
        *self.encryption() = Some((Instant::now(), certificate.clone()));
        Ok(certificate)
    }

    async fn fetch(&self) -> Result<OfferedCertificate, String> {
        let answer = self
            .client
            .get("/v1/certificates", HeaderMap::new())
            .await
            .map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("it answered {}", answer.status));
        }
        let offered: Certificates =
            json::read_message(&answer.body).map_err(|refusal| refusal.to_string())?;
        let chain = offered
            .encryption
            .first()
            .ok_or("it offers none")?
            .iter()
            .map(|text| encoding::base64_decode(text).map(CertificateDer::from))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let certificate = self
            .trust
            .load()
            .verify(&chain, Role::Gateway, Usage::Encryption, mtls::now())
            .map_err(|refusal| refusal.to_string())?;
        if certificate.name() != self.name.party() {
            return Err(format!("it offers {}'s", certificate.name()));
        }
        Ok(OfferedCertificate {
            chain,
            thumbprint: certificate.thumbprint(),
        })
    }

    /// Sends an authorization request; the same one may be sent any number of times.
    pub(crate) async fn authorize(&self, body: &AuthorizationBody) -> Asked {
        self.ask(
            "/v1/authorizations",
            body,
            |answer: AuthorizationResponse| answer.receipt,
        )
        .await
    }

    /// Sends a request for an operation; the same one may be sent any number of times.
    pub(crate) async fn operate(&self, operation: Operation, request: &str) -> Asked {
        let request = request.to_owned();
        self.ask(
            operation.path(),
            &LifecycleBody { request },
            |answer: AuthorizationResponse| answer.receipt,
        )
        .await
    }

    /// Sends a request to close a batch; the same one may be sent any number of times.
    pub(crate) async fn close_batch(&self, request: &str) -> Asked {
        let request = request.to_owned();
        self.ask(
            "/v1/batches",
            &LifecycleBody { request },
            |answer: BatchResponse| answer.batch,
        )
        .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        answered: impl FnOnce(T) -> String,
    ) -> Asked {
        let Ok(bytes) = serde_json::to_vec(body) else {
            return Asked::Unknown("the request can't be written".to_owned().into());
        };
        let answer = match self
            .client
            .post_json(path, Bytes::from(bytes), HeaderMap::new())
            .await
        {
            Ok(answer) => answer,
            Err(error) => return Asked::Unknown(error.to_string().into()),
        };
        if answer.status == 200 {
            return match json::read(&answer.body) {
                Ok(response) => Asked::Answered(answered(response)),
                Err(refusal) => Asked::Unknown(format!("its answer: {refusal}").into()),
            };
        }
        match problem_of(&answer) {
            Some(problem) if is_final(problem) => Asked::Refused(Refused {
                problem,
                was_sent_twice: answer.was_sent_twice,
            }),
            Some(problem) => Asked::Unknown(Unknown {
                problem: Some(problem),
                why: format!("it says {problem}"),
            }),
            None => Asked::Unknown(format!("it answered {}", answer.status).into()),
        }
    }

    /// The gateway's receipts about a transaction, oldest first and not verified yet; none when it knows
    /// of no decision.
    ///
    /// # Errors
    /// Says why the gateway did not say.
    pub(crate) async fn receipts(&self, xid: Xid) -> Result<Vec<String>, String> {
        let found: Option<Receipts> = self.look_up(&format!("/v1/authorizations/{xid}")).await?;
        Ok(found.map_or_else(Vec::new, |found| found.receipts))
    }

    /// The gateway's totals of a batch, not verified yet; none when it closed no such batch.
    ///
    /// # Errors
    /// Says why the gateway did not say.
    pub(crate) async fn closed_batch(&self, jti: Jti) -> Result<Option<String>, String> {
        let found: Option<BatchResponse> = self.look_up(&format!("/v1/batches/{jti}")).await?;
        Ok(found.map(|found| found.batch))
    }

    /// What the gateway has under a path; none when it knows of nothing there.
    async fn look_up<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        let answer = self
            .client
            .get(path, HeaderMap::new())
            .await
            .map_err(|error| error.to_string())?;
        if answer.status == 200 {
            return json::read(&answer.body)
                .map(Some)
                .map_err(|refusal| format!("its answer: {refusal}"));
        }
        match problem_of(&answer) {
            Some(Problem::UnknownAuthorization) => Ok(None),
            Some(problem) => Err(format!("it says {problem}")),
            None => Err(format!("it answered {}", answer.status)),
        }
    }

    fn encryption(&self) -> MutexGuard<'_, Option<(Instant, OfferedCertificate)>> {
        // A whole value is put in at once.
        self.encryption
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The problem that an answer names, if this version knows it.
fn problem_of(answer: &Answer) -> Option<Problem> {
    serde_json::from_slice::<ProblemDocument>(&answer.body)
        .ok()?
        .problem()
}

/// Whether a problem says that this request was not decided and never will be. An internal error of the
/// gateway says nothing of the kind.
fn is_final(problem: Problem) -> bool {
    problem.retry() != protocol::problem::Retry::SameRequest && problem != Problem::Internal
}
