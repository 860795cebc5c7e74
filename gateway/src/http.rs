//! The only file that sees the services' HTTP: routes, requests to commands, outcomes to answers.

use std::{sync::Arc, time::Instant};

use hyper::{Method, Request, StatusCode, body::Incoming};
use mtls::{
    exchange::{Answer, Failure, header_text, json, json_body, note_subject, path_part, respond},
    server::Peer,
};
use protocol::{
    identifiers::Xid,
    inquiry,
    problem::{Problem, Refusal},
};

use crate::{
    access::{MerchantPermit, PayerPermit},
    gateway::Gateway,
    service,
};

const AUTHORIZATIONS: &str = "/v1/authorizations";
const AUTHORIZATION: &str = "/v1/authorizations/";
const CERTIFICATES: &str = "/v1/certificates";
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
        (&Method::GET, CERTIFICATES) => json(StatusCode::OK, &service::certificates(gateway)),
        (&Method::GET, path) if path.starts_with(AUTHORIZATION) => {
            let xid: Xid = path_part(path, AUTHORIZATION)?;
            note_subject(xid);
            let receipts = service::authorizations(gateway, permit, xid, deadline).await?;
            json(StatusCode::OK, &receipts)
        }
        (_, path) => Err(no_route(
            path,
            &[AUTHORIZATIONS, CERTIFICATES],
            AUTHORIZATION,
        )),
    }
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
            let receipts = service::receipts(gateway, permit, gateway.deadline()).await?;
            json(StatusCode::OK, &receipts)
        }
        (_, path) => Err(no_route(path, &[CERTIFICATES], RECEIPT)),
    }
}

/// A known path with another method is 405, an unknown one 404.
fn no_route(path: &str, known: &[&str], known_prefix: &str) -> Failure {
    Failure::Plain(if known.contains(&path) || path.starts_with(known_prefix) {
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
