//! The transaction of an operation on a payment: idempotency, the state machine, the ledger, the receipt,
//! together or not at all.

use protocol::{identifiers::Jti, receipt::Action};

use crate::{
    payment::{Booking, Movement, Payment},
    store::{
        commands::{Evidence, Limit, Operate, Operated},
        records::{PaymentRecord, ReceiptRecord},
        tables::{Book, Fault, NewOperation, Tables, Transaction, Transfer, Wanted},
    },
};

/// How many operations a payment may have: an inquiry is answered with all their receipts, and has to stay
/// short enough to be signed in time and to be taken.
const OPERATIONS_MAX: u64 = 32;

/// How many more may give money back to the payer: a merchant can't use up the payer's refund.
const GIVING_BACK_MAX: u64 = 32;

impl Transaction for Operate {
    type Outcome = Operated;

    fn wanted(&self, wanted: &mut Wanted) {
        let merchant = &self.merchant;
        for jti in std::iter::once(self.jti).chain(self.target) {
            wanted.requests.push((merchant.clone(), jti));
        }
        wanted.payments.push(self.xid);
        // Releasing a hold books nothing.
        if self.action != Action::Reversal {
            let currency = self.amount.currency();
            wanted
                .books
                .push((Book::Merchant(merchant.clone()), currency));
            wanted.open_batches.push((merchant.clone(), currency));
        }
    }

    fn run(&self, tables: &mut impl Tables) -> Result<Operated, Fault> {
        if let Some(earlier) = tables.request(&self.merchant, self.jti)? {
            return Ok(match earlier.receipt {
                Some(receipt) if earlier.reqh == self.reqh => Operated::Answered(receipt),
                _ => Operated::IdempotencyConflict,
            });
        }
        let Some(found) = tables
            .payment(self.xid)?
            .filter(|found| found.decision.merchant == self.merchant)
        else {
            return Ok(Operated::UnknownAuthorization);
        };
        if found.decision.amount.currency() != self.amount.currency() {
            return Ok(Operated::OtherCurrency);
        }
        match change(tables, self, &found)? {
            Ok(change) => do_it(tables, self, &found, &change).map(Operated::Done),
            Err(limit) => Ok(Operated::Refused(limit)),
        }
    }
}

/// What an operation would do.
struct Change {
    before: Payment,
    after: Payment,
    movement: Movement,
    /// The booking that is undone, and what is left of it.
    undone: Option<(Jti, Booking)>,
}

fn change(
    tables: &mut impl Tables,
    command: &Operate,
    found: &PaymentRecord,
) -> Result<Result<Change, Limit>, Fault> {
    let amount = command.amount.value();
    // A declined payment has nothing that could be booked or released.
    let Some(before) = found.payment else {
        return Ok(Err(crate::payment::LimitExceeded::Hold.into()));
    };
    if tables.operations(command.xid)? >= operations_max(command.action) {
        return Ok(Err(Limit::TooMany));
    }
    let undone = match command.target {
        None => None,
        Some(target) => match booking(tables, command, target)? {
            None => return Ok(Err(Limit::NoSuchBooking)),
            Some(booking) => match booking.undo(amount) {
                Ok(rest) => Some((target, rest)),
                Err(limit) => return Ok(Err(limit.into())),
            },
        },
    };
    let (after, movement) = match before.apply(command.action, amount, command.now) {
        Ok(done) => done,
        Err(limit) => return Ok(Err(limit.into())),
    };
    if movement == Movement::AvailableToMerchant {
        let available = tables.books_of(command.xid)?.available;
        let balance = u64::try_from(tables.balance(available)?).unwrap_or(0);
        if balance < amount {
            return Ok(Err(Limit::Spent));
        }
    }
    Ok(Ok(Change {
        before,
        after,
        movement,
        undone,
    }))
}

fn operations_max(action: Action) -> u64 {
    match action {
        Action::Reversal | Action::Refund | Action::CaptureReversal => {
            OPERATIONS_MAX + GIVING_BACK_MAX
        }
        _ => OPERATIONS_MAX,
    }
}

/// A capture or refund of this payment, as far as it can be undone.
fn booking(
    tables: &mut impl Tables,
    command: &Operate,
    target: Jti,
) -> Result<Option<Booking>, Fault> {
    // A capture may have been booked with its authorization.
    let kinds: &[Action] = match command.action {
        Action::CaptureReversal => &[Action::Capture, Action::Authorization],
        _ => &[Action::Refund],
    };
    let found = tables.booking(&command.merchant, target)?;
    Ok(found
        .filter(|found| found.xid == command.xid && kinds.contains(&found.action))
        .map(|found| found.booking))
}

fn do_it(
    tables: &mut impl Tables,
    command: &Operate,
    found: &PaymentRecord,
    change: &Change,
) -> Result<ReceiptRecord, Fault> {
    tables.update_payment(command.xid, &change.before, &change.after)?;
    if let Some((target, rest)) = &change.undone {
        tables.set_net(&command.merchant, *target, rest.net)?;
    }
    move_money(tables, command, change.movement)?;
    let receipt = ReceiptRecord {
        action: command.action,
        target: command.target,
        receipt_jti: command.receipt_jti,
        iat: command.now,
        reqh: command.reqh,
        amount: command.amount,
        totals: change.after.totals(),
        ..found.decision.clone()
    };
    // Releasing a hold books nothing.
    let (net, batch) = match command.action {
        Action::Reversal => (0, None),
        action => {
            let currency = command.amount.currency();
            let batch = tables.open_batch(&command.merchant, currency, command.now)?;
            let can_be_undone = matches!(action, Action::Capture | Action::Refund);
            let net = if can_be_undone {
                command.amount.value()
            } else {
                0
            };
            (net, Some(batch))
        }
    };
    tables.insert_operation(&NewOperation {
        receipt: &receipt,
        jti: command.jti,
        net,
        batch,
        evidence: &Evidence::of_request(&command.request),
    })?;
    Ok(receipt)
}

fn move_money(
    tables: &mut impl Tables,
    command: &Operate,
    movement: Movement,
) -> Result<(), Fault> {
    let books = tables.books_of(command.xid)?;
    let (available, held) = (books.available, books.held);
    let mut merchant = || {
        let book = Book::Merchant(command.merchant.clone());
        tables.book(&book, command.amount.currency())
    };
    let (debit, credit) = match movement {
        Movement::HeldToMerchant => (held, merchant()?),
        Movement::HeldToAvailable => (held, available),
        Movement::MerchantToHeld => (merchant()?, held),
        Movement::MerchantToAvailable => (merchant()?, available),
        Movement::AvailableToMerchant => (available, merchant()?),
    };
    tables.transfer(Transfer {
        xid: Some(command.xid),
        debit,
        credit,
        amount: command.amount.value(),
        at: command.now,
    })
}
