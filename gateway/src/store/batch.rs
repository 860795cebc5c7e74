//! Batches: the bookings of a merchant in one currency, until it closes them.

use protocol::{
    identifiers::{Digest, Jti},
    lifecycle::{BatchLine, BatchTotals},
    money::Currency,
    names::MerchantName,
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _};

use super::{
    commands::{BatchClosed, CloseBatch, Evidence},
    ledger::{self, Book},
    records::BatchRecord,
    rows::{self, parsed, signed, strange, unsigned},
};

/// The open batch of a merchant in a currency; opens one where there is none.
pub(super) fn open(
    connection: &Connection,
    merchant: &MerchantName,
    currency: Currency,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    let open: Option<i64> = connection
        .prepare_cached(
            "SELECT id FROM batch WHERE merchant = ?1 AND currency = ?2 AND closed_at IS NULL",
        )?
        .query_row((merchant.as_str(), currency.code()), |row| row.get(0))
        .optional()?;
    if let Some(open) = open {
        return Ok(open);
    }
    connection
        .prepare_cached("INSERT INTO batch (merchant, currency, opened_at) VALUES (?1, ?2, ?3)")?
        .execute((merchant.as_str(), currency.code(), signed(now.0)?))?;
    Ok(connection.last_insert_rowid())
}

/// Closes the open batch, once: its totals are those of its bookings, and of the ledger.
pub(super) fn close(
    connection: &Connection,
    command: &CloseBatch,
) -> rusqlite::Result<BatchClosed> {
    let CloseBatch {
        merchant,
        jti,
        currency,
        now,
        ..
    } = command;
    if rows::is_used_by_another(connection, merchant, *jti, command.reqh)? {
        return Ok(BatchClosed::IdempotencyConflict);
    }
    if let Some(known) = closed(connection, merchant, *jti)? {
        return Ok(BatchClosed::Closed(known));
    }
    let batch = open(connection, merchant, *currency, *now)?;
    let totals = totals(connection, batch)?;
    settle(connection, command, &totals)?;
    let json = serde_json::to_string(&totals).map_err(|_| strange("totals"))?;
    connection.execute(
        "UPDATE batch SET closed_at = ?2, totals = ?3, jti = ?4 WHERE id = ?1 AND closed_at IS NULL",
        (batch, signed(now.0)?, json, jti.as_bytes()),
    )?;
    let evidence = rows::insert_evidence(
        connection,
        &Evidence {
            request: command.request.clone(),
            dual_signature: None,
            payment_information: None,
        },
    )?;
    connection.execute(
        "INSERT INTO operation (merchant, jti, action, reqh, amount, authorized, captured, reversed,
             refunded, net, batch, receipt_jti, at, evidence)
         VALUES (?1, ?2, 'batch', ?3, 0, 0, 0, 0, 0, 0, ?4, ?5, ?6, ?7)",
        (
            merchant.as_str(),
            jti.as_bytes(),
            command.reqh.as_bytes(),
            batch,
            command.receipt_jti.as_bytes(),
            signed(now.0)?,
            evidence,
        ),
    )?;
    Ok(BatchClosed::Closed(BatchRecord {
        batch: *jti,
        merchant: merchant.clone(),
        currency: *currency,
        closed_at: *now,
        reqh: command.reqh,
        totals,
    }))
}

/// A closed batch by the `jti` that closed it.
pub(super) fn closed(
    connection: &Connection,
    merchant: &MerchantName,
    jti: Jti,
) -> rusqlite::Result<Option<BatchRecord>> {
    connection
        .prepare_cached(
            "SELECT currency, closed_at, totals, reqh FROM batch
             JOIN operation ON operation.merchant = batch.merchant AND operation.jti = batch.jti
             WHERE batch.merchant = ?1 AND batch.jti = ?2",
        )?
        .query_row((merchant.as_str(), jti.as_bytes()), |row| {
            let totals: String = row.get("totals")?;
            Ok(BatchRecord {
                batch: jti,
                merchant: merchant.clone(),
                currency: parsed(row, "currency")?,
                closed_at: Timestamp(unsigned(row, "closed_at")?),
                reqh: Digest::from_bytes(row.get("reqh")?),
                totals: serde_json::from_str(&totals).map_err(|_| strange("totals"))?,
            })
        })
        .optional()
}

/// Adds up the bookings of a batch.
fn totals(connection: &Connection, batch: i64) -> rusqlite::Result<BatchTotals> {
    let lines: Vec<(String, BatchLine)> = connection
        .prepare_cached(
            "SELECT action, count(*) AS bookings, sum(amount) AS value FROM operation
             WHERE batch = ?1 GROUP BY action",
        )?
        .query_map([batch], |row| {
            let line = BatchLine {
                count: unsigned(row, "bookings")?,
                value: unsigned(row, "value")?,
            };
            Ok((row.get("action")?, line))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let line = |of: &str| {
        lines
            .iter()
            .filter(|(action, _)| action == of)
            .map(|(_, line)| *line)
            .next()
            .unwrap_or_default()
    };
    let (with_authorization, later) = (line("authorization"), line("capture"));
    BatchTotals::of(
        BatchLine {
            count: with_authorization.count + later.count,
            value: with_authorization.value + later.value,
        },
        line("capture-reversal"),
        line("refund"),
        line("refund-reversal"),
    )
    .ok_or_else(|| strange("a batch's sum"))
}

/// Moves what a batch came to from the merchant's open book to its settled one. The open book has exactly
/// that, or nothing is closed.
fn settle(
    connection: &Connection,
    command: &CloseBatch,
    totals: &BatchTotals,
) -> rusqlite::Result<()> {
    let open = ledger::book(
        connection,
        Book::Merchant(&command.merchant),
        command.currency,
    )?;
    let settled = ledger::book(
        connection,
        Book::Settled(&command.merchant),
        command.currency,
    )?;
    if ledger::balance(connection, open)? != signed(totals.payable)? - signed(totals.receivable)? {
        return Err(strange("the ledger's sum of a batch"));
    }
    let (debit, credit, amount) = if totals.receivable > 0 {
        (settled, open, totals.receivable)
    } else {
        (open, settled, totals.payable)
    };
    if amount == 0 {
        return Ok(());
    }
    ledger::transfer(connection, None, debit, credit, amount, command.now)
}
