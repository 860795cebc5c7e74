//! Receipts: a durable decision, written as claims and signed in the token.

use std::time::Instant;

use protocol::{
    json::Version,
    jws::Unsigned,
    problem::Refusal,
    receipt::{Action, Receipt},
};

use crate::{gateway::Gateway, service::hsm_refusal, store::DecisionRecord};

/// Signs the receipt of a decision. The same decision always gets the same claims; only the
/// signature's own randomness differs.
pub(crate) async fn sign(
    gateway: &Gateway,
    decision: &DecisionRecord,
    deadline: Instant,
) -> Result<String, Refusal> {
    let unsigned = Unsigned::new(
        &claims(gateway, decision),
        &gateway.keys.signing_certificate.chain,
    )?;
    let signature = gateway
        .keys
        .signing
        .sign(unsigned.digest(), deadline)
        .await
        .map_err(hsm_refusal)?;
    Ok(unsigned.finish(&signature))
}

fn claims(gateway: &Gateway, decision: &DecisionRecord) -> Receipt {
    Receipt {
        version: Version,
        jti: decision.receipt_jti,
        iat: decision.iat,
        action: Action::Authorization,
        gateway: gateway.name.clone(),
        merchant: decision.merchant.clone(),
        client: decision.client_x5t,
        xid: decision.xid,
        sid: decision.sid,
        nc: decision.nc,
        nm: decision.nm,
        dsh: decision.dsh,
        reqh: decision.reqh,
        target: None,
        decision: decision.code.decision(),
        code: decision.code.digits().to_owned(),
        reason: decision.code.reason().to_owned(),
        amount: decision.amount,
        totals: decision.totals,
        authorization: decision.authorization,
        capture_before: decision.capture_before,
    }
}
