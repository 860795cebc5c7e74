//! Columns of rows, to what they mean: written once, for the rows of every store.

use protocol::{
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, MerchantNonce, Sid, Xid},
    lifecycle::BatchLine,
    money::Amount,
    payment_information::Expiry,
    receipt::{Action, Code, Totals},
    time::Timestamp,
};

use super::{
    commands::SignedByPayer,
    records::{AccountRecord, BatchRecord, InstrumentRecord, PaymentRecord, ReceiptRecord},
    tables::{
        AccountBooks, AccountId, BookId, DueHold, EarlierRequest, Fault, FoundBooking,
        FoundInstrument,
    },
};
use crate::{
    card_issuer::{InstrumentOnFile, Status, Velocity},
    payment::{Booking, Payment},
};

/// A row of a database, by the names of its columns.
pub(super) trait Columns {
    fn integer(&self, column: &str) -> Result<Option<i64>, Fault>;
    fn text(&self, column: &str) -> Result<Option<String>, Fault>;
    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Fault>;
}

/// A receipt is an operation on a payment; the request that closed a batch has none.
pub(super) const RECEIPT: &str = "SELECT action, target, operation.receipt_jti AS receipt_jti, at, \
     operation.merchant AS merchant, operation.jti AS jti, reqh, operation.amount AS amount, \
     operation.authorized AS authorized, operation.captured AS captured, \
     operation.reversed AS reversed, operation.refunded AS refunded, \
     payment.xid AS xid, client, client_x5t, sid, nc, nm, dsh, code, currency, authorization_id, \
     capture_before, payment.captured AS captured_now, payment.reversed AS reversed_now, \
     payment.refunded AS refunded_now, held, last_four \
     FROM operation LEFT JOIN payment ON payment.xid = operation.xid";

/// What is kept of a cancellation.
pub(super) const CANCELLATION: &str = "SELECT cancellation.client AS client, \
     cancellation.xid AS xid, merchant, client_x5t, sid, nc, nm, dsh, reqh, currency, amount, \
     receipt_jti, at FROM cancellation";

/// An instrument with its account and what that can spend.
pub(super) const INSTRUMENT: &str = "SELECT look_up, account.id AS account, client, client_key, \
     expiry, instrument.status AS status, account.status AS account_status, \
     account.currency AS currency, book.balance AS balance, amount_limit, velocity_count, \
     velocity_seconds, window_start, window_count, available, held \
     FROM instrument JOIN account ON account.id = instrument.account \
     JOIN book ON book.id = account.available";

/// What a merchant's request booked.
pub(super) const BOOKING: &str = "SELECT operation.merchant AS merchant, operation.jti AS jti, xid, \
     action, net, batch.id AS batch, closed_at FROM operation JOIN batch ON batch.id = operation.batch";

/// A closed batch.
pub(super) const CLOSED_BATCH: &str = "SELECT batch.merchant AS merchant, batch.jti AS jti, currency, \
     closed_at, totals, reqh FROM batch \
     JOIN operation ON operation.merchant = batch.merchant AND operation.jti = batch.jti";

/// A payment that holds something.
pub(super) const HOLD: &str = "SELECT xid, merchant, currency, authorized, captured, reversed, refunded, \
     held, capture_before FROM payment";

/// Reads a [`RECEIPT`] row.
pub(super) fn request(row: &impl Columns) -> Result<EarlierRequest, Fault> {
    let is_of_payment = row.bytes("xid")?.is_some();
    Ok(EarlierRequest {
        reqh: digest(row, "reqh")?,
        receipt: is_of_payment.then(|| receipt(row)).transpose()?,
    })
}

/// Reads the [`RECEIPT`] row of a decision.
pub(super) fn payment(row: &impl Columns) -> Result<PaymentRecord, Fault> {
    let decision = receipt(row)?;
    let totals = Totals {
        authorized: decision.totals.authorized,
        captured: unsigned(row, "captured_now")?,
        reversed: unsigned(row, "reversed_now")?,
        refunded: unsigned(row, "refunded_now")?,
    };
    let held = unsigned(row, "held")?;
    let payment = decision
        .capture_before
        .map(|end| Payment::stored(totals, held, end).ok_or_else(|| Fault::strange("held")))
        .transpose()?;
    Ok(PaymentRecord {
        decision,
        payment,
        last_four: row.text("last_four")?,
    })
}

