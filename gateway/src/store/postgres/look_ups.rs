//! Look-ups. They see every commit that was acknowledged: they ask the same server, never a standby.

use std::collections::HashMap;

use deadpool_postgres::{Pool, PoolError};
use protocol::{
    identifiers::{Jti, Xid},
    names::{ClientName, MerchantName},
};
use tokio_postgres::{IsolationLevel, Row, Transaction, types::ToSql};

use crate::store::{
    StoreError,
    columns::{self, CANCELLATION, CLOSED_BATCH, RECEIPT},
    reconcile::{self, CLOSED_BATCHES, Named, RULES, Reconciliation},
    records::{AccountRecord, BatchRecord, InstrumentRecord, PaymentRecord, ReceiptRecord},
    tables::Fault,
};

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable(fault.to_string())
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let told = error.as_db_error().map_or_else(
            || error.to_string(),
            |database| database.message().to_owned(),
        );
        Self::Unavailable(told)
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// All rows that a query by keys finds. A connection that was cut meanwhile is no answer: the next one is asked, once.
async fn all<T>(
    pool: &Pool,
    query: &str,
    parameters: Parameters<'_>,
    meaning: impl Fn(&Row) -> Result<T, Fault>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = found(pool, query, parameters).await;
    if let Err(NotFound::Lost(_)) = rows {
        rows = found(pool, query, parameters).await;
    }
    let rows = rows.map_err(|error| match error {
        NotFound::Lost(error) | NotFound::Failed(error) => error,
    })?;
    Ok(rows.iter().map(meaning).collect::<Result<_, _>>()?)
}

/// Why a query has no answer.
enum NotFound {
    /// The connection was closed, by a restart of the database for example.
    Lost(StoreError),
    Failed(StoreError),
}

