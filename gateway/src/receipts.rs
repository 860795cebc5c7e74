//! Receipts: what is durable, written as claims and signed in the token.

use std::time::Instant;

use protocol::{
    json::Version,
    jws::{Message, Unsigned},
    lifecycle::ClosedBatch,
    problem::Refusal,
    receipt::Receipt,
};

use crate::{
    gateway::Gateway,
    service::hsm_refusal,
    store::records::{BatchRecord, ReceiptRecord},
};

/// Signs the receipt of something durable. The same thing always gets the same claims; only the signature's
/// own randomness differs.
pub(crate) async fn sign(
    gateway: &Gateway,
    record: &ReceiptRecord,
    deadline: Instant,
) -> Result<String, Refusal> {
    sign_claims(gateway, &claims(gateway, record), deadline).await
}

/// Signs what a closed batch came to.
pub(crate) async fn sign_batch(
    gateway: &Gateway,
    record: &BatchRecord,
    deadline: Instant,
) -> Result<String, Refusal> {
    let claims = ClosedBatch {
        version: Version,
        batch: record.batch,
        iat: record.closed_at,
        gateway: gateway.name.clone(),
        merchant: record.merchant.clone(),
        currency: record.currency,
        reqh: record.reqh,
        totals: record.totals,
    };
    sign_claims(gateway, &claims, deadline).await
}

async fn sign_claims<T: Message>(
    gateway: &Gateway,
    claims: &T,
    deadline: Instant,
) -> Result<String, Refusal> {
    // Certificate and key are of one moment.
    let keys = gateway.keys();
    let unsigned = Unsigned::new(claims, &keys.signing_certificate.chain)?;
    let signature = keys
        .signing
        .sign(unsigned.digest(), deadline)
        .await
        .map_err(hsm_refusal)?;
    Ok(unsigned.finish(&signature))
}

fn claims(gateway: &Gateway, record: &ReceiptRecord) -> Receipt {
    let signed = &record.signed;
    Receipt {
        version: Version,
        jti: record.receipt_jti,
        iat: record.iat,
        action: record.action,
        gateway: gateway.name.clone(),
        merchant: record.merchant.clone(),
        client: signed.client_x5t,
        xid: signed.xid,
        sid: signed.sid,
        nc: signed.nc,
        nm: signed.nm,
        dsh: signed.dsh,
        reqh: record.reqh,
        target: record.target,
        decision: record.code.decision(),
        code: record.code.digits().to_owned(),
        reason: record.code.reason().to_owned(),
        amount: record.amount,
        totals: record.totals,
        authorization: record.authorization,
        capture_before: record.capture_before,
    }
}