/// Reads a [`RECEIPT`] row that is of a payment.
pub(super) fn receipt(row: &impl Columns) -> Result<ReceiptRecord, Fault> {
    let code = text(row, "code")?;
    Ok(ReceiptRecord {
        action: action(row)?,
        target: optional_id(row, "target")?.map(Jti::from_bytes),
        receipt_jti: Jti::from_bytes(id(row, "receipt_jti")?),
        iat: time(row, "at")?,
        merchant: parsed(row, "merchant")?,
        signed: signed_by_payer(row)?,
        reqh: digest(row, "reqh")?,
        code: Code::from_digits(&code).ok_or_else(|| Fault::strange("code"))?,
        amount: amount(row)?,
        totals: totals(row)?,
        authorization: optional_id(row, "authorization_id")?.map(AuthorizationId::from_bytes),
        capture_before: optional(row, "capture_before")?.map(Timestamp),
    })
}

/// Reads a [`CANCELLATION`] row.
pub(super) fn cancellation(row: &impl Columns) -> Result<ReceiptRecord, Fault> {
    Ok(ReceiptRecord {
        action: Action::Cancellation,
        target: None,
        receipt_jti: Jti::from_bytes(id(row, "receipt_jti")?),
        iat: time(row, "at")?,
        merchant: parsed(row, "merchant")?,
        signed: signed_by_payer(row)?,
        reqh: digest(row, "reqh")?,
        code: Code::Approved,
        amount: amount(row)?,
        totals: Totals::default(),
        authorization: None,
        capture_before: None,
    })
}

/// Reads an [`INSTRUMENT`] row.
pub(super) fn instrument(row: &impl Columns) -> Result<FoundInstrument, Fault> {
    let status =
        |column: &str| Status::from_word(&text(row, column)?).ok_or_else(|| Fault::strange(column));
    let velocity = match (
        optional(row, "velocity_count")?,
        optional(row, "velocity_seconds")?,
    ) {
        (Some(count), Some(seconds)) => Some(Velocity {
            count: small(count, "velocity_count")?,
            seconds,
        }),
        _ => None,
    };
    let expiry = row
        .text("expiry")?
        .map(|text| Expiry::new(&text))
        .transpose()
        .map_err(|_| Fault::strange("expiry"))?;
    Ok(FoundInstrument {
        account: AccountId(integer(row, "account")?),
        books: account_books(row)?,
        on_file: InstrumentOnFile {
            client: parsed(row, "client")?,
            client_key: digest(row, "client_key")?,
            expiry,
            status: status("status")?,
            account_status: status("account_status")?,
            currency: parsed(row, "currency")?,
            available: unsigned(row, "balance")?,
            amount_limit: optional(row, "amount_limit")?,
            velocity,
            window_count: small(unsigned(row, "window_count")?, "window_count")?,
            window_start: time(row, "window_start")?,
        },
    })
}

/// Reads the two books of an account.
pub(super) fn account_books(row: &impl Columns) -> Result<AccountBooks, Fault> {
    Ok(AccountBooks {
        available: BookId(integer(row, "available")?),
        held: BookId(integer(row, "held")?),
    })
}

/// Reads a [`BOOKING`] row.
pub(super) fn booking(row: &impl Columns) -> Result<FoundBooking, Fault> {
    Ok(FoundBooking {
        xid: Xid::from_bytes(id(row, "xid")?),
        action: action(row)?,
        booking: Booking {
            net: unsigned(row, "net")?,
            is_in_open_batch: row.integer("closed_at")?.is_none(),
        },
    })
}

/// Reads a [`CLOSED_BATCH`] row.
pub(super) fn closed_batch(row: &impl Columns) -> Result<BatchRecord, Fault> {
    Ok(BatchRecord {
        batch: Jti::from_bytes(id(row, "jti")?),
        merchant: parsed(row, "merchant")?,
        currency: parsed(row, "currency")?,
        closed_at: time(row, "closed_at")?,
        reqh: digest(row, "reqh")?,
        totals: serde_json::from_str(&text(row, "totals")?)
            .map_err(|_| Fault::strange("totals"))?,
    })
}

/// Reads a [`HOLD`] row.
pub(super) fn hold(row: &impl Columns) -> Result<DueHold, Fault> {
    let end = time(row, "capture_before")?;
    let payment = Payment::stored(totals(row)?, unsigned(row, "held")?, end)
        .ok_or_else(|| Fault::strange("held"))?;
    Ok(DueHold {
        xid: Xid::from_bytes(id(row, "xid")?),
        merchant: parsed(row, "merchant")?,
        currency: parsed(row, "currency")?,
        payment,
    })
}

/// Reads how many bookings of a kind a batch has, and their sum.
pub(super) fn line(row: &impl Columns) -> Result<(Action, BatchLine), Fault> {
    let line = BatchLine {
        count: unsigned(row, "bookings")?,
        value: unsigned(row, "value")?,
    };
    Ok((action(row)?, line))
}

