//! JSON over HTTP, as all our services speak it: a request's id and span, its body, its answer or its
//! problem (RFC 9457).

use std::time::Duration;

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
};
use protocol::{
    identifiers::Jti,
    problem::{Problem, ProblemDocument, Refusal, Retry},
};
use serde::Serialize;
use tracing::Instrument as _;

use crate::{
    body::{self, BodyError},
    server::Peer,
};

/// How long a body may take to arrive.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// The seconds in `Retry-After`.
const RETRY_AFTER: &str = "1";

/// What a handler gives. A refused request's carries its [`Problem`] among its extensions.
pub type Answer = Response<Full<Bytes>>;

/// Why a request got no answer of its own.
#[derive(Debug)]
pub enum Failure {
    /// The message or its sender was refused.
    Refused(Refusal),
    /// HTTP alone says what is wrong.
    Plain(StatusCode),
    /// A known path with another method than these: 405, which names them (RFC 9110 section 15.5.6).
    OtherMethod(Vec<Method>),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Has a request answered within a span that has its id, its peer, and room for its subject; what
/// failed is logged whole and told by its name.
pub async fn respond(
    listener: &'static str,
    peer: &Peer,
    request: Request<Incoming>,
    route: impl AsyncFnOnce(Request<Incoming>) -> Result<Answer, Failure>,
) -> Answer {
    let request_id = Jti::random().map_or_else(|_| "none".to_owned(), |id| id.to_string());
    let span = tracing::info_span!(
        "request",
        listener,
        request_id,
        peer = %peer.address,
        party = peer.certificate.as_ref().map(|certificate| certificate.name().as_str()),
        method = %request.method(),
        path = request.uri().path(),
        subject = tracing::field::Empty,
    );
    async {
        let answer = route(request)
            .await
            .unwrap_or_else(|failure| failed(failure, &request_id));
        tracing::debug!(status = answer.status().as_u16(), "answered");
        answer
    }
    .instrument(span)
    .await
}

/// Notes in the request's span what it is about.
pub fn note_subject(subject: impl std::fmt::Display) {
    tracing::Span::current().record("subject", tracing::field::display(subject));
}

fn failed(failure: Failure, request_id: &str) -> Answer {
    let (document, problem, allowed) = match failure {
        Failure::Plain(status) => (
            ProblemDocument::plain(status.as_u16(), request_id),
            None,
            None,
        ),
        Failure::OtherMethod(methods) => {
            let status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
            let document = ProblemDocument::plain(status, request_id);
            (document, None, Some(allow(&methods)))
        }
        Failure::Refused(refusal) => {
            let problem = refusal.problem;
            if problem.status() >= 500 {
                tracing::warn!(problem = problem.name(), detail = %refusal.detail, "failed");
            } else {
                tracing::info!(problem = problem.name(), detail = %refusal.detail, "refused");
            }
            let document = ProblemDocument::new(problem, request_id);
            (document, Some(problem), None)
        }
    };
    let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&document).unwrap_or_default();
    let mut answer = with_type(status, ProblemDocument::MEDIA_TYPE, body);
    if let Some(problem) = problem {
        if asks_to_wait(problem) {
            answer
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        answer.extensions_mut().insert(problem);
    }
    if let Some(allowed) = allowed {
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}

/// The methods of a path, as `Allow` has them.
pub fn allow(methods: &[Method]) -> HeaderValue {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    // Names of methods are tokens, which any header field may have.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// Whether a problem's answer says, in `Retry-After`, when to send the same request again.
pub fn asks_to_wait(problem: Problem) -> bool {
    problem.retry() == Retry::SameRequest && problem != Problem::InProgress
}

/// An answer with a JSON body.
///
/// # Errors
/// `internal`, when the value can't be written.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Answer, Failure> {
    let body = serde_json::to_vec(value)
        .map_err(|error| Refusal::new(Problem::Internal, error.to_string()))?;
    Ok(with_type(status, "application/json", body))
}

/// An answer of some media type.
pub fn with_type(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// Reads a request's JSON body.
///
/// # Errors
/// 415 for another type, `too-large`, 408 when it does not arrive, 400 when it breaks off.
pub async fn json_body(request: Request<Incoming>) -> Result<Bytes, Failure> {
    let is_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value == "application/json");
    if !is_json {
        return Err(Failure::Plain(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    body::read(request.into_body(), body::REQUEST_BYTES_MAX, BODY_TIME_MAX)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { .. } => Refusal::new(Problem::TooLarge, error.to_string()).into(),
            BodyError::TooSlow { .. } => Failure::Plain(StatusCode::REQUEST_TIMEOUT),
            BodyError::Broken(_) => Failure::Plain(StatusCode::BAD_REQUEST),
        })
}

/// A header field's text.
pub fn header_text<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}
