//! EST over HTTP: what is asked is decoded, what is decided is answered. Whoever is refused learns what it did wrong, and
//! nothing else.

use std::sync::Arc;

use enrolment::{
    certs_only,
    label::Label,
    request,
    wire::{self, Operation},
};
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
};
use mtls::{
    body::{self, BodyError},
    exchange::{self, Answer, BODY_TIME_MAX},
    pem,
    server::Peer,
};
use rustls_pki_types::CertificateDer;
use tokio::sync::{Mutex, Semaphore};

use super::{
    desk::{Desk, Refused},
    guard::{Credentials, Guard},
};
use crate::layout::Layout;

/// What a request may hold: one of P-256 has less than 1 KiB.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// How many may wait for the desk.
const WAITING_MAX: usize = 64;

const TEXT: &str = "text/plain; charset=utf-8";

/// What the service's requests share.
pub(crate) struct Service {
    desk: Arc<Mutex<Desk>>,
    waiting: Semaphore,
    guard: Guard,
    layout: Layout,
}

/// Why there is no certificate.
enum Failure {
    Refused(Refused),
    /// What the asker did wrong.
    Plain(StatusCode, &'static str),
    /// No name and secret, or such as are not taken. Which of them is wrong nobody is told.
    Unauthorized,
    /// Too often.
    Slower,
    /// Too many wait for the desk.
    Busy,
    /// Another method than this is wanted.
    Method(&'static str),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Service {
    pub(super) fn new(layout: Layout, desk: Arc<Mutex<Desk>>) -> Self {
        Self {
            desk,
            waiting: Semaphore::new(WAITING_MAX),
            guard: Guard::new(),
            layout,
        }
    }

    /// The certificates of all CAs, as they are now: one may have taken another's place.
    fn cas(&self) -> Result<Bytes, Failure> {
        let cas = self.layout.cas().into_iter();
        let certificates = cas
            .map(|ca| pem::certificate(&self.layout.certificate_of(ca)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Refused::Failed(crate::Failure::new(error.to_string())))?;
        Ok(wire::write(&certs_only::write(&certificates)).into())
    }

    /// Has the desk decide something.
    async fn decide(
        &self,
        decide: impl FnOnce(&mut Desk) -> Result<Vec<u8>, Refused> + Send + 'static,
    ) -> Result<Vec<u8>, Failure> {
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(Failure::Busy);
        };
        let mut desk = Arc::clone(&self.desk).lock_owned().await;
        let span = tracing::Span::current();
        // What was begun is ended, whether or not somebody still waits for it.
        tokio::task::spawn_blocking(move || span.in_scope(|| decide(&mut desk)))
            .await
            .unwrap_or_else(|error| {
                Err(Refused::Failed(crate::Failure::new(format!(
                    "the work at the desk broke off: {error}"
                ))))
            })
            .map_err(Failure::from)
    }
}

/// Answers a request.
pub(super) async fn answer(
    service: Arc<Service>,
    peer: Peer,
    request: Request<Incoming>,
) -> Answer {
    exchange::respond("enrolment", &peer, request, async |request| {
        Ok(route(&service, &peer, request).await.unwrap_or_else(failed))
    })
    .await
}

async fn route(
    service: &Service,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let Some((operation, label)) = wire::operation_at(request.uri().path()) else {
        return Err(Failure::Plain(
            StatusCode::NOT_FOUND,
            "there is nothing here",
        ));
    };
    let (wanted, allow) = match operation {
        Operation::CaCerts | Operation::CsrAttrs => (Method::GET, "GET"),
        Operation::SimpleEnroll | Operation::SimpleReenroll => (Method::POST, "POST"),
    };
    if *request.method() != wanted {
        return Err(Failure::Method(allow));
    }
    match operation {
        Operation::CaCerts => Ok(told(wire::CERTS_ONLY, service.cas()?)),
        Operation::CsrAttrs => {
            let attributes = wire::write(&request::attributes());
            Ok(told(wire::CSR_ATTRS, attributes.into()))
        }
        Operation::SimpleEnroll => enrol(service, peer, label, request).await,
        Operation::SimpleReenroll => renew(service, peer, label, request).await,
    }
}

async fn enrol(
    service: &Service,
    peer: &Peer,
    label: Option<Label>,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let credentials = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(Credentials::read)
        .ok_or(Failure::Unauthorized)?;
    exchange::note_subject(credentials.user.escape_debug());
    let attempt = service
        .guard
        .may_try(peer.source(), &credentials.user)
        .ok_or(Failure::Slower)?;
    let body = pkcs10(request).await?;
    let decided = service
        .decide(move |desk| desk.enrol(label, &credentials, &body))
        .await;
    if let Err(Failure::Refused(Refused::Secret(_))) = decided {
        attempt.was_wrong();
    }
    Ok(issued(decided?))
}

async fn renew(
    service: &Service,
    peer: &Peer,
    label: Option<Label>,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let Some(former) = peer.certificate.clone() else {
        return Err(Failure::Plain(
            StatusCode::FORBIDDEN,
            "show the certificate that is to be renewed in TLS",
        ));
    };
    if !service.guard.may_renew(former.name()) {
        return Err(Failure::Slower);
    }
    let body = pkcs10(request).await?;
    service
        .decide(move |desk| desk.renew(label, &former, &body))
        .await
        .map(issued)
}

async fn pkcs10(request: Request<Incoming>) -> Result<Bytes, Failure> {
    let is_pkcs10 = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(wire::PKCS10));
    if !is_pkcs10 {
        return Err(Failure::Plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is to be application/pkcs10",
        ));
    }
    body::read(request.into_body(), BODY_BYTES_MAX, BODY_TIME_MAX)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { .. } => {
                Failure::Plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
            }
            BodyError::TooSlow { .. } => {
                Failure::Plain(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")
            }
            BodyError::Broken(_) => Failure::Plain(StatusCode::BAD_REQUEST, "the body broke off"),
        })
}

