//! The only file that sees the shop's HTTP: routes, requests to commands, outcomes to answers.

use std::sync::Arc;

use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use mtls::{
    exchange::{Answer, Failure, header_text, json, json_body, note_subject, path_part, respond},
    server::Peer,
};
use protocol::{
    identifiers::Xid,
    inquiry,
    webhook::{self, Headers},
};
use serde_json::json as object;

use crate::{merchant::Merchant, service};

const CATALOGUE: &str = "/v1/catalogue";
const ORDERS: &str = "/v1/orders";
const SESSIONS: &str = "/v1/sessions";
const PURCHASES: &str = "/v1/purchases";
const WEBHOOKS: &str = "/webhooks";
const PURCHASE: &str = "/v1/purchases/";

/// Answers a payer, or the gateway when it tells something.
pub(crate) async fn payers(
    merchant: Arc<Merchant>,
    peer: Peer,
    request: Request<Incoming>,
) -> Answer {
    let route = async |request| payers_route(&merchant, &peer, request).await;
    respond("payers", &peer, request, route).await
}

async fn payers_route(
    merchant: &Arc<Merchant>,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, CATALOGUE) => {
            let catalogue = &merchant.catalogue;
            let shop = object!({
                "merchant": merchant.name,
                "name": merchant.display_name,
                "currency": catalogue.currency,
                "items": catalogue.items,
            });
            json(StatusCode::OK, &shop)
        }
        (&Method::POST, ORDERS) => {
            merchant.opening(peer.source())?;
            let wish = protocol::json::read(&json_body(request).await?)?;
            let order = service::order(merchant, wish).await?;
            json(StatusCode::CREATED, &object!({ "order": order }))
        }
        (&Method::POST, SESSIONS) => {
            merchant.opening(peer.source())?;
            let body = json_body(request).await?;
            let session = service::open_session(merchant, &body).await?;
            json(StatusCode::OK, &object!({ "session": session }))
        }
        (&Method::POST, PURCHASES) => {
            let body = json_body(request).await?;
            json(StatusCode::OK, &service::purchase(merchant, &body).await?)
        }
        (&Method::GET, path) if path.starts_with(PURCHASE) => {
            let xid: Xid = path_part(path, PURCHASE)?;
            note_subject(xid);
            let proof = header_text(&request, inquiry::HEADER);
            json(
                StatusCode::OK,
                &service::inquire(merchant, xid, proof).await?,
            )
        }
        (&Method::POST, WEBHOOKS) if merchant.is_told() => {
            let fields = request.headers().clone();
            let text = |name| fields.get(name).and_then(|value| value.to_str().ok());
            let headers = Headers {
                id: text(webhook::ID),
                timestamp: text(webhook::TIMESTAMP),
                signature: text(webhook::SIGNATURE),
            };
            let body = json_body(request).await?;
            service::notice(merchant, headers, &body).await?;
            let mut taken = Response::default();
            *taken.status_mut() = StatusCode::NO_CONTENT;
            Ok(taken)
        }
        (_, WEBHOOKS) if merchant.is_told() => Err(Failure::Plain(StatusCode::METHOD_NOT_ALLOWED)),
        (_, CATALOGUE | ORDERS | SESSIONS | PURCHASES) => {
            Err(Failure::Plain(StatusCode::METHOD_NOT_ALLOWED))
        }
        (_, path) if path.starts_with(PURCHASE) => {
            Err(Failure::Plain(StatusCode::METHOD_NOT_ALLOWED))
        }
        _ => Err(Failure::Plain(StatusCode::NOT_FOUND)),
    }
}
