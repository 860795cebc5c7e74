//! Batches: has the gateway close one, and keeps the totals that it signed.

use protocol::{
    identifiers::{Digest, Jti},
    json::Version,
    jws::{Received, Verified},
    lifecycle::{BatchRequest, ClosedBatch, FIRST_PROCESSING_SECONDS_MAX},
    money::Currency,
    problem::{Problem, Refusal},
};

use super::{
    operate::{NotAsked, Outcome},
    settle::{Attempt, OtherCopies},
};
use crate::{
    gateway::Asked,
    merchant::Merchant,
    store::{BatchRecord, Kept, RequestState, StoreError},
};

/// The closing of a batch, and what it came to.
pub(crate) struct Closing {
    pub(crate) asked: BatchRecord,
    pub(crate) outcome: Outcome<ClosedBatch>,
    /// Whether the outcome was there already, and nothing was sent now.
    pub(crate) was_known: bool,
}

/// Closes the open batch of a currency. Where closing it was asked before and the operator was not told what
/// became of it, the same bytes are sent again, or the outcome is told.
pub(crate) async fn close_batch(
    merchant: &Merchant,
    currency: Currency,
) -> Result<Closing, NotAsked> {
    let _turn = merchant.turns.wait().await?;
    let earlier = merchant
        .store
        .batches()
        .await?
        .into_iter()
        .find(|batch| batch.currency == currency && !batch.is_told);
    let (asked, attempt) = match earlier {
        Some(asked) => (asked, Attempt::Further),
        None => {
            let new = sign(merchant, currency)?;
            match merchant.store.add_batch(new.clone()).await? {
                Kept::Done => (new, Attempt::First),
                Kept::OtherPending => {
                    return Err(NotAsked::Raced("another request was kept meanwhile"));
                }
            }
        }
    };
    let was_known = asked.state != RequestState::Pending;
    let outcome = match &asked.state {
        RequestState::Pending => send(merchant, &asked, attempt).await?,
        RequestState::Failed(problem) => Outcome::Refused(*problem),
        RequestState::Answered(answer) => {
            let answer = Received::<ClosedBatch>::read(answer).map_err(NotAsked::Strange)?;
            Outcome::Done(Box::new(answer.unverified().clone()))
        }
    };
    merchant.store.tell_batch(asked.jti).await?;
    Ok(Closing {
        asked,
        outcome,
        was_known,
    })
}

/// Finishes what has no outcome, unless somebody is asking; whether nothing is left open that was open
/// before it.
pub(super) async fn settle_batches(merchant: &Merchant) -> Result<bool, StoreError> {
    if merchant.store.pending_batches().await?.is_empty() {
        return Ok(true);
    }
    let _turn = match merchant.turns.try_take() {
        Ok(Some(turn)) => turn,
        Ok(None) => return Ok(true),
        Err(error) => {
            tracing::warn!(%error, "batches without outcome wait");
            return Ok(false);
        }
    };
    let mut is_settled = true;
    for pending in merchant.store.pending_batches().await? {
        let why = match send(merchant, &pending, Attempt::Further).await {
            Ok(Outcome::Unknown(why)) => why,
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        is_settled = false;
        tracing::warn!(batch = %pending.jti, detail = %why, "no outcome yet");
    }
    Ok(is_settled)
}

fn sign(merchant: &Merchant, currency: Currency) -> Result<BatchRecord, NotAsked> {
    let now = merchant.now();
    let jti = Jti::at(now)?;
    let request = BatchRequest {
        version: Version,
        jti,
        iat: now,
        merchant: merchant.name.clone(),
        gateway: merchant.gateway.name().clone(),
        currency,
    };
    Ok(BatchRecord {
        jti,
        currency,
        request: merchant
            .signing
            .active()
            .key
            .sign(&request)
            .map_err(NotAsked::NotSigned)?,
        state: RequestState::Pending,
        made_at: now,
        is_told: false,
    })
}

/// Sends the bytes that are kept, and keeps what became of them.
async fn send(
    merchant: &Merchant,
    asked: &BatchRecord,
    attempt: Attempt,
) -> Result<Outcome<ClosedBatch>, NotAsked> {
    let answer = match merchant.gateway.close_batch(&asked.request).await {
        Asked::Answered(answer) => answer,
        Asked::Unknown(unknown) => return Ok(Outcome::Unknown(unknown.why)),
        Asked::Refused(refused) => {
            let last = asked.made_at.plus(FIRST_PROCESSING_SECONDS_MAX);
            let others = attempt.other_copies(&refused, last, merchant.skew, merchant.now());
            let found = match others {
                OtherCopies::None => Ok(None),
                OtherCopies::Over | OtherCopies::UnderWay => {
                    merchant.gateway.closed_batch(asked.jti).await
                }
            };
            match found {
                Err(why) => return Ok(Outcome::Unknown(why)),
                Ok(Some(answer)) => answer,
                Ok(None) if others == OtherCopies::UnderWay => {
                    let why = format!(
                        "the gateway says {}, and an earlier copy of the request may be under way",
                        refused.problem
                    );
                    return Ok(Outcome::Unknown(why));
                }
                Ok(None) => {
                    let problem = refused.problem;
                    let failed = RequestState::Failed(problem);
                    merchant.store.end_batch(asked.jti, failed).await?;
                    tracing::warn!(batch = %asked.jti, problem = problem.name(), "batch refused");
                    return Ok(Outcome::Refused(problem));
                }
            }
        }
    };
    match verify_closed(merchant, asked, &answer) {
        Ok(closed) => {
            let answered = RequestState::Answered(answer);
            merchant.store.end_batch(asked.jti, answered).await?;
            tracing::info!(batch = %asked.jti, currency = %asked.currency, "batch closed");
            Ok(Outcome::Done(Box::new(closed.claims().clone())))
        }
        Err(refusal) => Ok(Outcome::Unknown(format!(
            "the gateway's totals do not hold ({refusal}); tell its operators"
        ))),
    }
}

/// Whether totals are the configured gateway's, and about this batch of ours. That they add up is looked at
/// when they are read.
fn verify_closed(
    merchant: &Merchant,
    asked: &BatchRecord,
    answer: &str,
) -> Result<Verified<ClosedBatch>, Refusal> {
    let closed =
        Received::<ClosedBatch>::read(answer)?.verify(&merchant.trust(), merchant.now())?;
    let claims = closed.claims();
    let is_about_it = claims.batch == asked.jti
        && &claims.gateway == merchant.gateway.name()
        && claims.merchant == merchant.name
        && claims.currency == asked.currency
        && claims.reqh == Digest::of(asked.request.as_bytes());
    if is_about_it {
        Ok(closed)
    } else {
        Err(Refusal::new(
            Problem::OutcomeUnknown,
            "the totals are of another batch",
        ))
    }
}
