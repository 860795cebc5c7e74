//! `POST /v1/sessions`: message 1 in, message 2 out.

use protocol::{
    identifiers::{MerchantNonce, Sid},
    json::Version,
    problem::{Problem, Refusal},
    session::{NamedMerchant, OfferedGateway, Session, SessionRequest},
};

use crate::{
    merchant::{Merchant, no_randomness, store_refusal},
    store::NewSession,
};

/// Opens a client session for an order: a session id and a nonce for this client only, and the key
/// that its payment is to be sealed to. It is kept before it is sent.
pub(crate) async fn open_session(merchant: &Merchant, body: &[u8]) -> Result<String, Refusal> {
    let request = SessionRequest::read(body)?;
    let order = merchant
        .store
        .order(request.order)
        .await
        .map_err(store_refusal)?
        .ok_or_else(|| Refusal::new(Problem::OrderMismatch, "no such order"))?;
    if merchant
        .store
        .is_taken(order.order)
        .await
        .map_err(store_refusal)?
    {
        return Err(Refusal::new(
            Problem::Replayed,
            "the order is paid, or being paid",
        ));
    }
    let offered = merchant.gateway.encryption_certificate().await?;
    let now = merchant.now();
    let session = Session {
        version: Version,
        sid: Sid::random().map_err(no_randomness)?,
        nc: request.nc,
        nm: MerchantNonce::random().map_err(no_randomness)?,
        iat: now,
        exp: now.plus(merchant.session_seconds),
        merchant: NamedMerchant {
            id: merchant.name.clone(),
            name: merchant.display_name.clone(),
        },
        order: order.order,
        amount: order.total,
        gateway: OfferedGateway::new(merchant.gateway.name().clone(), &offered.chain),
    };
    let signing = merchant.signing.active();
    let response = signing.key.sign(&session)?;
    let (sid, order) = (session.sid, session.order);
    let is_kept = merchant
        .store
        .add_session(NewSession {
            session,
            merchant_x5t: signing.x5t,
            gateway_x5t: offered.thumbprint,
            response: response.clone(),
        })
        .await
        .map_err(store_refusal)?;
    if !is_kept {
        return Err(Refusal::new(
            Problem::RateLimited,
            "the order has too many sessions open",
        ));
    }
    tracing::info!(%sid, %order, "session opened");
    Ok(response)
}
