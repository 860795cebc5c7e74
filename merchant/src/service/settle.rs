//! Messages 4 and 5: asks the gateway with the stored bytes until there is an outcome, now or after a
//! restart. So it does with what is asked after a purchase.

use std::{sync::Arc, time::Duration};

use protocol::{
    authorization::AuthorizationBody,
    identifiers::{Digest, Xid},
    json::Version,
    jws::{Received, Verified},
    problem::{Problem, Refusal},
    purchase::{PurchaseAnswer, PurchaseResponse},
    receipt::{Action, Receipt},
};

use super::{batches::settle_batches, operate::settle_operations};
use crate::{
    gateway::Asked,
    merchant::{AskingPermit, Merchant, store_refusal},
    store::{PurchaseRecord, PurchaseState, StoreError},
};

/// Between two rounds of asking about what is open: it doubles while the gateway gives no outcome.
const ROUND_MIN: Duration = Duration::from_secs(1);
const ROUND_MAX: Duration = Duration::from_secs(60);

/// Whether the gateway may know of a purchase already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Nothing was sent before.
    First,
    /// Something may have been sent and decided, and its answer lost.
    Further,
}

/// Asks once, and keeps the outcome if there is one.
pub(crate) async fn settle(merchant: &Merchant, permit: AskingPermit, attempt: Attempt) {
    let xid = permit.xid();
    if let Err(refusal) = ask(merchant, xid, attempt).await {
        tracing::warn!(%xid, problem = refusal.problem.name(), detail = %refusal.detail, "no outcome yet");
    }
}

/// Asks about everything that is open, round after round, for as long as the merchant runs.
pub(crate) async fn settle_what_is_open(merchant: Arc<Merchant>) {
    let mut pause = ROUND_MIN;
    loop {
        pause = match settle_once(&merchant).await {
            Ok(true) => ROUND_MIN,
            Ok(false) => (pause * 2).min(ROUND_MAX),
            Err(error) => {
                tracing::warn!(%error, "what is open can't be told");
                (pause * 2).min(ROUND_MAX)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// One round; whether nothing is left open that was open before it.
async fn settle_once(merchant: &Merchant) -> Result<bool, StoreError> {
    let purchases = settle_purchases(merchant).await?;
    let operations = settle_operations(merchant).await?;
    let batches = settle_batches(merchant).await?;
    Ok(purchases && operations && batches)
}

async fn settle_purchases(merchant: &Merchant) -> Result<bool, StoreError> {
    let open = merchant.store.pending().await?;
    for &xid in &open {
        if let Some(permit) = merchant.asking.begin(xid) {
            settle(merchant, permit, Attempt::Further).await;
        }
    }
    if open.is_empty() {
        return Ok(true);
    }
    let still_open = merchant.store.pending().await?;
    Ok(!open.iter().any(|xid| still_open.contains(xid)))
}

async fn ask(merchant: &Merchant, xid: Xid, attempt: Attempt) -> Result<(), Refusal> {
    let Some(purchase) = merchant.store.purchase(xid).await.map_err(store_refusal)? else {
        return Err(Refusal::new(Problem::Internal, "the purchase is gone"));
    };
    let (PurchaseState::Pending, Some(payment_information)) =
        (&purchase.state, &purchase.payment_information)
    else {
        return Ok(());
    };
    let body = AuthorizationBody {
        authorization_request: purchase.authorization_request.clone(),
        dual_signature: format!("{}~", purchase.dual_signature),
        payment_information: payment_information.clone(),
    };
    match merchant.gateway.authorize(&body).await {
        Asked::Answered(receipt) => {
            let verified = verify_receipt(merchant, &purchase, &receipt)?;
            keep(merchant, &purchase, receipt, &verified).await
        }
        Asked::Refused(problem) => {
            tracing::warn!(%xid, problem = problem.name(), "the gateway refused");
            if attempt == Attempt::Further
                && let Some((receipt, verified)) = decided_before(merchant, &purchase).await?
            {
                return keep(merchant, &purchase, receipt, &verified).await;
            }
            merchant
                .store
                .fail(xid, problem)
                .await
                .map_err(store_refusal)
        }
        Asked::Unknown(why) => Err(Refusal::new(Problem::OutcomeUnknown, why)),
    }
}

/// What the gateway decided on an earlier attempt whose answer was lost. A refusal of a further one
/// does not say that there was no decision: our certificate may have expired since, which the gateway
/// looks at before it looks for an earlier answer.
///
/// # Errors
/// `outcome-unknown`, when the gateway does not say, or decided something else about this transaction.
async fn decided_before(
    merchant: &Merchant,
    purchase: &PurchaseRecord,
) -> Result<Option<(String, Verified<Receipt>)>, Refusal> {
    let unknown = |why: String| Refusal::new(Problem::OutcomeUnknown, why);
    let receipts = merchant
        .gateway
        .receipts(purchase.xid)
        .await
        .map_err(unknown)?;
    let Some(receipt) = receipts.into_iter().next() else {
        return Ok(None);
    };
    let verified = verify_receipt(merchant, purchase, &receipt)?;
    Ok(Some((receipt, verified)))
}

/// Whether a receipt is the configured gateway's, and about this purchase and this request.
fn verify_receipt(
    merchant: &Merchant,
    purchase: &PurchaseRecord,
    receipt: &str,
) -> Result<Verified<Receipt>, Refusal> {
    let receipt = Received::<Receipt>::read(receipt)?.verify(&merchant.trust(), merchant.now())?;
    let claims = receipt.claims();
    let is_about_it = claims.action == Action::Authorization
        && &claims.gateway == merchant.gateway.name()
        && claims.merchant == merchant.name
        && claims.client == purchase.client_x5t
        && (claims.xid, claims.sid) == (purchase.xid, purchase.sid)
        && (claims.nc, claims.nm) == (purchase.nc, purchase.nm)
        && claims.dsh == purchase.dsh
        && claims.reqh == Digest::of(purchase.authorization_request.as_bytes())
        && claims.amount == purchase.amount;
    if is_about_it {
        Ok(receipt)
    } else {
        Err(Refusal::new(
            Problem::OutcomeUnknown,
            "the receipt is about something else",
        ))
    }
}

/// Signs message 6 over the receipt, and keeps both for ever.
async fn keep(
    merchant: &Merchant,
    purchase: &PurchaseRecord,
    receipt: String,
    verified: &Verified<Receipt>,
) -> Result<(), Refusal> {
    let decision = verified.claims().decision;
    let answer = PurchaseAnswer {
        version: Version,
        xid: purchase.xid,
        sid: purchase.sid,
        nc: purchase.nc,
        order: purchase.order,
        status: decision,
        receipt: verified.hash(),
    };
    let response = PurchaseResponse {
        purchase_response: merchant.signing.sign(&answer)?,
        receipt,
    };
    merchant
        .store
        .decide(purchase.xid, decision, response)
        .await
        .map_err(store_refusal)?;
    tracing::info!(xid = %purchase.xid, code = verified.claims().code, "settled");
    Ok(())
}
