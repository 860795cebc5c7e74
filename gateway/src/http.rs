//! The only file that sees the services' HTTP: routes, requests to commands, outcomes to answers.

use std::{sync::Arc, time::Instant};

use hyper::{Method, Request, StatusCode, body::Incoming};
use mtls::{
    exchange::{Answer, Failure, header_text, json, json_body, note_subject, path_part, respond},
    server::Peer,
};
use protocol::{
    identifiers::{Jti, Xid},
    inquiry,
    lifecycle::{Capture, CaptureReversal, Operation, Refund, RefundReversal, Reversal},
    problem::{Problem, Refusal},
};

use crate::{
    access::{MerchantPermit, PayerPermit},
    gateway::Gateway,
    service,
};

const AUTHORIZATIONS: &str = "/v1/authorizations";
const AUTHORIZATION: &str = "/v1/authorizations/";
const CAPTURES: &str = "/v1/captures";
const CAPTURE_REVERSALS: &str = "/v1/capture-reversals";
const REVERSALS: &str = "/v1/reversals";
const REFUNDS: &str = "/v1/refunds";
const REFUND_REVERSALS: &str = "/v1/refund-reversals";
const BATCHES: &str = "/v1/batches";
const BATCH: &str = "/v1/batches/";
const CERTIFICATES: &str = "/v1/certificates";
const CANCELLATIONS: &str = "/v1/cancellations";
const RECEIPT: &str = "/v1/receipts/";

/// Answers a merchant: a known peer of a mutual TLS connection.
pub(crate) async fn merchants(
    gateway: Arc<Gateway>,
    peer: Peer,
    request: Request<Incoming>,
) -> Answer {
    let started = Instant::now();
    let route = async |request| merchants_route(&gateway, &peer, request).await;
    let answer = respond("merchants", &peer, request, route).await;
    count("merchants", started, &answer);
    answer
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
        (&Method::POST, AUTHORIZATIONS) => {
            let body = json_body(request).await?;
            let response = service::authorize(gateway, permit, &body, deadline).await?;
            json(StatusCode::OK, &response)
        }
        (&Method::POST, CAPTURES) => operate::<Capture>(gateway, permit, request, deadline).await,
        (&Method::POST, CAPTURE_REVERSALS) => {
            operate::<CaptureReversal>(gateway, permit, request, deadline).await
        }
        (&Method::POST, REVERSALS) => operate::<Reversal>(gateway, permit, request, deadline).await,
        (&Method::POST, REFUNDS) => operate::<Refund>(gateway, permit, request, deadline).await,
        (&Method::POST, REFUND_REVERSALS) => {
            operate::<RefundReversal>(gateway, permit, request, deadline).await
        }
        (&Method::POST, BATCHES) => {
            let body = json_body(request).await?;
            let closed = service::close_batch(gateway, permit, &body, deadline).await?;
            json(StatusCode::OK, &closed)
        }
        (&Method::GET, path) if path.starts_with(BATCH) => {
            let id: Jti = path_part(path, BATCH)?;
            note_subject(id);
            let closed = service::batch(gateway, permit, id, deadline).await?;
            json(StatusCode::OK, &closed)
        }
        (&Method::GET, CERTIFICATES) => json(StatusCode::OK, &service::certificates(gateway)),
        (&Method::GET, path) if path.starts_with(AUTHORIZATION) => {
            let xid: Xid = path_part(path, AUTHORIZATION)?;
            note_subject(xid);
            let receipts = service::authorizations(gateway, permit, xid, deadline).await?;
            json(StatusCode::OK, &receipts)
        }
        (_, path) => Err(no_route(
            path,
            &[
                AUTHORIZATIONS,
                CAPTURES,
                CAPTURE_REVERSALS,
                REVERSALS,
                REFUNDS,
                REFUND_REVERSALS,
                BATCHES,
                CERTIFICATES,
            ],
            &[AUTHORIZATION, BATCH],
        )),
    }
}

async fn operate<O: Operation>(
    gateway: &Gateway,
    permit: MerchantPermit,
    request: Request<Incoming>,
    deadline: Instant,
) -> Result<Answer, Failure> {
    let body = json_body(request).await?;
    let response = service::operate::<O>(gateway, permit, &body, deadline).await?;
    json(StatusCode::OK, &response)
}

/// Answers a payer: anybody, who proves to be a transaction's client.
pub(crate) async fn payers(
    gateway: Arc<Gateway>,
    peer: Peer,
    request: Request<Incoming>,
) -> Answer {
    let started = Instant::now();
    let route = async |request| payers_route(&gateway, request).await;
    let answer = respond("payers", &peer, request, route).await;
    count("payers", started, &answer);
    answer
}

async fn payers_route(gateway: &Gateway, request: Request<Incoming>) -> Result<Answer, Failure> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, CERTIFICATES) => json(StatusCode::OK, &service::certificates(gateway)),
        (&Method::GET, path) if path.starts_with(RECEIPT) => {
            let xid: Xid = path_part(path, RECEIPT)?;
            note_subject(xid);
            // Whoever can't prove it learns nothing, not even why.
            let unknown = |why: String| Refusal::new(Problem::UnknownAuthorization, why);
            let proof = header_text(&request, inquiry::HEADER)
                .ok_or_else(|| unknown("no proof with the question".to_owned()))?;
            let permit = PayerPermit::check(
                proof,
                xid,
                &gateway.name,
                &gateway.trust(),
                gateway.skew,
                gateway.now(),
            )
            .map_err(|refusal| unknown(refusal.to_string()))?;
            // Each answer costs the token a signature or more; who can't prove it costs none.
            if !gateway.inquiries.take(permit.client(), Instant::now()) {
                return Err(Refusal::new(
                    Problem::RateLimited,
                    format!("{} inquires too often", permit.client()),
                )
                .into());
            }
            let receipts = service::receipts(gateway, permit, gateway.deadline()).await?;
            json(StatusCode::OK, &receipts)
        }
        (&Method::POST, CANCELLATIONS) => {
            let body = json_body(request).await?;
            let receipt = service::cancel(gateway, &body, gateway.deadline()).await?;
            json(StatusCode::OK, &receipt)
        }
        (_, path) => Err(no_route(path, &[CERTIFICATES, CANCELLATIONS], &[RECEIPT])),
    }
}

/// A known path with another method is 405, an unknown one 404.
fn no_route(path: &str, known: &[&str], known_prefixes: &[&str]) -> Failure {
    let is_known =
        known.contains(&path) || known_prefixes.iter().any(|prefix| path.starts_with(prefix));
    Failure::Plain(if is_known {
        StatusCode::METHOD_NOT_ALLOWED
    } else {
        StatusCode::NOT_FOUND
    })
}

fn count(listener: &'static str, started: Instant, answer: &Answer) {
    let status = answer.status().as_u16().to_string();
    metrics::histogram!("twinseal_request_seconds", "listener" => listener)
        .record(started.elapsed());
    metrics::counter!("twinseal_requests_total", "listener" => listener, "status" => status)
        .increment(1);
    if let Some(problem) = answer.extensions().get::<Problem>() {
        metrics::counter!("twinseal_problems_total", "problem" => problem.name()).increment(1);
    }
}
