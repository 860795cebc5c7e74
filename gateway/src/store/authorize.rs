//! The transaction that decides: idempotency, uniqueness, the card issuer's decision, the hold and the
//! evidence, together or not at all.

use protocol::{
    authorization::Capture,
    identifiers::Digest,
    receipt::{Code, Decision, Totals},
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{
    Authorize, Authorized, DecisionRecord,
    ledger::{self, Book, BookId},
    rows::{self, parsed, signed, strange, unsigned},
};
use crate::card_issuer::{self, Asked, InstrumentOnFile, Status, Velocity};

pub(super) fn authorize(
    connection: &Connection,
    command: &Authorize,
) -> rusqlite::Result<Authorized> {
    if let Some(known) = rows::by_request(connection, &command.merchant, command.jti)? {
        return Ok(if known.reqh == command.reqh {
            Authorized::Answered(known)
        } else {
            Authorized::IdempotencyConflict
        });
    }
    if rows::by_xid(connection, command.xid)?.is_some() {
        return Ok(Authorized::Replayed);
    }
    let found = find_instrument(connection, &command.instrument_index)?;
    let code = card_issuer::decide(
        found.as_ref().map(|found| &found.on_file),
        &Asked {
            client: &command.client,
            client_key: command.client_key,
            expiry: command.instrument_expiry,
            amount: command.amount,
            now: command.now,
        },
    );
    let decision = record(command, code);
    // Whose account it was is known only to who may know whose it is.
    let account = found.filter(|_| code != Code::NotPermitted);
    insert(connection, command, &decision, account.as_ref())?;
    if let Some(account) = account.filter(|_| code == Code::Approved) {
        hold(connection, command, &account)?;
    }
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
fn record(command: &Authorize, code: Code) -> DecisionRecord {
    let is_approved = code.decision() == Decision::Approved;
    let authorized = if is_approved {
        command.amount.value()
    } else {
        0
    };
    DecisionRecord {
        receipt_jti: command.receipt_jti,
        iat: command.now,
        merchant: command.merchant.clone(),
        client: command.client.clone(),
        client_x5t: command.client_x5t,
        xid: command.xid,
        sid: command.sid,
        nc: command.nc,
        nm: command.nm,
        dsh: command.dsh,
        reqh: command.reqh,
        code,
        amount: command.amount,
        totals: Totals {
            authorized,
            captured: match command.capture {
                Capture::Now => authorized,
                Capture::Later => 0,
            },
            reversed: 0,
            refunded: 0,
        },
        authorization: is_approved.then_some(command.authorization),
        capture_before: is_approved.then_some(command.capture_before),
        last_four: Some(command.instrument_last_four.clone()),
    }
}

fn insert(
    connection: &Connection,
    command: &Authorize,
    decision: &DecisionRecord,
    account: Option<&FoundInstrument>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO payment (xid, merchant, jti, reqh, sid, client, client_x5t, nc, nm, dsh, code,
                 currency, amount, authorized, captured, reversed, refunded, receipt_jti, decided_at,
                 authorization_id, capture_before, account, last_four)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 0, 0, ?16, ?17,
                 ?18, ?19, ?20, ?21)",
        )?
        .execute(rusqlite::params![
            decision.xid.as_bytes(),
            decision.merchant.as_str(),
            command.jti.as_bytes(),
            decision.reqh.as_bytes(),
            decision.sid.as_bytes(),
            decision.client.as_str(),
            decision.client_x5t.as_bytes(),
            decision.nc.as_bytes(),
            decision.nm.as_bytes(),
            decision.dsh.as_bytes(),
            decision.code.digits(),
            decision.amount.currency().code(),
            signed(decision.amount.value())?,
            signed(decision.totals.authorized)?,
            signed(decision.totals.captured)?,
            decision.receipt_jti.as_bytes(),
            signed(decision.iat.0)?,
            decision.authorization.as_ref().map(|id| id.as_bytes()),
            decision
                .capture_before
                .map(|time| signed(time.0))
                .transpose()?,
            account.map(|account| account.account),
            decision.last_four,
        ])?;
    connection
        .prepare_cached(
            "INSERT INTO evidence (xid, authorization_request, dual_signature, payment_information)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            command.xid.as_bytes(),
            &command.evidence.authorization_request,
            &command.evidence.dual_signature,
            &command.evidence.payment_information,
        ))?;
    Ok(())
}

/// Holds the amount, books it when it is to be captured with the authorization, and counts the approval.
fn hold(
    connection: &Connection,
    command: &Authorize,
    account: &FoundInstrument,
) -> rusqlite::Result<()> {
    let (xid, amount, now) = (Some(command.xid), command.amount.value(), command.now);
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
