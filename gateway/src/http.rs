//! The only file that sees HTTP: routes, limits, requests to commands, outcomes and errors to
//! responses.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
};
use mtls::{
    body::{self, BodyError},
    server::Peer,
};
use protocol::{
    identifiers::{Jti, Xid},
    inquiry,
    problem::{Problem, ProblemDocument, Refusal},
};
use serde::Serialize;
use tracing::Instrument as _;

use crate::{
    access::{MerchantPermit, PayerPermit},
    gateway::Gateway,
    service,
};

/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

type Answer = Response<Full<Bytes>>;

/// What a request came to, when not to an answer.
enum Failure {
    /// The message or its sender was refused.
    Refused(Refusal),
    /// HTTP alone says what is wrong.
    Plain(StatusCode),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Answers a merchant: a known peer of a mutual TLS connection.
pub(crate) async fn merchants(
    gateway: Arc<Gateway>,
    peer: Peer,
    request: Request<Incoming>,
) -> Answer {
    respond("merchants", &peer, request, async |request| {
        merchants_route(&gateway, &peer, request).await
    })
    .await
}

async fn merchants_route(
    gateway: &Gateway,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let permit = MerchantPermit::check(peer, &gateway.merchants)?;
    if !gateway.requests.take(permit.merchant(), Instant::now()) {
        return Err(Refusal::new(
            Problem::RateLimited,
            format!("{} asks too often", permit.merchant()),
        )
        .into());
    }
    let deadline = gateway.deadline();
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::POST, "/v1/authorizations") => {
            let body = json_body(request).await?;
            json(&service::authorize(gateway, permit, &body, deadline).await?)
        }
        (&Method::GET, "/v1/certificates") => json(&service::certificates(gateway)),
        (&Method::GET, path) if path.starts_with("/v1/authorizations/") => {
            let xid = xid(path, "/v1/authorizations/")?;
            json(&service::authorizations(gateway, permit, xid, deadline).await?)
        }
        (_, "/v1/authorizations" | "/v1/certificates") => {
            Err(Failure::Plain(StatusCode::METHOD_NOT_ALLOWED))
        }
        _ => Err(Failure::Plain(StatusCode::NOT_FOUND)),
    }
}

/// Answers a payer: anybody, who proves to be a transaction's client.
pub(crate) async fn payers(
    gateway: Arc<Gateway>,
    peer: Peer,
    request: Request<Incoming>,
) -> Answer {
    respond("payers", &peer, request, async |request| {
        payers_route(&gateway, request).await
    })
    .await
}

async fn payers_route(gateway: &Gateway, request: Request<Incoming>) -> Result<Answer, Failure> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/certificates") => json(&service::certificates(gateway)),
        (&Method::GET, path) if path.starts_with("/v1/receipts/") => {
            let xid = xid(path, "/v1/receipts/")?;
            let unknown = || {
                Failure::Refused(Refusal::new(
                    Problem::UnknownAuthorization,
                    "no proof with the question",
                ))
            };
            let proof = request
                .headers()
                .get(inquiry::HEADER)
                .and_then(|value| value.to_str().ok())
                .ok_or_else(unknown)?;
            let permit = PayerPermit::check(
                proof,
                xid,
                &gateway.name,
                &gateway.trust(),
                gateway.skew,
                gateway.now(),
            )
            // Whoever can't prove it learns nothing, not even why.
            .map_err(|refusal| Refusal::new(Problem::UnknownAuthorization, refusal.to_string()))?;
            json(&service::receipts(gateway, permit, gateway.deadline()).await?)
        }
        (_, "/v1/certificates") => Err(Failure::Plain(StatusCode::METHOD_NOT_ALLOWED)),
        _ => Err(Failure::Plain(StatusCode::NOT_FOUND)),
    }
}

/// Gives a request its id and span, and a failure its form.
async fn respond(
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
        xid = tracing::field::Empty,
    );
    let started = Instant::now();
    async {
        let answer = route(request)
            .await
            .unwrap_or_else(|failure| failed(failure, &request_id));
        let status = answer.status().as_u16();
        metrics::histogram!("twinseal_request_seconds", "listener" => listener)
            .record(started.elapsed());
        metrics::counter!("twinseal_requests_total", "listener" => listener, "status" => status.to_string())
            .increment(1);
        tracing::debug!(status, "answered");
        answer
    }
    .instrument(span)
    .await
}

fn failed(failure: Failure, request_id: &str) -> Answer {
    let document = match failure {
        Failure::Plain(status) => ProblemDocument::plain(status.as_u16(), request_id),
        Failure::Refused(refusal) => {
            metrics::counter!("twinseal_problems_total", "problem" => refusal.problem.name())
                .increment(1);
            if refusal.problem.status() >= 500 {
                tracing::warn!(problem = refusal.problem.name(), detail = %refusal.detail, "failed");
            } else {
                tracing::info!(problem = refusal.problem.name(), detail = %refusal.detail, "refused");
            }
            ProblemDocument::new(refusal.problem, request_id)
        }
    };
    let body = serde_json::to_vec(&document).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() =
        StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(ProblemDocument::MEDIA_TYPE),
    );
    if matches!(
        document.problem(),
        Some(Problem::Overloaded | Problem::HsmUnavailable | Problem::RateLimited)
    ) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

fn json<T: Serialize>(value: &T) -> Result<Answer, Failure> {
    let body = serde_json::to_vec(value)
        .map_err(|error| Refusal::new(Problem::Internal, error.to_string()))?;
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(answer)
}

async fn json_body(request: Request<Incoming>) -> Result<Bytes, Failure> {
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
            BodyError::TooLarge { .. } => {
                Refusal::new(Problem::TooLarge, error.to_string()).into()
            }
            BodyError::TooSlow { .. } => Failure::Plain(StatusCode::REQUEST_TIMEOUT),
            BodyError::Broken(_) => Failure::Plain(StatusCode::BAD_REQUEST),
        })
}

fn xid(path: &str, prefix: &str) -> Result<Xid, Failure> {
    let xid = path
        .strip_prefix(prefix)
        .and_then(|text| text.parse::<Xid>().ok())
        .ok_or(Failure::Plain(StatusCode::NOT_FOUND))?;
    tracing::Span::current().record("xid", tracing::field::display(xid));
    Ok(xid)
}
