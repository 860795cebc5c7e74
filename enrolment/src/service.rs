//! The enrolment service as a party asks it. What it tells is taken only when it leads to the root, and is of the party's
//! own name and key.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderValue},
};
use mtls::{
    SharedTrust,
    client::{Answer, ClientConfigError, ClientError, HttpClient, Limits},
    identity::Identity,
    rooted::Root,
};
use protocol::{
    names::{PartyName, Role},
    pki::Usage,
    problem::{Problem, Refusal},
};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::{
    certs_only,
    label::Label,
    wire::{self, Operation},
};

/// The service's id: the last part of its URN, `urn:twinseal:gateway:enrolment`. No other certificate under the root is
/// asked for one, nor told a secret.
pub const ID: &str = "enrolment";

/// How much of what the service says is shown.
const TOLD_CHARACTERS_MAX: usize = 300;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum NotCertified {
    /// Its address is none.
    #[error(transparent)]
    Address(#[from] ClientConfigError),
    /// No answer came, or the server is not the right one.
    #[error(transparent)]
    Transport(#[from] ClientError),
    /// It refused.
    #[error("the enrolment service refused with HTTP status {status}: {told}")]
    Refused {
        /// The status.
        status: u16,
        /// What it says.
        told: String,
    },
    /// Its answer is of another form.
    #[error("the answer of the enrolment service can't be read; check its address")]
    Unreadable,
    /// It has another root.
    #[error(
        "the enrolment service has another root than the one given; check the root's file and the service's address"
    )]
    OtherRoot,
    /// What it certified is not good.
    #[error(
        "the certificate that the enrolment service told does not hold ({0}); it was not taken: tell its operators"
    )]
    Certificate(Refusal),
}

/// The service.
pub struct Service {
    http: HttpClient,
    root: Root,
}

/// What is to be certified.
pub struct Wanted<'a> {
    /// For whom of which role, and for what.
    pub label: Label,
    /// The party.
    pub name: &'a PartyName,
    /// The PKCS#10 request, in DER.
    pub request: &'a [u8],
    /// The SubjectPublicKeyInfo of its key, in DER.
    pub public_key: &'a [u8],
}

impl Service {
    /// The service at this URL, for a party that has no more than the root.
    ///
    /// # Errors
    /// For a URL that is none.
    pub fn first(url: &str, root: Root) -> Result<Self, NotCertified> {
        Self::over(url, root, None, None)
    }

    /// The service, as a party whose certificate is to be renewed: the service's has to be good by the party's trust, too.
    ///
    /// # Errors
    /// For a URL that is none.
    pub fn known(
        url: &str,
        root: Root,
        trust: SharedTrust,
        identity: &Identity,
    ) -> Result<Self, NotCertified> {
        Self::over(url, root, Some(trust), Some(identity))
    }

    fn over(
        url: &str,
        root: Root,
        trust: Option<SharedTrust>,
        identity: Option<&Identity>,
    ) -> Result<Self, NotCertified> {
        let name = PartyName::new(Role::Gateway, ID).map_err(|_| NotCertified::Unreadable)?;
        let limits = Limits::default();
        let http = HttpClient::rooted(url, root.clone(), name, trust, identity, limits)?;
        Ok(Self { http, root })
    }

    /// Asks for a first certificate with a one-time secret. The same request may be sent again.
    ///
    /// # Errors
    /// When there is no certificate, or one that does not hold.
    pub async fn enrol(
        &self,
        wanted: &Wanted<'_>,
        secret: &Zeroizing<String>,
    ) -> Result<CertificateDer<'static>, NotCertified> {
        let credentials = Zeroizing::new(format!("{}:{}", wanted.name.id(), secret.as_str()));
        let encoded = Zeroizing::new(STANDARD.encode(credentials.as_bytes()));
        let field = Zeroizing::new(format!("Basic {}", encoded.as_str()));
        // Base64 is what a header field may have.
        let mut field = HeaderValue::from_str(&field).map_err(|_| NotCertified::Unreadable)?;
        field.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, field)]);
        self.ask(Operation::SimpleEnroll, wanted, headers).await
    }

    /// Asks for another certificate in the place of the one that the connection shows. The same request may be sent again.
    ///
    /// # Errors
    /// When there is no certificate, or one that does not hold.
    pub async fn renew(
        &self,
        wanted: &Wanted<'_>,
    ) -> Result<CertificateDer<'static>, NotCertified> {
        self.ask(Operation::SimpleReenroll, wanted, HeaderMap::new())
            .await
    }

    async fn ask(
        &self,
        operation: Operation,
        wanted: &Wanted<'_>,
        headers: HeaderMap,
    ) -> Result<CertificateDer<'static>, NotCertified> {
        let path = operation.path(wanted.label);
        let body = wire::write(wanted.request).into();
        let answer = self.http.post(&path, wire::PKCS10, body, headers).await?;
        let [certificate] =
            <[_; 1]>::try_from(certificates(&answer)?).map_err(|_| NotCertified::Unreadable)?;
        self.check(wanted, &certificate).await?;
        Ok(certificate)
    }

    /// Holds a certificate against what was wanted, and the root.
    async fn check(
        &self,
        wanted: &Wanted<'_>,
        certificate: &CertificateDer<'static>,
    ) -> Result<(), NotCertified> {
        let path = Operation::CaCerts.path(wanted.label);
        let cas = certificates(&self.http.get(&path, HeaderMap::new()).await?)?;
        if !cas.contains(self.root.certificate()) {
            return Err(NotCertified::OtherRoot);
        }
        let mut chain = vec![certificate.clone()];
        chain.extend(cas);
        let usages: &[Usage] = match wanted.label.usage() {
            Usage::TlsClient => &[Usage::TlsClient, Usage::TlsServer],
            _ => &[Usage::MessageSigning],
        };
        let refused = |detail: String| {
            NotCertified::Certificate(Refusal::new(Problem::CertificateUntrusted, detail))
        };
        for usage in usages {
            let shown = self
                .root
                .check(&chain, *usage, mtls::now())
                .map_err(NotCertified::Certificate)?;
            if shown.name != *wanted.name {
                return Err(refused(format!(
                    "it is of {}, not of {}",
                    shown.name, wanted.name
                )));
            }
            if shown.public_key.as_ref() != wanted.public_key {
                return Err(refused("it is of another key".to_owned()));
            }
        }
        Ok(())
    }
}

/// The certificates of an answer.
fn certificates(answer: &Answer) -> Result<Vec<CertificateDer<'static>>, NotCertified> {
    if !answer.status.is_success() {
        return Err(NotCertified::Refused {
            status: answer.status.as_u16(),
            told: printable(&answer.body),
        });
    }
    let message = wire::read(&answer.body).map_err(|_| NotCertified::Unreadable)?;
    certs_only::read(&message).map_err(|_| NotCertified::Unreadable)
}

/// What a terminal can show of a text that somebody else wrote.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .trim()
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(TOLD_CHARACTERS_MAX)
        .collect()
}
