//! The transaction of an operation on a payment: idempotency, the state machine, the ledger, the receipt,
//! together or not at all.

use protocol::{
    identifiers::{Jti, Xid},
    names::MerchantName,
    receipt::Action,
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{
    batch,
    commands::{Evidence, Limit, Operate, Operated},
    ledger::{self, Book, BookId},
    records::{ExpiredHold, PaymentRecord, ReceiptRecord},
    rows::{self, NewOperation, parsed, signed, strange, unsigned},
};
use crate::payment::{Booking, Movement, Payment};

/// How many operations a payment may have: an inquiry is answered with all their receipts, and has to stay
/// short enough to be signed in time and to be taken.
const OPERATIONS_MAX: u64 = 32;

/// How many more may give money back to the payer: a merchant can't use up the payer's refund.
const GIVING_BACK_MAX: u64 = 32;

/// How many holds one transaction ends.
const EXPIRED_MAX: u32 = 256;

pub(super) fn operate(connection: &Connection, command: &Operate) -> rusqlite::Result<Operated> {
    if rows::is_used_by_another(connection, &command.merchant, command.jti, command.reqh)? {
        return Ok(Operated::IdempotencyConflict);
    }
    if let Some(known) = rows::by_request(connection, &command.merchant, command.jti)? {
        return Ok(Operated::Answered(known));
    }
    let Some(found) = rows::by_xid(connection, command.xid)?
        .filter(|found| found.decision.merchant == command.merchant)
    else {
        return Ok(Operated::UnknownAuthorization);
    };
    if found.decision.amount.currency() != command.amount.currency() {
        return Ok(Operated::OtherCurrency);
    }
    match change(connection, command, &found)? {
        Ok(change) => do_it(connection, command, &found, &change).map(Operated::Done),
        Err(limit) => Ok(Operated::Refused(limit)),
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
    connection: &Connection,
    command: &Operate,
    found: &PaymentRecord,
) -> rusqlite::Result<Result<Change, Limit>> {
    let amount = command.amount.value();
    // A declined payment has nothing that could be booked or released.
    let Some(before) = found.payment else {
        return Ok(Err(crate::payment::LimitExceeded::Hold.into()));
    };
    if operations(connection, command.xid)? >= operations_max(command.action) {
        return Ok(Err(Limit::TooMany));
    }
    let undone = match command.target {
        None => None,
        Some(target) => match booking(connection, command, target)? {
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
        let (available, _) = account_books(connection, command.xid)?;
        if ledger::balance(connection, available)? < signed(amount)? {
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

fn operations(connection: &Connection, xid: Xid) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "SELECT count(*) AS operations FROM operation
             WHERE xid = ?1 AND action NOT IN ('authorization', 'batch')",
        )?
        .query_row([xid.as_bytes()], |row| unsigned(row, "operations"))
}

/// A capture or refund of this payment, as far as it can be undone.
fn booking(
    connection: &Connection,
    command: &Operate,
    target: Jti,
) -> rusqlite::Result<Option<Booking>> {
    // A capture may have been booked with its authorization.
    let kinds = match command.action {
        Action::CaptureReversal => ["capture", "authorization"],
        _ => ["refund", "refund"],
    };
    connection
        .prepare_cached(
            "SELECT net, batch.closed_at IS NULL AS is_open FROM operation
             JOIN batch ON batch.id = operation.batch
             WHERE operation.merchant = ?1 AND operation.jti = ?2 AND xid = ?3
                 AND action IN (?4, ?5)",
        )?
        .query_row(
            (
                command.merchant.as_str(),
                target.as_bytes(),
                command.xid.as_bytes(),
                kinds[0],
                kinds[1],
            ),
            |row| {
                Ok(Booking {
                    net: unsigned(row, "net")?,
                    is_in_open_batch: row.get("is_open")?,
                })
            },
        )
        .optional()
}

fn do_it(
    connection: &Connection,
    command: &Operate,
    found: &PaymentRecord,
    change: &Change,
) -> rusqlite::Result<ReceiptRecord> {
    update(connection, command.xid, &change.before, &change.after)?;
    if let Some((target, rest)) = &change.undone {
        connection
            .prepare_cached("UPDATE operation SET net = ?3 WHERE merchant = ?1 AND jti = ?2")?
            .execute((
                command.merchant.as_str(),
                target.as_bytes(),
                signed(rest.net)?,
            ))?;
    }
    move_money(connection, command, change.movement)?;
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
            let batch = batch::open(
                connection,
                &command.merchant,
                command.amount.currency(),
                command.now,
            )?;
            let can_be_undone = matches!(action, Action::Capture | Action::Refund);
            let net = if can_be_undone {
                command.amount.value()
            } else {
                0
            };
            (net, Some(batch))
        }
    };
    rows::insert_operation(
        connection,
        &NewOperation {
            receipt: &receipt,
            jti: command.jti,
            net,
            batch,
            evidence: &Evidence {
                request: command.request.clone(),
                dual_signature: None,
                payment_information: None,
            },
        },
    )?;
    Ok(receipt)
}

/// Changes a payment's sums, if they are still what the change was computed from.
fn update(
    connection: &Connection,
    xid: Xid,
    before: &Payment,
    after: &Payment,
) -> rusqlite::Result<()> {
    let (was, is) = (before.totals(), after.totals());
    let changed = connection
        .prepare_cached(
            "UPDATE payment SET captured = ?2, reversed = ?3, refunded = ?4, held = ?5
             WHERE xid = ?1 AND captured = ?6 AND reversed = ?7 AND refunded = ?8 AND held = ?9",
        )?
        .execute(rusqlite::params![
            xid.as_bytes(),
            signed(is.captured)?,
            signed(is.reversed)?,
            signed(is.refunded)?,
            signed(after.held())?,
            signed(was.captured)?,
            signed(was.reversed)?,
            signed(was.refunded)?,
            signed(before.held())?,
        ])?;
    if changed == 1 {
        Ok(())
    } else {
        Err(rusqlite::Error::StatementChangedRows(changed))
    }
}

fn move_money(
    connection: &Connection,
    command: &Operate,
    movement: Movement,
) -> rusqlite::Result<()> {
    let (available, held) = account_books(connection, command.xid)?;
    let merchant = || {
        let book = Book::Merchant(&command.merchant);
        ledger::book(connection, book, command.amount.currency())
    };
    let (debit, credit) = match movement {
        Movement::HeldToMerchant => (held, merchant()?),
        Movement::HeldToAvailable => (held, available),
        Movement::MerchantToHeld => (merchant()?, held),
        Movement::MerchantToAvailable => (merchant()?, available),
        Movement::AvailableToMerchant => (available, merchant()?),
    };
    let amount = command.amount.value();
    let xid = Some(command.xid);
    ledger::transfer(connection, xid, debit, credit, amount, command.now)
}

/// What the account of a payment can spend, and what is held of it.
fn account_books(connection: &Connection, xid: Xid) -> rusqlite::Result<(BookId, BookId)> {
    connection
        .prepare_cached(
            "SELECT available, held.id AS held_book FROM payment
             JOIN account ON account.id = payment.account
             JOIN book AS held ON held.id = account.held
             WHERE xid = ?1",
        )?
        .query_row([xid.as_bytes()], |row| {
            Ok((BookId(row.get("available")?), BookId(row.get("held_book")?)))
        })
}

/// Ends holds that are over, the longest over first; a transaction's worth of them.
pub(super) fn expire(
    connection: &Connection,
    now: Timestamp,
) -> rusqlite::Result<Vec<ExpiredHold>> {
    let due: Vec<(Xid, MerchantName, Payment)> = connection
        .prepare_cached(
            "SELECT xid, merchant, authorized, captured, reversed, refunded, held, capture_before
             FROM payment WHERE held > 0 AND capture_before <= ?1
             ORDER BY capture_before LIMIT ?2",
        )?
        .query_map((signed(now.0)?, EXPIRED_MAX), due)?
        .collect::<rusqlite::Result<_>>()?;
    let mut expired = Vec::new();
    for (xid, merchant, payment) in due {
        let Some((ended, released)) = payment.expire(now) else {
            continue;
        };
        update(connection, xid, &payment, &ended)?;
        let (available, held) = account_books(connection, xid)?;
        ledger::transfer(connection, Some(xid), held, available, released, now)?;
        expired.push(ExpiredHold {
            xid,
            merchant,
            released,
        });
    }
    Ok(expired)
}

fn due(row: &Row<'_>) -> rusqlite::Result<(Xid, MerchantName, Payment)> {
    let totals = protocol::receipt::Totals {
        authorized: unsigned(row, "authorized")?,
        captured: unsigned(row, "captured")?,
        reversed: unsigned(row, "reversed")?,
        refunded: unsigned(row, "refunded")?,
    };
    let held = unsigned(row, "held")?;
    let end = Timestamp(unsigned(row, "capture_before")?);
    let payment = Payment::stored(totals, held, end).ok_or_else(|| strange("held"))?;
    Ok((
        Xid::from_bytes(row.get("xid")?),
        parsed(row, "merchant")?,
        payment,
    ))
}
