//! The only file that sees the services' HTTP: requests to commands, outcomes to answers. Which path is which
//! operation is in [`crate::routes`].

use std::{sync::Arc, time::Instant};

use hyper::{Request, StatusCode, body::Incoming};
use mtls::{
    exchange::{Answer, Failure, header_text, json, json_body, note_subject, respond},
    routes,
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
    described, document,
    gateway::Gateway,
    routes::{ForMerchants, ForPayers, MERCHANTS, PAYERS},
    service,
};

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
    let path = request.uri().path().to_owned();
    let (operation, argument) = routes::find(MERCHANTS, request.method(), &path)?;
    for_merchant(gateway, permit, operation, argument, request)
        .await
        .inspect_err(|failure| described::for_merchants(operation).hold(failure))
}

async fn for_merchant(
    gateway: &Gateway,
    permit: MerchantPermit,
    operation: ForMerchants,
    argument: &str,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let deadline = gateway.deadline();
    match operation {
        ForMerchants::Authorize => {
            let body = json_body(request).await?;
            let response = service::authorize(gateway, permit, &body, deadline).await?;
            json(StatusCode::OK, &response)
        }
        ForMerchants::Receipts => {
            let xid: Xid = routes::argument(argument)?;
            note_subject(xid);
            let receipts = service::authorizations(gateway, permit, xid, deadline).await?;
            json(StatusCode::OK, &receipts)
        }
        ForMerchants::Capture => operate::<Capture>(gateway, permit, request, deadline).await,
        ForMerchants::CaptureReversal => {
            operate::<CaptureReversal>(gateway, permit, request, deadline).await
        }
        ForMerchants::Reversal => operate::<Reversal>(gateway, permit, request, deadline).await,
        ForMerchants::Refund => operate::<Refund>(gateway, permit, request, deadline).await,
        ForMerchants::RefundReversal => {
            operate::<RefundReversal>(gateway, permit, request, deadline).await
        }
        ForMerchants::CloseBatch => {
            let body = json_body(request).await?;
            let closed = service::close_batch(gateway, permit, &body, deadline).await?;
            json(StatusCode::OK, &closed)
        }
        ForMerchants::Batch => {
            let id: Jti = routes::argument(argument)?;
            note_subject(id);
            let closed = service::batch(gateway, permit, id, deadline).await?;
            json(StatusCode::OK, &closed)
        }
        ForMerchants::Certificates => json(StatusCode::OK, &service::certificates(gateway)),
        ForMerchants::Document => Ok(document::DOCUMENT.answer()),
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
    let path = request.uri().path().to_owned();
    let (operation, argument) = routes::find(PAYERS, request.method(), &path)?;
    for_payer(gateway, operation, argument, request)
        .await
        .inspect_err(|failure| described::for_payers(operation).hold(failure))
}

async fn for_payer(
    gateway: &Gateway,
    operation: ForPayers,
    argument: &str,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    match operation {
        ForPayers::Receipts => {
            let xid: Xid = routes::argument(argument)?;
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
        ForPayers::Cancel => {
            let body = json_body(request).await?;
            let receipt = service::cancel(gateway, &body, gateway.deadline()).await?;
            json(StatusCode::OK, &receipt)
        }
        ForPayers::Certificates => json(StatusCode::OK, &service::certificates(gateway)),
        ForPayers::Document => Ok(document::DOCUMENT.answer()),
    }
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
