//! `POST /v1/batches` and `GET /v1/batches/{id}`: what a merchant is settled by.

use std::time::Instant;

use protocol::{
    identifiers::Jti,
    lifecycle::{BatchResponse, ReceivedBatch},
    problem::{Problem, Refusal},
};

use super::{idempotency_conflict, no_randomness, store_refusal};
use crate::{
    access::MerchantPermit,
    gateway::Gateway,
    receipts,
    store::{
        commands::{BatchClosed, CloseBatch},
        records::BatchRecord,
    },
};

/// Closes the merchant's open batch of a currency, or answers as it was answered before.
pub(crate) async fn close_batch(
    gateway: &Gateway,
    permit: MerchantPermit,
    body: &[u8],
    deadline: Instant,
) -> Result<BatchResponse, Refusal> {
    let now = gateway.now();
    let requested =
        ReceivedBatch::read(body)?.verify(permit.merchant().party(), &gateway.trust(), now)?;
    let request = requested.request();
    let claims = request.claims();
    tracing::Span::current().record("subject", tracing::field::display(claims.jti));
    let earlier = gateway
        .store
        .find_batch(&claims.merchant, claims.jti)
        .await
        .map_err(store_refusal)?;
    let closed = match earlier {
        Some(earlier) if earlier.reqh != request.hash() => return Err(idempotency_conflict()),
        Some(earlier) => earlier,
        None => {
            requested.check_first(&gateway.name, gateway.skew, now)?;
            let closed = gateway
                .store
                .close_batch(
                    CloseBatch {
                        merchant: claims.merchant.clone(),
                        jti: claims.jti,
                        reqh: request.hash(),
                        currency: claims.currency,
                        request: request.compact().to_owned(),
                        receipt_jti: Jti::at(now).map_err(no_randomness)?,
                        now,
                        subscribers: gateway.subscribers.clone(),
                    },
                    deadline,
                )
                .await
                .map_err(store_refusal)?;
            match closed {
                BatchClosed::Closed(closed) => closed,
                BatchClosed::IdempotencyConflict => return Err(idempotency_conflict()),
            }
        }
    };
    tracing::info!(
        payable = closed.totals.payable,
        receivable = closed.totals.receivable,
        "batch closed"
    );
    answer(gateway, &closed, deadline).await
}

/// A closed batch of the merchant's own.
pub(crate) async fn batch(
    gateway: &Gateway,
    permit: MerchantPermit,
    id: Jti,
    deadline: Instant,
) -> Result<BatchResponse, Refusal> {
    let closed = gateway
        .store
        .find_batch(permit.merchant(), id)
        .await
        .map_err(store_refusal)?
        .ok_or_else(|| {
            Refusal::new(
                Problem::UnknownAuthorization,
                "no such closed batch of this merchant's",
            )
        })?;
    answer(gateway, &closed, deadline).await
}

async fn answer(
    gateway: &Gateway,
    closed: &BatchRecord,
    deadline: Instant,
) -> Result<BatchResponse, Refusal> {
    Ok(BatchResponse {
        batch: receipts::sign_batch(gateway, closed, deadline).await?,
    })
}
