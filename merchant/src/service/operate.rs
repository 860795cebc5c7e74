//! Captures, reversals, refunds, and captures and refunds undone: kept, sent, and sent again with the same
//! bytes until the gateway says what became of them.

use protocol::{
    identifiers::{Digest, Jti, NoRandomness, Xid},
    jws::{Received, Verified},
    lifecycle::FIRST_PROCESSING_SECONDS_MAX,
    money::{Amount, NotWritten},
    problem::{Problem, Refusal},
    receipt::{Receipt, Totals},
};

use super::settle::{Attempt, OtherCopies};
use crate::{
    books::{self, Books},
    gateway::Asked,
    merchant::Merchant,
    operation::{Operation, Request},
    store::{Kept, OperationRecord, PurchaseRecord, RequestState, StoreError},
    turn::NoTurn,
};

/// What the operator wants.
pub(crate) struct Wish {
    pub(crate) xid: Xid,
    pub(crate) operation: Operation,
    /// The booking to undo.
    pub(crate) target: Option<Jti>,
    /// As it was typed; all that is open without it.
    pub(crate) amount: Option<String>,
}

impl Wish {
    /// Whether an operation is what this same wish came to earlier.
    fn is_of(&self, earlier: &OperationRecord, typed: Option<Amount>) -> bool {
        (self.operation, self.target) == (earlier.operation, earlier.target)
            && match typed {
                Some(typed) => typed == earlier.amount,
                None => earlier.is_all,
            }
    }
}

/// An operation, and what it came to.
pub(crate) struct Operated {
    pub(crate) asked: OperationRecord,
    pub(crate) outcome: Outcome<Receipt>,
    /// Whether the outcome was there already, and nothing was sent now.
    pub(crate) was_known: bool,
}

