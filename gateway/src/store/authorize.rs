//! The transaction that decides: idempotency, uniqueness, the card issuer's decision, the hold and the
//! evidence, together or not at all.

use protocol::{
    authorization::Capture,
    identifiers::Digest,
    receipt::{Action, Code, Decision, Totals},
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{
    batch,
    commands::{Authorize, Authorized},
    ledger::{self, Book, BookId},
    records::ReceiptRecord,
    rows::{self, NewOperation, parsed, signed, strange, unsigned},
};
use crate::{
    card_issuer::{self, Asked, InstrumentOnFile, Status, Velocity},
    payment::Payment,
};

pub(super) fn authorize(
    connection: &Connection,
    command: &Authorize,
) -> rusqlite::Result<Authorized> {
    if rows::is_used_by_another(connection, &command.merchant, command.jti, command.reqh)? {
        return Ok(Authorized::IdempotencyConflict);
    }
    if let Some(known) = rows::by_request(connection, &command.merchant, command.jti)? {
        return Ok(Authorized::Answered(known));
    }
    let signed = &command.signed;
    if rows::is_decided(connection, signed.xid)? {
        return Ok(Authorized::Replayed);
    }
    if rows::cancellation(connection, &signed.client, signed.xid)?.is_some() {
        return decline(connection, command, Code::CustomerCancellation);
    }
    let found = find_instrument(connection, &command.instrument_index)?;
    let code = card_issuer::decide(
        found.as_ref().map(|found| &found.on_file),
        &Asked {
            client: &signed.client,
            client_key: command.client_key,
            expiry: command.instrument_expiry,
            amount: command.amount,
            now: command.now,
        },
    );
    match found {
        // Whose account it was is known only to who may know whose it is.
        Some(account) if code != Code::NotPermitted => {
            let decision = record(command, code);
            insert(connection, command, &decision, Some(&account))?;
            if code == Code::Approved {
                hold(connection, command, &account)?;
            }
            Ok(Authorized::Decided(decision))
        }
        _ => decline(connection, command, code),
    }
}

/// Declines without an account being touched, or told.
fn decline(
    connection: &Connection,
    command: &Authorize,
    code: Code,
) -> rusqlite::Result<Authorized> {
    let decision = record(command, code);
    insert(connection, command, &decision, None)?;
    Ok(Authorized::Decided(decision))
}

/// An instrument's account, with its books.
struct FoundInstrument {
    account: i64,
    available: BookId,
    held: BookId,
    on_file: InstrumentOnFile,
}

fn find_instrument(
    connection: &Connection,
    index: &[u8; 32],
) -> rusqlite::Result<Option<FoundInstrument>> {
    connection
        .prepare_cached(
            "SELECT account.id AS account, client, client_key, expiry, instrument.status AS status,
                    account.status AS account_status, account.currency AS currency,
                    book.balance AS balance, amount_limit, velocity_count, velocity_seconds,
                    window_start, window_count, available, held
             FROM instrument
             JOIN account ON account.id = instrument.account
             JOIN book ON book.id = account.available
             WHERE look_up = ?1",
        )?
        .query_row([index], found_instrument)
        .optional()
}

fn found_instrument(row: &Row<'_>) -> rusqlite::Result<FoundInstrument> {
    let status = |column: &str| {
        Status::from_word(&row.get::<_, String>(column)?).ok_or_else(|| strange(column))
    };
    let velocity = match (
        row.get("velocity_count")?,
        row.get::<_, Option<i64>>("velocity_seconds")?,
    ) {
        (Some(count), Some(seconds)) => Some(Velocity {
            count,
            seconds: seconds.unsigned_abs(),
        }),
        _ => None,
    };
    let expiry = row
        .get::<_, Option<String>>("expiry")?
        .map(|text| protocol::payment_information::Expiry::new(&text))
        .transpose()
        .map_err(|_| strange("expiry"))?;
    Ok(FoundInstrument {
        account: row.get("account")?,
        available: BookId(row.get("available")?),
        held: BookId(row.get("held")?),
        on_file: InstrumentOnFile {
            client: parsed(row, "client")?,
            client_key: Digest::from_bytes(row.get("client_key")?),
            expiry,
            status: status("status")?,
            account_status: status("account_status")?,
            currency: parsed(row, "currency")?,
            available: unsigned(row, "balance")?,
            amount_limit: row
                .get::<_, Option<i64>>("amount_limit")?
                .map(i64::unsigned_abs),
            velocity,
            window_count: row.get("window_count")?,
            window_start: Timestamp(unsigned(row, "window_start")?),
        },
    })
}

/// What the receipt will say.
fn record(command: &Authorize, code: Code) -> ReceiptRecord {
    let is_approved = code.decision() == Decision::Approved;
    ReceiptRecord {
        action: Action::Authorization,
        target: None,
        receipt_jti: command.receipt_jti,
        iat: command.now,
        merchant: command.merchant.clone(),
        signed: command.signed.clone(),
        reqh: command.reqh,
        code,
        amount: command.amount,
        totals: if is_approved {
            approved(command).totals()
        } else {
            Totals::default()
        },
        authorization: is_approved.then_some(command.authorization),
        capture_before: is_approved.then_some(command.capture_before),
    }
}

/// The payment that an approval makes.
fn approved(command: &Authorize) -> Payment {
    Payment::approved(
        command.amount.value(),
        command.capture,
        command.capture_before,
    )
}

fn insert(
    connection: &Connection,
    command: &Authorize,
    decision: &ReceiptRecord,
    account: Option<&FoundInstrument>,
) -> rusqlite::Result<()> {
    let payer = &decision.signed;
    let held = match decision.code {
        Code::Approved => approved(command).held(),
        _ => 0,
    };
    connection
        .prepare_cached(
            "INSERT INTO payment (xid, merchant, jti, sid, client, client_x5t, nc, nm, dsh, code,
                 currency, amount, authorized, captured, reversed, refunded, held,
                 authorization_id, capture_before, account, last_four)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0, 0, ?15, ?16,
                 ?17, ?18, ?19)",
        )?
        .execute(rusqlite::params![
            payer.xid.as_bytes(),
            decision.merchant.as_str(),
            command.jti.as_bytes(),
            payer.sid.as_bytes(),
            payer.client.as_str(),
            payer.client_x5t.as_bytes(),
            payer.nc.as_bytes(),
            payer.nm.as_bytes(),
            payer.dsh.as_bytes(),
            decision.code.digits(),
            decision.amount.currency().code(),
            signed(decision.amount.value())?,
            signed(decision.totals.authorized)?,
            signed(decision.totals.captured)?,
            signed(held)?,
            decision.authorization.as_ref().map(|id| id.as_bytes()),
            decision
                .capture_before
                .map(|time| signed(time.0))
                .transpose()?,
            account.map(|account| account.account),
            command.instrument_last_four,
        ])?;
    let captured = decision.totals.captured;
    let batch = (captured > 0)
        .then(|| {
            let currency = command.amount.currency();
            batch::open(connection, &command.merchant, currency, command.now)
        })
        .transpose()?;
    rows::insert_operation(
        connection,
        &NewOperation {
            receipt: decision,
            jti: command.jti,
            net: captured,
            batch,
            evidence: &command.evidence,
        },
    )
}

/// Holds the amount, books it when it is to be captured with the authorization, and counts the approval.
fn hold(
    connection: &Connection,
    command: &Authorize,
    account: &FoundInstrument,
) -> rusqlite::Result<()> {
    let (xid, amount, now) = (
        Some(command.signed.xid),
        command.amount.value(),
        command.now,
    );
    ledger::transfer(
        connection,
        xid,
        account.available,
        account.held,
        amount,
        now,
    )?;
    if command.capture == Capture::Now {
        let merchant = ledger::book(
            connection,
            Book::Merchant(&command.merchant),
            command.amount.currency(),
        )?;
        ledger::transfer(connection, xid, account.held, merchant, amount, now)?;
    }
    if account.on_file.velocity.is_some() {
        let start = card_issuer::window_start(&account.on_file, now);
        let count = if start == account.on_file.window_start {
            account.on_file.window_count + 1
        } else {
            1
        };
        connection
            .prepare_cached(
                "UPDATE account SET window_start = ?2, window_count = ?3 WHERE id = ?1",
            )?
            .execute((account.account, signed(start.0)?, count))?;
    }
    Ok(())
}
