//! Captures, reversals, refunds, and captures and refunds undone: one operation on one payment, with a
//! receipt. And holds that end by themselves.

use std::{sync::Arc, time::Duration, time::Instant};

use protocol::{
    authorization::AuthorizationResponse,
    identifiers::Jti,
    lifecycle::{Operation, ReceivedLifecycle, RequestedLifecycle},
    problem::{Problem, Refusal},
};

use super::{idempotency_conflict, no_randomness, store_refusal};
use crate::{
    access::MerchantPermit,
    gateway::Gateway,
    receipts,
    store::{
        StoreError,
        commands::{EndHolds, Operate, Operated},
        records::ReceiptRecord,
    },
};

/// How often is looked for holds that are over.
const EXPIRY_PAUSE: Duration = Duration::from_secs(1);

/// Does one operation, or answers as it was answered before.
pub(crate) async fn operate<O: Operation>(
    gateway: &Gateway,
    permit: MerchantPermit,
    body: &[u8],
    deadline: Instant,
) -> Result<AuthorizationResponse, Refusal> {
    let now = gateway.now();

    // One merchant: peer, signer and named.
    let requested = ReceivedLifecycle::<O>::read(body)?.verify(
        permit.merchant().party(),
        &gateway.trust(),
        now,
    )?;
    tracing::Span::current().record("subject", tracing::field::display(requested.xid()));

    // The same request gets the same answer, however late; a new one is done soon or never.
    let receipt = match earlier(gateway, &requested).await? {
        Some(earlier) => earlier,
        None => {
            requested.check_first(&gateway.name, gateway.skew, now)?;
            done(gateway, &requested, deadline).await?
        }
    };
    Ok(AuthorizationResponse {
        receipt: receipts::sign(gateway, &receipt, deadline).await?,
    })
}

async fn earlier(
    gateway: &Gateway,
    requested: &RequestedLifecycle,
) -> Result<Option<ReceiptRecord>, Refusal> {
    let found = gateway
        .store
        .find_by_request(requested.merchant(), requested.jti())
        .await
        .map_err(store_refusal)?;
    match found {
        Some(receipt) if receipt.reqh != requested.hash() => Err(idempotency_conflict()),
        found => Ok(found),
    }
}

/// Has the store do it in one durable transaction.
async fn done(
    gateway: &Gateway,
    requested: &RequestedLifecycle,
    deadline: Instant,
) -> Result<ReceiptRecord, Refusal> {
    let now = gateway.now();
    let operated = gateway
        .store
        .operate(
            Operate {
                merchant: requested.merchant().clone(),
                jti: requested.jti(),
                reqh: requested.hash(),
                action: requested.action(),
                xid: requested.xid(),
                amount: requested.amount(),
                target: requested.target(),
                request: requested.compact().to_owned(),
                receipt_jti: Jti::at(now).map_err(no_randomness)?,
                now,
            },
            deadline,
        )
        .await
        .map_err(store_refusal)?;
    match operated {
        Operated::Done(receipt) => {
            metrics::counter!("twinseal_operations_total", "action" => receipt.action.as_str())
                .increment(1);
            tracing::info!(action = %receipt.action, amount = %receipt.amount, "done");
            Ok(receipt)
        }
        Operated::Answered(receipt) => Ok(receipt),
        Operated::IdempotencyConflict => Err(idempotency_conflict()),
        Operated::UnknownAuthorization => Err(Refusal::new(
            Problem::UnknownAuthorization,
            "no such payment of this merchant's",
        )),
        Operated::OtherCurrency => Err(Refusal::new(
            Problem::AmountMismatch,
            "another currency than the payment's",
        )),
        Operated::Refused(limit) => Err(Refusal::new(Problem::LimitExceeded, limit.to_string())),
    }
}

/// Ends holds that are over, for as long as the gateway runs.
pub(crate) async fn end_holds(gateway: Arc<Gateway>) {
    let mut rounds = tokio::time::interval(EXPIRY_PAUSE);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if let Err(error) = end_those_due(&gateway).await {
            tracing::warn!(%error, "holds that are over could not be ended");
        }
    }
}

async fn end_those_due(gateway: &Gateway) -> Result<(), StoreError> {
    loop {
        let ended = gateway
            .store
            .end_holds(
                EndHolds {
                    now: gateway.now(),
                    subscribers: gateway.subscribers.clone(),
                },
                gateway.deadline(),
            )
            .await?;
        if ended.is_empty() {
            return Ok(());
        }
        for hold in ended {
            metrics::counter!("twinseal_operations_total", "action" => "expiry").increment(1);
            tracing::info!(xid = %hold.xid, merchant = %hold.merchant, released = hold.released, "hold ended");
        }
    }
}
