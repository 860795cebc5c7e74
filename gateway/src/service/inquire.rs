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
    store::records::ReceiptRecord,
};

/// The receipts of a merchant's own transaction; another's is as unknown as none.
pub(crate) async fn authorizations(
    gateway: &Gateway,
    permit: MerchantPermit,
    xid: Xid,
    deadline: Instant,
) -> Result<Receipts, Refusal> {
    let decision = gateway
        .store
        .find_by_xid(xid)
        .await
        .map_err(store_refusal)?
        .map(|found| found.decision)
        .filter(|decision| &decision.merchant == permit.merchant());
    signed(gateway, decided(gateway, decision).await?, deadline).await
}

/// The receipts of a payer's own transaction; another's is as unknown as none.
pub(crate) async fn receipts(
    gateway: &Gateway,
    permit: PayerPermit,
    deadline: Instant,
) -> Result<Receipts, Refusal> {
    let (client, xid) = (permit.client(), permit.xid());
    let withdrawn = gateway
        .store
        .find_cancellation(client, xid)
        .await
        .map_err(store_refusal)?;
    let decision = gateway
        .store
        .find_by_xid(xid)
        .await
        .map_err(store_refusal)?
        .map(|found| found.decision)
        .filter(|decision| &decision.signed.client == client);
    let mut records: Vec<ReceiptRecord> = withdrawn.into_iter().collect();
    records.extend(decided(gateway, decision).await?);
    signed(gateway, records, deadline).await
}

/// A decision and what was done after it, oldest first.
async fn decided(
    gateway: &Gateway,
    decision: Option<ReceiptRecord>,
) -> Result<Vec<ReceiptRecord>, Refusal> {
    let Some(decision) = decision else {
        return Ok(Vec::new());
    };
    let after = gateway
        .store
        .receipts_after(decision.signed.xid)
        .await
        .map_err(store_refusal)?;
    Ok(std::iter::once(decision).chain(after).collect())
}

async fn signed(
    gateway: &Gateway,
    records: Vec<ReceiptRecord>,
    deadline: Instant,
) -> Result<Receipts, Refusal> {
    if records.is_empty() {
        return Err(Refusal::new(
            Problem::UnknownAuthorization,
            "no such transaction of the asker's",
        ));
    }
    let mut receipts = Vec::with_capacity(records.len());
    for record in &records {
        receipts.push(receipts::sign(gateway, record, deadline).await?);
    }
    Ok(Receipts { receipts })
}