/// Reads an account as it is listed, without its instruments.
pub(super) fn listed_account(row: &impl Columns) -> Result<AccountRecord, Fault> {
    Ok(AccountRecord {
        instruments: Vec::new(),
        client: text(row, "client")?,
        label: text(row, "label")?,
        currency: text(row, "currency")?,
        available: unsigned(row, "available")?,
        held: unsigned(row, "held")?,
        status: text(row, "status")?,
    })
}

/// Reads an instrument as it is listed.
pub(super) fn listed_instrument(row: &impl Columns) -> Result<InstrumentRecord, Fault> {
    Ok(InstrumentRecord {
        kind: text(row, "kind")?,
        last_four: text(row, "last_four")?,
        expiry: row.text("expiry")?,
        status: text(row, "status")?,
    })
}

fn signed_by_payer(row: &impl Columns) -> Result<SignedByPayer, Fault> {
    Ok(SignedByPayer {
        xid: Xid::from_bytes(id(row, "xid")?),
        client: parsed(row, "client")?,
        client_x5t: digest(row, "client_x5t")?,
        sid: Sid::from_bytes(array(row, "sid")?),
        nc: ClientNonce::from_bytes(array(row, "nc")?),
        nm: MerchantNonce::from_bytes(array(row, "nm")?),
        dsh: digest(row, "dsh")?,
    })
}

fn totals(row: &impl Columns) -> Result<Totals, Fault> {
    Ok(Totals {
        authorized: unsigned(row, "authorized")?,
        captured: unsigned(row, "captured")?,
        reversed: unsigned(row, "reversed")?,
        refunded: unsigned(row, "refunded")?,
    })
}

fn amount(row: &impl Columns) -> Result<Amount, Fault> {
    Amount::new(unsigned(row, "amount")?, parsed(row, "currency")?)
        .map_err(|_| Fault::strange("amount"))
}

fn action(row: &impl Columns) -> Result<Action, Fault> {
    Action::from_word(&text(row, "action")?).ok_or_else(|| Fault::strange("action"))
}

/// A number that is there.
pub(super) fn integer(row: &impl Columns, column: &str) -> Result<i64, Fault> {
    row.integer(column)?.ok_or_else(|| Fault::strange(column))
}

/// Amounts and times, which the schema keeps from being negative.
pub(super) fn unsigned(row: &impl Columns, column: &str) -> Result<u64, Fault> {
    u64::try_from(integer(row, column)?).map_err(|_| Fault::strange(column))
}

/// A number that may be absent.
pub(super) fn optional(row: &impl Columns, column: &str) -> Result<Option<u64>, Fault> {
    row.integer(column)?
        .map(|number| u64::try_from(number).map_err(|_| Fault::strange(column)))
        .transpose()
}

/// A count, which is never large.
pub(super) fn small(number: u64, column: &str) -> Result<u32, Fault> {
    u32::try_from(number).map_err(|_| Fault::strange(column))
}

/// A moment that is there.
pub(super) fn time(row: &impl Columns, column: &str) -> Result<Timestamp, Fault> {
    unsigned(row, column).map(Timestamp)
}

/// A text that is there.
pub(super) fn text(row: &impl Columns, column: &str) -> Result<String, Fault> {
    row.text(column)?.ok_or_else(|| Fault::strange(column))
}

/// A text that is there, and means something.
pub(super) fn parsed<T: std::str::FromStr>(row: &impl Columns, column: &str) -> Result<T, Fault> {
    text(row, column)?
        .parse()
        .map_err(|_| Fault::strange(column))
}

/// Bytes that are there, of a fixed length.
pub(super) fn array<const N: usize>(row: &impl Columns, column: &str) -> Result<[u8; N], Fault> {
    row.bytes(column)?
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Fault::strange(column))
}

/// An identifier of 16 bytes.
pub(super) fn id(row: &impl Columns, column: &str) -> Result<[u8; 16], Fault> {
    array(row, column)
}

fn optional_id(row: &impl Columns, column: &str) -> Result<Option<[u8; 16]>, Fault> {
    row.bytes(column)?
        .map(|bytes| bytes.try_into().map_err(|_| Fault::strange(column)))
        .transpose()
}

fn digest(row: &impl Columns, column: &str) -> Result<Digest, Fault> {
    array(row, column).map(Digest::from_bytes)
}

/// Databases have signed integers; every amount and time of ours is far below 2^63.
pub(super) fn signed(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Fault::strange("number"))
}
