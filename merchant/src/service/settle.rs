//! Messages 4 and 5: asks the gateway with the stored bytes until there is an outcome, now or after a
//! restart. So it does with what is asked after a purchase.

use std::{sync::Arc, time::Duration};

use protocol::{
    authorization::AuthorizationBody,
    dual_signature::DualSignature,
    identifiers::{Digest, Xid},
    json::Version,
    jws::{Received, Verified},
    problem::{Problem, Refusal},
    purchase::{PurchaseAnswer, PurchaseResponse},
    receipt::{Action, Receipt},
    time::{Skew, Timestamp},
};

use super::{batches::settle_batches, operate::settle_operations};
use crate::{
    gateway::{Asked, Refused},
    merchant::{AskingPermit, Merchant, store_refusal},
    store::{PurchaseRecord, PurchaseState, StoreError},
};

/// Between two rounds of asking about what is open: it doubles while the gateway gives no outcome.
const ROUND_MIN: Duration = Duration::from_secs(1);
const ROUND_MAX: Duration = Duration::from_secs(10);

/// How long what the gateway began in time may still be at work there, its commit included.
const IN_WORK_SECONDS: u64 = 20;

/// Whether the gateway may know of a purchase already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Nothing was sent before.
    First,
    /// Something may have been sent and decided, and its answer lost.
    Further,
}

/// The copies of a request beside the one that the gateway refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherCopies {
    /// There are none, so nothing was done.
    None,
    /// Whatever was done of them can be found by now.
    Over,
    /// One may still be under way in the gateway, where nothing is found of it yet.
    UnderWay,
}

impl Attempt {
    /// What a refusal leaves open. `last` is the moment from which on the gateway refuses every copy as too
    /// late, but for the skew; a further skew is left for our own clock, and some time for what it began in time.
    pub(super) fn other_copies(
        self,
        refused: &Refused,
        last: Timestamp,
        skew: Skew,
        now: Timestamp,
    ) -> OtherCopies {
        if self == Attempt::First && !refused.was_sent_twice {
            OtherCopies::None
        } else if now >= last.plus(2 * skew.0 + IN_WORK_SECONDS) {
            OtherCopies::Over
        } else {
            OtherCopies::UnderWay
        }
    }
}

/// Asks once, and keeps the outcome if there is one; otherwise says what the gateway named, if anything.
pub(crate) async fn settle(
    merchant: &Merchant,
    permit: AskingPermit,
    attempt: Attempt,
) -> Result<(), Refusal> {
    let xid = permit.xid();
    ask(merchant, xid, attempt).await.inspect_err(|refusal| {
        tracing::warn!(%xid, problem = refusal.problem.name(), detail = %refusal.detail, "no outcome yet");
    })
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
            // It was logged, and is asked about again in the next round.
            let _ = settle(merchant, permit, Attempt::Further).await;
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
        Asked::Refused(refused) => {
            let (problem, last) = (refused.problem, signed_until(&purchase)?);
            tracing::warn!(%xid, problem = problem.name(), "the gateway refused");
            // Judged before it is looked for a decision: one that came in time is then there to be found.
            let others = attempt.other_copies(&refused, last, merchant.skew, merchant.now());
            if others != OtherCopies::None
                && let Some((receipt, verified)) = decided_before(merchant, &purchase).await?
            {
                return keep(merchant, &purchase, receipt, &verified).await;
            }
            if others == OtherCopies::UnderWay {
                return Err(Refusal::new(
                    Problem::OutcomeUnknown,
                    "another copy of the request may be under way",
                ));
            }
            merchant
                .store
                .fail(xid, problem)
                .await
                .map_err(store_refusal)
        }
        Asked::Unknown(unknown) => Err(Refusal::new(
            unknown.problem.unwrap_or(Problem::OutcomeUnknown),
            unknown.why,
        )),
    }
}

/// From when on the gateway takes no copy of a request with this dual signature, but for the skew.
fn signed_until(purchase: &PurchaseRecord) -> Result<Timestamp, Refusal> {
    let signed = Received::<DualSignature>::read(&purchase.dual_signature)?;
    Ok(signed.unverified().exp)
}

/// What the gateway decided on another copy of the request, whose answer was lost: our certificate may have
/// expired since, which the gateway looks at before it looks for an earlier answer.
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
        purchase_response: merchant.signing.active().key.sign(&answer)?,
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

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Timestamp = Timestamp(1_800_000_000);

    fn other_copies(attempt: Attempt, was_sent_twice: bool, now: u64) -> OtherCopies {
        let refused = Refused {
            problem: Problem::Expired,
            was_sent_twice,
        };
        attempt.other_copies(&refused, LAST, Skew(60), Timestamp(now))
    }

    #[test]
    fn only_the_refusal_of_the_only_copy_says_at_once_that_nothing_was_done() {
        let early = LAST.0 - 100;
        assert_eq!(
            other_copies(Attempt::First, false, early),
            OtherCopies::None
        );
        assert_eq!(
            other_copies(Attempt::First, true, early),
            OtherCopies::UnderWay
        );
        assert_eq!(
            other_copies(Attempt::Further, false, early),
            OtherCopies::UnderWay
        );
    }

    #[test]
    fn a_copy_that_came_in_time_is_over_two_skews_and_its_work_after_the_last_moment() {
        let further = |now| other_copies(Attempt::Further, false, now);
        assert_eq!(further(LAST.0 + 139), OtherCopies::UnderWay);
        assert_eq!(further(LAST.0 + 140), OtherCopies::Over);
    }
}