async fn found(pool: &Pool, query: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, NotFound> {
    let connection = pool
        .get()
        .await
        .map_err(|error| NotFound::Failed(error.into()))?;
    let ask = async {
        let statement = connection.prepare_cached(query).await?;
        connection.query(&statement, parameters).await
    };
    ask.await.map_err(|error: tokio_postgres::Error| {
        let is_lost = error.is_closed()
            || error
                .code()
                .is_some_and(|code| code.code().starts_with("57P"));
        if is_lost {
            NotFound::Lost(error.into())
        } else {
            NotFound::Failed(error.into())
        }
    })
}

async fn one<T>(
    pool: &Pool,
    query: &str,
    parameters: Parameters<'_>,
    meaning: impl Fn(&Row) -> Result<T, Fault>,
) -> Result<Option<T>, StoreError> {
    Ok(all(pool, query, parameters, meaning).await?.pop())
}

/// The receipt for a merchant's request, by its `jti`.
pub(super) async fn request(
    pool: &Pool,
    merchant: &MerchantName,
    jti: Jti,
) -> Result<Option<ReceiptRecord>, StoreError> {
    let query = format!("{RECEIPT} WHERE operation.merchant = $1 AND operation.jti = $2");
    let found = one(
        pool,
        &query,
        &[&merchant.as_str(), &&jti.as_bytes()[..]],
        columns::request,
    )
    .await?;
    Ok(found.and_then(|found| found.receipt))
}

/// The decision on a transaction, with what it has come to.
pub(super) async fn payment(pool: &Pool, xid: Xid) -> Result<Option<PaymentRecord>, StoreError> {
    let query = format!(
        "{RECEIPT} WHERE payment.xid = $1 AND operation.merchant = payment.merchant
             AND operation.jti = payment.jti"
    );
    one(pool, &query, &[&&xid.as_bytes()[..]], |row| {
        columns::payment(row)
    })
    .await
}

/// Whether a transaction was decided.
pub(super) async fn is_decided(pool: &Pool, xid: Xid) -> Result<bool, StoreError> {
    let query = "SELECT 1 FROM payment WHERE xid = $1";
    let found = one(pool, query, &[&&xid.as_bytes()[..]], |_| Ok(())).await?;
    Ok(found.is_some())
}

/// The receipts of what was done after the decision, oldest first.
pub(super) async fn after_decision(
    pool: &Pool,
    xid: Xid,
) -> Result<Vec<ReceiptRecord>, StoreError> {
    let query = format!(
        "{RECEIPT} WHERE operation.xid = $1 AND action NOT IN ('authorization', 'batch')
             ORDER BY operation.evidence"
    );
    all(pool, &query, &[&&xid.as_bytes()[..]], |row| {
        columns::receipt(row)
    })
    .await
}

/// The payer's cancellation of a transaction.
pub(super) async fn cancellation(
    pool: &Pool,
    client: &ClientName,
    xid: Xid,
) -> Result<Option<ReceiptRecord>, StoreError> {
    let query = format!("{CANCELLATION} WHERE client = $1 AND xid = $2");
    let parameters: Parameters<'_> = &[&client.as_str(), &&xid.as_bytes()[..]];
    one(pool, &query, parameters, columns::cancellation).await
}

/// A closed batch by the `jti` that closed it.
pub(super) async fn closed_batch(
    pool: &Pool,
    merchant: &MerchantName,
    jti: Jti,
) -> Result<Option<BatchRecord>, StoreError> {
    let query = format!("{CLOSED_BATCH} WHERE batch.merchant = $1 AND batch.jti = $2");
    let parameters: Parameters<'_> = &[&merchant.as_str(), &&jti.as_bytes()[..]];
    one(pool, &query, parameters, columns::closed_batch).await
}

/// Whether the stamp can be read.
pub(super) async fn stamp(pool: &Pool) -> Result<(), StoreError> {
    let found = one(pool, "SELECT stamp FROM canary WHERE id = 1", &[], |_| {
        Ok(())
    });
    let missing = || StoreError::Unavailable("what was written is not there".to_owned());
    found.await?.ok_or_else(missing)
}

/// Every decided payment, newest first.
pub(super) async fn payments(pool: &Pool) -> Result<Vec<PaymentRecord>, StoreError> {
    let mut connection = pool.get().await?;
    let moment = moment(&mut connection).await?;
    let query = format!("{RECEIPT} WHERE operation.action = 'authorization' ORDER BY at DESC");
    let rows = moment.query(&query, &[]).await?;
    let payments = rows
        .iter()
        .map(columns::payment)
        .collect::<Result<_, _>>()?;
    moment.commit().await?;
    Ok(payments)
}

/// All accounts, or those of one client, in the order of their names.
pub(super) async fn accounts(
    pool: &Pool,
    client: Option<&ClientName>,
) -> Result<Vec<AccountRecord>, StoreError> {
    let mut connection = pool.get().await?;
    let moment = moment(&mut connection).await?;
    let client = client.map(ClientName::as_str);
    let rows = moment
        .query(
            "SELECT account.id AS id, client, label, account.currency AS currency, status,
                 available.balance AS available, held.balance AS held
             FROM account
             JOIN book AS available ON available.id = account.available
             JOIN book AS held ON held.id = account.held
             WHERE $1::text IS NULL OR client = $1
             ORDER BY client COLLATE \"C\", label COLLATE \"C\"",
            &[&client],
        )
        .await?;
    let instruments = moment
        .query(
            "SELECT account, instrument.kind AS kind, last_four, expiry,
                 instrument.status AS status
             FROM instrument JOIN account ON account.id = instrument.account
             WHERE $1::text IS NULL OR client = $1
             ORDER BY instrument.kind COLLATE \"C\", last_four COLLATE \"C\"",
            &[&client],
        )
        .await?;
    let mut of_account: HashMap<i64, Vec<InstrumentRecord>> = HashMap::new();
    for row in &instruments {
        let account = columns::integer(row, "account")?;
        let instrument = columns::listed_instrument(row)?;
        of_account.entry(account).or_default().push(instrument);
    }
    let mut accounts = Vec::new();
    for row in &rows {
        let instruments = of_account.remove(&columns::integer(row, "id")?);
        accounts.push(AccountRecord {
            instruments: instruments.unwrap_or_default(),
            ..columns::listed_account(row)?
        });
    }
    moment.commit().await?;
    Ok(accounts)
}

/// Adds everything up anew, as it is at one moment: the gateways may go on meanwhile.
pub(super) async fn reconcile(pool: &Pool) -> Result<Vec<Reconciliation>, StoreError> {
    let mut connection = pool.get().await?;
    let moment = moment(&mut connection).await?;
    let found = rules(&moment).await?;
    moment.commit().await?;
    Ok(found)
}

/// Adds everything up anew, as a transaction sees it.
pub(super) async fn rules(moment: &Transaction<'_>) -> Result<Vec<Reconciliation>, StoreError> {
    let mut found = Vec::new();
    for rule in &RULES {
        let checked: i64 = moment.query_one(rule.count, &[]).await?.get(0);
        let rows = moment.query(&rule.differences(), &[]).await?;
        let differing = rows
            .iter()
            .map(|row| {
                let name = match row.try_get::<_, String>(0) {
                    Ok(name) => Named::Text(name),
                    Err(_) => Named::Xid(columns::id(row, "name")?),
                };
                Ok((
                    name,
                    columns::integer(row, "one")?,
                    columns::integer(row, "other")?,
                ))
            })
            .collect::<Result<_, Fault>>()?;
        found.push(rule.found(checked, differing));
    }
    let rows = moment.query(CLOSED_BATCHES, &[]).await?;
    let batches: Vec<_> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    found.push(reconcile::closed_batches(&batches));
    Ok(found)
}

/// A view of the database at one moment, that may take its time and reads whole tables.
pub(super) async fn moment(
    connection: &mut deadpool_postgres::Object,
) -> Result<Transaction<'_>, StoreError> {
    let client: &mut tokio_postgres::Client = connection;
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    take_time(&transaction).await?;
    Ok(transaction)
}

/// Lets a transaction take its time and read whole tables.
pub(super) async fn take_time(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    transaction
        .batch_execute(
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
             SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on;
             SET LOCAL enable_mergejoin = on",
        )
        .await
}
