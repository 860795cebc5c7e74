//! Moves everything between an SQLite file and a PostgreSQL database, row by row: both have the same tables, with the
//! same columns and the same numbers for rows.

use std::path::Path;

use deadpool_postgres::Pool;
use futures_util::TryStreamExt as _;
use rusqlite::{Connection, types::Value};
use tokio_postgres::{
    Client, Row, Transaction,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::look_ups::{self, moment};
use crate::store::{
    StoreError,
    reconcile::Reconciliation,
    sqlite::database::{self, open_for_reading},
    tables::Fault,
};

/// What is moved, rows before those that refer to them. `first_word` follows from it, and `canary` says nothing.
pub(in crate::store) const TABLES: [&str; 11] = [
    "book",
    "account",
    "instrument",
    "batch",
    "payment",
    "evidence",
    "operation",
    "cancellation",
    "transfer",
    "event",
    "storage_key",
];

/// How the rows of a group are told of.
const TOLD_EACH: u64 = 1000;

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotMoved {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the file: {0}")]
    File(#[from] rusqlite::Error),
    #[error("the database: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error(
        "the database holds payments or accounts already; name an empty one, or empty this one"
    )]
    NotEmpty,
    #[error(
        "the ledger of what was moved does not balance ({0}); nothing was kept. Look at the source with \
         `ledger check`"
    )]
    Unbalanced(&'static str),
    #[error("{0}; name a file of `export` or `backup`")]
    NotOurs(String),
    #[error("{table}.{column} holds what such a column never holds")]
    Strange { table: &'static str, column: String },
}

impl From<Fault> for NotMoved {
    fn from(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

/// A column of both.
struct Column {
    name: String,
    kind: Type,
}

/// Brings the rows of a file into an empty database, all or none, and tells how many.
pub(super) async fn import(
    pool: &Pool,
    file: &Path,
    mut told: impl FnMut(u64, u64),
) -> Result<u64, NotMoved> {
    let source = open_for_reading(file)?;
    check_ours(&source, file)?;
    let moment = source.unchecked_transaction()?;
    let all = TABLES.iter().try_fold(0, |all, table| {
        let count: i64 = moment.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })?;
        Ok::<_, rusqlite::Error>(all + count.unsigned_abs())
    })?;
    let mut connection = pool.get().await.map_err(StoreError::from)?;
    let client: &mut Client = &mut connection;
    let transaction = client.transaction().await?;
    look_ups::take_time(&transaction).await?;
    // A gateway that starts meanwhile waits.
    let names = TABLES.join(", ");
    transaction
        .batch_execute(&format!("LOCK TABLE {names} IN EXCLUSIVE MODE"))
        .await?;
    for table in TABLES {
        let query = format!("SELECT 1 FROM {table} LIMIT 1");
        if !transaction.query(&query, &[]).await?.is_empty() {
            return Err(NotMoved::NotEmpty);
        }
    }
    let mut moved = 0;
    for table in TABLES {
        copy_in(&transaction, &moment, table, || {
            moved += 1;
            if moved % TOLD_EACH == 0 {
                told(moved, all);
            }
        })
        .await?;
    }
    // What the file's one writer needs no table for, and numbers that nobody has yet.
    transaction
        .batch_execute(
            "INSERT INTO first_word (client, xid)
                 SELECT client, xid FROM payment WHERE code <> '17'
                 UNION SELECT client, xid FROM cancellation;
             SELECT setval('row_block', 1 + greatest(
                 (SELECT coalesce(max(id), 0) FROM evidence) / 4096,
                 (SELECT coalesce(max(id), 0) FROM transfer) / 4096,
                 (SELECT coalesce(max(id), 0) FROM batch) / 4096,
                 (SELECT coalesce(max(id), 0) FROM account) / 4096,
                 (SELECT coalesce(max(abs(id)), 0) FROM book)));
             ANALYZE",
        )
        .await?;
    balances(&look_ups::rules(&transaction).await?)?;
    transaction.commit().await?;
    Ok(moved)
}

/// Whether the file is a gateway's, of the version whose tables these are.
fn check_ours(source: &Connection, file: &Path) -> Result<(), NotMoved> {
    let pragma = |name| source.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let known = database::FILE.migrations.len() as i64;
    if pragma("application_id")? != i64::from(database::FILE.application_id) {
        let told = format!("{} is no gateway's database", file.display());
        return Err(NotMoved::NotOurs(told));
    }
    let version = pragma("user_version")?;
    if version == known {
        return Ok(());
    }
    Err(NotMoved::NotOurs(format!(
        "{} has version {version}, not {known}: `check` of this gateway, with the file as its [store] path, brings it \
         there",
        file.display()
    )))
}

async fn copy_in(
    transaction: &Transaction<'_>,
    source: &Connection,
    table: &'static str,
    mut told: impl FnMut(),
) -> Result<(), NotMoved> {
    let columns = columns(transaction, table).await?;
    let names = names(&columns);
    let sink = transaction
        .copy_in(&format!("COPY {table} ({names}) FROM STDIN BINARY"))
        .await?;
    let kinds: Vec<Type> = columns.iter().map(|column| column.kind.clone()).collect();
    let writer = BinaryCopyInWriter::new(sink, &kinds);
    let mut writer = std::pin::pin!(writer);
    let mut statement = source.prepare(&format!("SELECT {names} FROM {table}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut values: Vec<Box<dyn ToSql + Sync + Send>> = Vec::with_capacity(columns.len());
        for (position, column) in columns.iter().enumerate() {
            let strange = || NotMoved::Strange {
                table,
                column: column.name.clone(),
            };
            values.push(match (row.get(position)?, &column.kind) {
                (Value::Integer(number), &Type::INT8) => Box::new(number),
                (Value::Text(text), &Type::TEXT) => Box::new(text),
                (Value::Blob(bytes), &Type::BYTEA) => Box::new(bytes),
                (Value::Null, &Type::INT8) => Box::new(None::<i64>),
                (Value::Null, &Type::TEXT) => Box::new(None::<String>),
                (Value::Null, &Type::BYTEA) => Box::new(None::<Vec<u8>>),
                _ => return Err(strange()),
            });
        }
        let values: Vec<&(dyn ToSql + Sync)> = values
            .iter()
            .map(|value| value.as_ref() as &(dyn ToSql + Sync))
            .collect();
        writer.as_mut().write(&values).await?;
        told();
    }
    writer.finish().await?;
    Ok(())
}

/// Writes the rows of the database, as they are at one moment, into a new file, and tells how many.
pub(super) async fn export(
    pool: &Pool,
    file: &Path,
    mut told: impl FnMut(u64, u64),
) -> Result<u64, NotMoved> {
    let mut connection = pool.get().await.map_err(StoreError::from)?;
    let source = moment(&mut connection).await?;
    let mut target = database::FILE
        .open_or_make(file)
        .map_err(StoreError::from)?;
    let writing = target.transaction()?;
    let mut all = 0;
    for table in TABLES {
        let query = format!("SELECT count(*) FROM {table}");
        let count: i64 = source.query_one(&query, &[]).await?.get(0);
        all += count.unsigned_abs();
    }
    let mut moved = 0;
    for table in TABLES {
        copy_out(&source, &writing, table, || {
            moved += 1;
            if moved % TOLD_EACH == 0 {
                told(moved, all);
            }
        })
        .await?;
    }
    writing.commit()?;
    balances(&crate::store::sqlite::reconcile::check(&target)?)?;
    // Alone it needs no second file.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(moved)
}

async fn copy_out(
    source: &Transaction<'_>,
    target: &Connection,
    table: &'static str,
    mut told: impl FnMut(),
) -> Result<(), NotMoved> {
    let columns = columns(source, table).await?;
    let names = names(&columns);
    let places = vec!["?"; columns.len()].join(", ");
    let mut insert = target.prepare(&format!("INSERT INTO {table} ({names}) VALUES ({places})"))?;
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = source
        .query_raw(&format!("SELECT {names} FROM {table}"), none)
        .await?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await? {
        let values = columns
            .iter()
            .enumerate()
            .map(|(position, column)| value(&row, position, &column.kind))
            .collect::<Result<Vec<Value>, _>>()?;
        insert.execute(rusqlite::params_from_iter(values))?;
        told();
    }
    Ok(())
}

fn value(row: &Row, position: usize, kind: &Type) -> Result<Value, tokio_postgres::Error> {
    Ok(match *kind {
        Type::INT8 => row
            .try_get::<_, Option<i64>>(position)?
            .map_or(Value::Null, Value::Integer),
        Type::BYTEA => row
            .try_get::<_, Option<Vec<u8>>>(position)?
            .map_or(Value::Null, Value::Blob),
        _ => row
            .try_get::<_, Option<String>>(position)?
            .map_or(Value::Null, Value::Text),
    })
}

/// The columns of a table, as the database has them.
async fn columns(
    transaction: &Transaction<'_>,
    table: &str,
) -> Result<Vec<Column>, tokio_postgres::Error> {
    let statement = transaction
        .prepare(&format!("SELECT * FROM {table}"))
        .await?;
    Ok(statement
        .columns()
        .iter()
        .map(|column| Column {
            name: column.name().to_owned(),
            kind: column.type_().clone(),
        })
        .collect())
}

fn names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.join(", ")
}

fn balances(rules: &[Reconciliation]) -> Result<(), NotMoved> {
    match rules.iter().find(|rule| !rule.differences.is_empty()) {
        Some(broken) => Err(NotMoved::Unbalanced(broken.rule)),
        None => Ok(()),
    }
}
