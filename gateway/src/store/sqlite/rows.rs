//! Rows of the file, found.

use protocol::{
    identifiers::{Jti, Xid},
    names::{ClientName, MerchantName},
};
use rusqlite::{Connection, Params, Row};

use crate::store::{
    columns::{self, CANCELLATION, CLOSED_BATCH, Columns, RECEIPT},
    records::{AccountRecord, BatchRecord, PaymentRecord, ReceiptRecord},
    tables::{EarlierRequest, Fault},
};

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

impl Columns for Row<'_> {
    fn integer(&self, column: &str) -> Result<Option<i64>, Fault> {
        Ok(self.get(column)?)
    }

    fn text(&self, column: &str) -> Result<Option<String>, Fault> {
        Ok(self.get(column)?)
    }

    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.get(column)?)
    }
}

/// The first row that a query finds.
pub(super) fn one<T>(
    connection: &Connection,
    query: &str,
    parameters: impl Params,
    meaning: impl FnOnce(&Row<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(parameters)?;
    rows.next()?.map(meaning).transpose()
}

/// All rows that a query finds.
pub(super) fn all<T>(
    connection: &Connection,
    query: &str,
    parameters: impl Params,
    meaning: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(meaning(row)?);
    }
    Ok(found)
}

/// The decision on a transaction, with what it has come to.
pub(super) fn by_xid(connection: &Connection, xid: Xid) -> Result<Option<PaymentRecord>, Fault> {
    one(
        connection,
        &format!(
            "{RECEIPT} WHERE payment.xid = ?1 AND operation.merchant = payment.merchant
                 AND operation.jti = payment.jti"
        ),
        [xid.as_bytes()],
        |row| columns::payment(row),
    )
}

/// Whether a transaction was decided.
pub(super) fn is_decided(connection: &Connection, xid: Xid) -> Result<bool, Fault> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM payment WHERE xid = ?1")?
        .exists([xid.as_bytes()])?)
}

/// Every decided payment, newest first.
pub(super) fn payments(connection: &Connection) -> Result<Vec<PaymentRecord>, Fault> {
    all(
        connection,
        &format!("{RECEIPT} WHERE operation.action = 'authorization' ORDER BY at DESC"),
        [],
        |row| columns::payment(row),
    )
}

/// A merchant's request by its `jti`.
pub(super) fn request(
    connection: &Connection,
    merchant: &MerchantName,
    jti: Jti,
) -> Result<Option<EarlierRequest>, Fault> {
    one(
        connection,
        &format!("{RECEIPT} WHERE operation.merchant = ?1 AND operation.jti = ?2"),
        (merchant.as_str(), jti.as_bytes()),
        |row| columns::request(row),
    )
}

/// The receipts of what was done after the decision, oldest first.
pub(super) fn after_decision(
    connection: &Connection,
    xid: Xid,
) -> Result<Vec<ReceiptRecord>, Fault> {
    all(
        connection,
        &format!(
            "{RECEIPT} WHERE operation.xid = ?1 AND action NOT IN ('authorization', 'batch')
             ORDER BY operation.evidence"
        ),
        [xid.as_bytes()],
        |row| columns::receipt(row),
    )
}

/// The payer's cancellation of a transaction.
pub(super) fn cancellation(
    connection: &Connection,
    client: &ClientName,
    xid: Xid,
) -> Result<Option<ReceiptRecord>, Fault> {
    one(
        connection,
        &format!("{CANCELLATION} WHERE client = ?1 AND xid = ?2"),
        (client.as_str(), xid.as_bytes()),
        |row| columns::cancellation(row),
    )
}

/// A closed batch by the `jti` that closed it.
pub(super) fn closed_batch(
    connection: &Connection,
    merchant: &MerchantName,
    jti: Jti,
) -> Result<Option<BatchRecord>, Fault> {
    one(
        connection,
        &format!("{CLOSED_BATCH} WHERE batch.merchant = ?1 AND batch.jti = ?2"),
        (merchant.as_str(), jti.as_bytes()),
        |row| columns::closed_batch(row),
    )
}

/// All accounts, or those of one client, in the order of their names.
pub(super) fn accounts(
    connection: &Connection,
    client: Option<&ClientName>,
) -> Result<Vec<AccountRecord>, Fault> {
    all(
        connection,
        "SELECT account.id AS id, client, label, account.currency AS currency, status,
                available.balance AS available, held.balance AS held
         FROM account
         JOIN book AS available ON available.id = account.available
         JOIN book AS held ON held.id = account.held
         WHERE ?1 IS NULL OR client = ?1
         ORDER BY client, label",
        [client.map(ClientName::as_str)],
        |row| {
            Ok(AccountRecord {
                instruments: all(
                    connection,
                    "SELECT kind, last_four, expiry, status FROM instrument WHERE account = ?1
                     ORDER BY kind, last_four",
                    [columns::integer(row, "id")?],
                    |row| columns::listed_instrument(row),
                )?,
                ..columns::listed_account(row)?
            })
        },
    )
}