fn issued(certificate: Vec<u8>) -> Answer {
    // The certificate alone (RFC 7030 section 4.2.3); its CA is among the CAs' certificates.
    let message = certs_only::write(&[CertificateDer::from(certificate)]);
    told(wire::ISSUED, wire::write(&message).into())
}

fn told(media_type: &'static str, body: Bytes) -> Answer {
    let mut answer = exchange::with_type(StatusCode::OK, media_type, body);
    // RFC 8951 has nobody look at it any more, RFC 7030 has clients expect it.
    answer.headers_mut().insert(
        "content-transfer-encoding",
        HeaderValue::from_static("base64"),
    );
    answer
}

fn failed(failure: Failure) -> Answer {
    let plain = |status, text: &str| exchange::with_type(status, TEXT, format!("{text}\n"));
    let later = |status, text: &str| {
        let mut answer = plain(status, text);
        let seconds = HeaderValue::from_static("60");
        answer.headers_mut().insert(header::RETRY_AFTER, seconds);
        answer
    };
    let not_now = || {
        later(
            StatusCode::SERVICE_UNAVAILABLE,
            "not now; send the same request again later",
        )
    };
    match failure {
        Failure::Plain(status, text) => {
            tracing::info!(status = status.as_u16(), text, "refused");
            plain(status, text)
        }
        Failure::Method(allow) => {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "another method is wanted");
            let value = HeaderValue::from_static(allow);
            answer.headers_mut().insert(header::ALLOW, value);
            answer
        }
        Failure::Slower => {
            tracing::info!("refused: too often");
            later(StatusCode::TOO_MANY_REQUESTS, "too often; wait a minute")
        }
        Failure::Busy => {
            tracing::warn!("refused: too many wait for the CA");
            not_now()
        }
        Failure::Unauthorized => unauthorized(),
        Failure::Refused(refused) => match refused {
            Refused::Failed(failure) => {
                tracing::error!(%failure, "the CA can't work");
                not_now()
            }
            Refused::Secret(reason) => {
                tracing::info!(%reason, "refused");
                unauthorized()
            }
            Refused::Request(_) | Refused::Ambiguous(_) => {
                tracing::info!(reason = %refused, "refused");
                plain(StatusCode::BAD_REQUEST, &refused.to_string())
            }
            Refused::OtherUse
            | Refused::Used
            | Refused::ForeignKey
            | Refused::Revoked
            | Refused::RevokedKey => {
                tracing::info!(reason = %refused, "refused");
                plain(StatusCode::FORBIDDEN, &refused.to_string())
            }
        },
    }
}

fn unauthorized() -> Answer {
    let text = "give your id and the secret of your invitation; it may be used up by wrong ones, or too old: then ask \
                whoever invited you\n";
    let mut answer = exchange::with_type(StatusCode::UNAUTHORIZED, TEXT, text);
    answer.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"enrolment\""),
    );
    answer
}
