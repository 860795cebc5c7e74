//! The only file that sees the shop's HTTP: requests to commands, outcomes to answers. Which path is which operation
//! is in [`crate::routes`].

use std::sync::Arc;

use hyper::{Request, Response, StatusCode, body::Incoming};
use mtls::{
    exchange::{Answer, Failure, header_text, json, json_body, note_subject, respond},
    routes,
    server::Peer,
};
use protocol::{
    identifiers::Xid,
    inquiry,
    money::Currency,
    names::MerchantName,
    order_information::OrderInformation,
    session::SessionResponse,
    webhook::{self, Headers},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    catalogue::CatalogueItem,
    described, document,
    merchant::Merchant,
    routes::{ForPayers, PAYERS},
    service,
};

/// The shop and what it sells.
#[derive(Serialize, ToSchema)]
pub(crate) struct Shop<'a> {
    /// Who it is.
    merchant: &'a MerchantName,
    /// What it calls itself.
    name: &'a str,
    /// What its prices are in.
    currency: Currency,
    /// What it sells.
    items: &'a [CatalogueItem],
}

/// An order that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ordered {
    /// As the payer is to sign it.
    order: OrderInformation,
}

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
    let (operation, argument) = routes::find(PAYERS, request.method(), &path)?;
    if operation == ForPayers::Notice && !merchant.is_told() {
        return Err(Failure::Plain(StatusCode::NOT_FOUND));
    }
    for_payer(merchant, peer, operation, argument, request)
        .await
        .inspect_err(|failure| described::for_payers(operation).hold(failure))
}

async fn for_payer(
    merchant: &Arc<Merchant>,
    peer: &Peer,
    operation: ForPayers,
    argument: &str,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    match operation {
        ForPayers::Catalogue => {
            let shop = Shop {
                merchant: &merchant.name,
                name: &merchant.display_name,
                currency: merchant.catalogue.currency,
                items: &merchant.catalogue.items,
            };
            json(StatusCode::OK, &shop)
        }
        ForPayers::Order => {
            merchant.opening(peer.source())?;
            let wish = protocol::json::read(&json_body(request).await?)?;
            let order = service::order(merchant, wish).await?;
            json(StatusCode::CREATED, &Ordered { order })
        }
        ForPayers::OpenSession => {
            merchant.opening(peer.source())?;
            let body = json_body(request).await?;
            let session = service::open_session(merchant, &body).await?;
            json(StatusCode::OK, &SessionResponse { session })
        }
        ForPayers::Purchase => {
            let body = json_body(request).await?;
            json(StatusCode::OK, &service::purchase(merchant, &body).await?)
        }
        ForPayers::Inquire => {
            let xid: Xid = routes::argument(argument)?;
            note_subject(xid);
            let proof = header_text(&request, inquiry::HEADER);
            json(
                StatusCode::OK,
                &service::inquire(merchant, xid, proof).await?,
            )
        }
        ForPayers::Document => Ok(document::DOCUMENT.answer()),
        ForPayers::Notice => {
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
    }
}