/// What a request came to.
pub(crate) enum Outcome<T> {
    /// Done, and the gateway's answer is kept.
    Done(Box<T>),
    /// Nobody knows, and why; the same bytes are sent again.
    Unknown(String),
    /// The gateway refused it: nothing was done and nothing will be.
    Refused(Problem),
}

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAsked {
    #[error("no purchase {0} here; `list` shows all")]
    NoPurchase(Xid),
    #[error("no such {kind} of {xid} that can be undone; `show {xid}` lists them with their jti")]
    NoBooking { kind: Operation, xid: Xid },
    #[error("{0} is not approved, so there is nothing to do with it; see: show {0}")]
    NotApproved(Xid),
    #[error("the amount is {0}; correct --amount")]
    Amount(#[from] NotWritten),
    #[error("nothing is open for a {operation} of {xid}; see: show {xid}")]
    NothingOpen { operation: Operation, xid: Xid },
    #[error(
        "a {operation} of {amount} for {xid} has no outcome yet; wait for `serve` to finish it, or finish it \
         with: {command}"
    )]
    OtherPending {
        operation: Operation,
        amount: Amount,
        xid: Xid,
        command: String,
    },
    #[error("{0}; start another one at a time")]
    Raced(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Turn(#[from] NoTurn),
    #[error("what the store holds can't be used ({0}); restore it from a backup")]
    Strange(Refusal),
    #[error("the request can't be signed ({0}); try again")]
    NotSigned(Refusal),
    #[error("{0}; try again")]
    NoRandomness(#[from] NoRandomness),
}

/// Asks for one operation. Where the same one was asked before and who asked was not told what became of it, whoever
/// looked at it meanwhile, nothing new is asked: its bytes are sent again, or its outcome is told. A new one is on disk before it
/// is sent.
pub(crate) async fn operate(merchant: &Merchant, wish: Wish) -> Result<Operated, NotAsked> {
    let _turn = merchant.turns.wait().await?;
    let (purchase, books) = approved(merchant, wish.xid).await?;
    let currency = books.authorization.amount.currency();
    let typed = wish
        .amount
        .as_deref()
        .map(|text| Amount::read(text, currency))
        .transpose()?;

    let (asked, attempt) = match earlier(&books, &wish, typed)? {
        Some(asked) => (asked, Attempt::Further),
        None => {
            let new = new(merchant, &books, &wish, typed)?;
            match merchant.store.add_operation(new.clone()).await? {
                Kept::Done => (new, Attempt::First),
                Kept::OtherPending => {
                    return Err(NotAsked::Raced("another request was kept meanwhile"));
                }
            }
        }
    };
    let was_known = asked.state != RequestState::Pending;
    let outcome = match &asked.state {
        RequestState::Pending => send(merchant, &purchase, &books, &asked, attempt).await?,
        RequestState::Failed(problem) => Outcome::Refused(*problem),
        RequestState::Answered(receipt) => {
            Outcome::Done(Box::new(books::claims(receipt).map_err(NotAsked::Strange)?))
        }
    };
    merchant.store.tell_operation(asked.jti).await?;
    Ok(Operated {
        asked,
        outcome,
        was_known,
    })
}

/// The same wish's operation of before, when it has no outcome or one that the operator was not told.
fn earlier(
    books: &Books,
    wish: &Wish,
    typed: Option<Amount>,
) -> Result<Option<OperationRecord>, NotAsked> {
    if let Some(pending) = books.pending() {
        return if wish.is_of(pending, typed) {
            Ok(Some(pending.clone()))
        } else {
            Err(other_pending(pending))
        };
    }
    let untold = books
        .operations
        .iter()
        .find(|earlier| !earlier.is_told && wish.is_of(earlier, typed));
    Ok(untold.cloned())
}

/// A new operation, signed.
fn new(
    merchant: &Merchant,
    books: &Books,
    wish: &Wish,
    typed: Option<Amount>,
) -> Result<OperationRecord, NotAsked> {
    let (operation, xid) = (wish.operation, wish.xid);
    let Some(open) = books.open(operation, wish.target) else {
        let kind = match operation {
            Operation::CaptureReversal => Operation::Capture,
            _ => Operation::Refund,
        };
        return Err(NotAsked::NoBooking { kind, xid });
    };
    let amount = match typed {
        Some(typed) => typed,
        None => Amount::new(open, books.authorization.amount.currency())
            .map_err(|_| NotAsked::NothingOpen { operation, xid })?,
    };
    let now = merchant.now();
    let jti = Jti::at(now)?;
    let request = Request {
        jti,
        iat: now,
        merchant: merchant.name.clone(),
        gateway: merchant.gateway.name().clone(),
        xid,
        amount,
        target: wish.target,
    };
    Ok(OperationRecord {
        jti,
        xid,
        operation,
        target: wish.target,
        amount,
        request: operation
            .sign(&merchant.signing.active().key, request)
            .map_err(NotAsked::NotSigned)?,
        state: RequestState::Pending,
        made_at: now,
        is_all: typed.is_none(),
        is_told: false,
    })
}

/// Finishes what has no outcome, unless somebody is asking; whether nothing is left open that was open
/// before it.
pub(super) async fn settle_operations(merchant: &Merchant) -> Result<bool, StoreError> {
    if merchant.store.pending_operations().await?.is_empty() {
        return Ok(true);
    }
    let _turn = match merchant.turns.try_take() {
        Ok(Some(turn)) => turn,
        Ok(None) => return Ok(true),
        Err(error) => {
            tracing::warn!(%error, "operations without outcome wait");
            return Ok(false);
        }
    };
    let mut is_settled = true;
    for pending in merchant.store.pending_operations().await? {
        let outcome = match approved(merchant, pending.xid).await {
            Ok((purchase, books)) => {
                send(merchant, &purchase, &books, &pending, Attempt::Further).await
            }
            Err(error) => Err(error),
        };
        let why = match outcome {
            Ok(Outcome::Unknown(why)) => why,
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        is_settled = false;
        tracing::warn!(xid = %pending.xid, jti = %pending.jti, detail = %why, "no outcome yet");
    }
    Ok(is_settled)
}

/// An approved purchase with its books.
async fn approved(merchant: &Merchant, xid: Xid) -> Result<(PurchaseRecord, Books), NotAsked> {
    let purchase = merchant.store.purchase(xid).await?;
    let purchase = purchase.ok_or(NotAsked::NoPurchase(xid))?;
    let operations = merchant.store.operations(xid).await?;
    let books = Books::of(&purchase, operations).map_err(NotAsked::Strange)?;
    let books = books.ok_or(NotAsked::NotApproved(xid))?;
    Ok((purchase, books))
}

fn other_pending(pending: &OperationRecord) -> NotAsked {
    // The amount is the same, also where all was asked for.
    let command = match (pending.operation, pending.target) {
        (Operation::Reversal, _) => "reverse".to_owned(),
        (Operation::CaptureReversal, Some(target)) => format!("capture --undo {target}"),
        (Operation::RefundReversal, Some(target)) => format!("refund --undo {target}"),
        (Operation::Refund, _) => "refund".to_owned(),
        (_, _) => "capture".to_owned(),
    };
    let written = pending.amount.to_string();
    let amount = written.split(' ').next().unwrap_or_default();
    NotAsked::OtherPending {
        operation: pending.operation,
        amount: pending.amount,
        xid: pending.xid,
        command: format!("{command} {} --amount {amount}", pending.xid),
    }
}

/// Sends the bytes that are kept, and keeps what became of them.
async fn send(
    merchant: &Merchant,
    purchase: &PurchaseRecord,
    books: &Books,
    asked: &OperationRecord,
    attempt: Attempt,
) -> Result<Outcome<Receipt>, NotAsked> {
    let before = books.totals();
    let answer = match merchant
        .gateway
        .operate(asked.operation, &asked.request)
        .await
    {
        Asked::Answered(receipt) => receipt,
        Asked::Unknown(unknown) => return Ok(Outcome::Unknown(unknown.why)),
        Asked::Refused(refused) => {
            let last = asked.made_at.plus(FIRST_PROCESSING_SECONDS_MAX);
            let others = attempt.other_copies(&refused, last, merchant.skew, merchant.now());
            let found = match others {
                OtherCopies::None => Ok(None),
                OtherCopies::Over | OtherCopies::UnderWay => done_before(merchant, asked).await,
            };
            match found {
                Err(why) => return Ok(Outcome::Unknown(why)),
                Ok(Some(receipt)) => receipt,
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
                    merchant.store.end_operation(asked.jti, failed).await?;
                    tracing::warn!(xid = %asked.xid, jti = %asked.jti, problem = problem.name(),
                        "operation refused");
                    return Ok(Outcome::Refused(problem));
                }
            }
        }
    };
    match verify_receipt(merchant, purchase, books, asked, before, &answer) {
        Ok(receipt) => {
            let answered = RequestState::Answered(answer);
            merchant.store.end_operation(asked.jti, answered).await?;
            tracing::info!(xid = %asked.xid, jti = %asked.jti, action = %asked.operation,
                amount = %asked.amount, "operation done");
            Ok(Outcome::Done(Box::new(receipt.claims().clone())))
        }
        Err(refusal) => Ok(Outcome::Unknown(format!(
            "the gateway's receipt does not hold ({refusal}); tell its operators"
        ))),
    }
}

/// The gateway's receipt of an earlier attempt whose answer was lost.
async fn done_before(
    merchant: &Merchant,
    asked: &OperationRecord,
) -> Result<Option<String>, String> {
    let reqh = Digest::of(asked.request.as_bytes());
    let receipts = merchant.gateway.receipts(asked.xid).await?;
    Ok(receipts.into_iter().find(|receipt| {
        Received::<Receipt>::read(receipt).is_ok_and(|receipt| receipt.unverified().reqh == reqh)
    }))
}

/// Whether a receipt is the configured gateway's, about this purchase and this request, and adds up.
fn verify_receipt(
    merchant: &Merchant,
    purchase: &PurchaseRecord,
    books: &Books,
    asked: &OperationRecord,
    before: Totals,
    receipt: &str,
) -> Result<Verified<Receipt>, Refusal> {
    let receipt = Received::<Receipt>::read(receipt)?.verify(&merchant.trust(), merchant.now())?;
    let claims = receipt.claims();
    let is_about_it = claims.action == asked.operation.action()
        && claims.target == asked.target
        && &claims.gateway == merchant.gateway.name()
        && claims.merchant == merchant.name
        && claims.client == purchase.client_x5t
        && (claims.xid, claims.sid) == (purchase.xid, purchase.sid)
        && (claims.nc, claims.nm) == (purchase.nc, purchase.nm)
        && claims.dsh == purchase.dsh
        && claims.reqh == Digest::of(asked.request.as_bytes())
        && claims.amount == asked.amount
        && claims.authorization == books.authorization.authorization
        && claims.capture_before == books.authorization.capture_before;
    if !is_about_it {
        return Err(Refusal::new(
            Problem::OutcomeUnknown,
            "the receipt is about something else",
        ));
    }
    let after = asked.operation.applied(before, asked.amount.value());
    if after != Some(claims.totals) {
        return Err(Refusal::new(
            Problem::OutcomeUnknown,
            "its totals do not follow from those of the receipts before it",
        ));
    }
    Ok(receipt)
}
