//! The double-entry ledger: books, and transfers between two of them.

use protocol::{identifiers::Xid, money::Currency, names::MerchantName, time::Timestamp};
use rusqlite::Connection;

use super::rows::signed;

/// A book's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BookId(pub(super) i64);

/// What a book is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Book<'a> {
    /// Where the card issuer's money comes from.
    Issuer,
    /// What an account can spend.
    Available(&'a str),
    /// What is held of an account for authorizations.
    Held(&'a str),
    /// What a merchant is to be paid for its open batch.
    Merchant(&'a MerchantName),
    /// What a merchant is to be paid for closed batches.
    Settled(&'a MerchantName),
}

impl Book<'_> {
    fn kind_and_owner(&self) -> (&'static str, &str) {
        match self {
            Book::Issuer => ("issuer", "issuer"),
            Book::Available(account) => ("available", account),
            Book::Held(account) => ("held", account),
            Book::Merchant(merchant) => ("merchant", merchant.as_str()),
            Book::Settled(merchant) => ("settled", merchant.as_str()),
        }
    }
}

/// Finds a book, or opens it.
pub(super) fn book(
    connection: &Connection,
    book: Book<'_>,
    currency: Currency,
) -> rusqlite::Result<BookId> {
    let (kind, owner) = book.kind_and_owner();
    connection
        .prepare_cached(
            "INSERT INTO book (kind, owner, currency, balance) VALUES (?1, ?2, ?3, 0)
             ON CONFLICT DO UPDATE SET balance = balance RETURNING id",
        )?
        .query_row((kind, owner, currency.code()), |row| row.get(0))
        .map(BookId)
}

/// What a book has, in minor units.
pub(super) fn balance(connection: &Connection, book: BookId) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT balance FROM book WHERE id = ?1")?
        .query_row([book.0], |row| row.get(0))
}

/// Moves money. The database refuses to let a payer's book go below zero.
pub(super) fn transfer(
    connection: &Connection,
    xid: Option<Xid>,
    debit: BookId,
    credit: BookId,
    amount: u64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let amount = signed(amount)?;
    for (book, change) in [(debit, -amount), (credit, amount)] {
        let changed = connection
            .prepare_cached("UPDATE book SET balance = balance + ?2 WHERE id = ?1")?
            .execute((book.0, change))?;
        if changed != 1 {
            return Err(rusqlite::Error::StatementChangedRows(changed));
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO transfer (xid, debit, credit, amount, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            xid.as_ref().map(Xid::as_bytes),
            debit.0,
            credit.0,
            amount,
            signed(now.0)?,
        ))?;
    Ok(())
}
