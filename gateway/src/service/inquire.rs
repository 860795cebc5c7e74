//! `GET /v1/authorizations/{xid}` for merchants, `GET /v1/receipts/{xid}` for payers: what was decided.
//! Reading stores nothing.

use std::time::Instant;

use protocol::{
    identifiers::Xid,
    inquiry::Receipts,
    problem::{Problem, Refusal},
};

use super::store_refusal;
use crate::{
    access::{MerchantPermit, PayerPermit},
    gateway::Gateway,
    receipts,
    store::DecisionRecord,
};

/// The receipts of a merchant's own transaction; another's is as unknown as none.
pub(crate) async fn authorizations(
    gateway: &Gateway,
    permit: MerchantPermit,
    xid: Xid,
    deadline: Instant,
) -> Result<Receipts, Refusal> {
    receipts_where(gateway, xid, deadline, |decision| {
        &decision.merchant == permit.merchant()
    })
    .await
}

/// The receipts of a payer's own transaction; another's is as unknown as none.
pub(crate) async fn receipts(
    gateway: &Gateway,
    permit: PayerPermit,
    deadline: Instant,
) -> Result<Receipts, Refusal> {
    receipts_where(gateway, permit.xid(), deadline, |decision| {
        &decision.client == permit.client()
    })
    .await
}

async fn receipts_where(
    gateway: &Gateway,
    xid: Xid,
    deadline: Instant,
    is_asker_s: impl Fn(&DecisionRecord) -> bool,
) -> Result<Receipts, Refusal> {
    let decision = gateway
        .store
        .find_by_xid(xid)
        .map_err(store_refusal)?
        .filter(is_asker_s)
        .ok_or_else(|| {
            Refusal::new(
                Problem::UnknownAuthorization,
                "no such transaction of the asker's",
            )
        })?;
    Ok(Receipts {
        receipts: vec![receipts::sign(gateway, &decision, deadline).await?],
    })
}
