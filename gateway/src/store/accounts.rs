//! Accounts of the embedded card issuer: adding and listing.

use protocol::{names::ClientName, time::Timestamp};
use rusqlite::{Connection, Row};

use super::{
    commands::NewAccount,
    ledger::{self, Book},
    records::{AccountRecord, InstrumentRecord},
    rows::{signed, unsigned},
};

/// Adds an account with its funds and instruments; one that is there stays as it is.
pub(super) fn add(
    connection: &Connection,
    account: &NewAccount,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let there: i64 = connection.query_row(
        "SELECT count(*) FROM account WHERE client = ?1 AND label = ?2",
        (account.client.as_str(), &account.label),
        |row| row.get(0),
    )?;
    if there > 0 {
        return Ok(false);
    }
    let owner = format!("{}/{}", account.client, account.label);
    let available = ledger::book(connection, Book::Available(&owner), account.currency)?;
    let held = ledger::book(connection, Book::Held(&owner), account.currency)?;
    if account.funds > 0 {
        let issuer = ledger::book(connection, Book::Issuer, account.currency)?;
        ledger::transfer(connection, None, issuer, available, account.funds, now)?;
    }
    connection.execute(
        "INSERT INTO account (label, client, client_key, currency, status, amount_limit,
             velocity_count, velocity_seconds, available, held)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        rusqlite::params![
            account.label,
            account.client.as_str(),
            account.client_key.as_bytes(),
            account.currency.code(),
            account.status.as_str(),
            account.amount_limit.map(signed).transpose()?,
            account.velocity.map(|velocity| velocity.count),
            account
                .velocity
                .map(|velocity| signed(velocity.seconds))
                .transpose()?,
            available.0,
            held.0,
        ],
    )?;
    let id = connection.last_insert_rowid();
    for instrument in &account.instruments {
        connection.execute(
            "INSERT INTO instrument (look_up, account, kind, last_four, expiry, status)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            rusqlite::params![
                instrument.index,
                id,
                instrument.kind,
                instrument.last_four,
                instrument.expiry.map(|expiry| expiry.to_string()),
                instrument.status.as_str(),
            ],
        )?;
    }
    Ok(true)
}

/// All accounts, or those of one client, in the order of their names.
pub(super) fn list(
    connection: &Connection,
    client: Option<&ClientName>,
) -> rusqlite::Result<Vec<AccountRecord>> {
    let mut accounts = connection.prepare_cached(
        "SELECT account.id AS id, client, label, account.currency AS currency, status,
                available.balance AS available, held.balance AS held
         FROM account
         JOIN book AS available ON available.id = account.available
         JOIN book AS held ON held.id = account.held
         WHERE ?1 IS NULL OR client = ?1
         ORDER BY client, label",
    )?;
    accounts
        .query_map([client.map(ClientName::as_str)], |row| {
            Ok(AccountRecord {
                instruments: instruments(connection, row.get("id")?)?,
                client: row.get("client")?,
                label: row.get("label")?,
                currency: row.get("currency")?,
                available: unsigned(row, "available")?,
                held: unsigned(row, "held")?,
                status: row.get("status")?,
            })
        })?
        .collect()
}

fn instruments(connection: &Connection, account: i64) -> rusqlite::Result<Vec<InstrumentRecord>> {
    let instrument = |row: &Row<'_>| {
        Ok(InstrumentRecord {
            kind: row.get("kind")?,
            last_four: row.get("last_four")?,
            expiry: row.get("expiry")?,
            status: row.get("status")?,
        })
    };
    connection
        .prepare_cached(
            "SELECT kind, last_four, expiry, status FROM instrument WHERE account = ?1
             ORDER BY kind, last_four",
        )?
        .query_map([account], instrument)?
        .collect()
}
