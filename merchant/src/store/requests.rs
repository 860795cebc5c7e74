//! What is asked of the gateway after a purchase: operations and batches. Each is here, with its exact
//! bytes, before it is sent.

use protocol::{
    identifiers::{Jti, Xid},
    money::{Amount, Currency},
    problem::Problem,
    time::Timestamp,
};
use rusqlite::{Connection, Params, Row};

use super::{Store, StoreError, rows};
use crate::operation::Operation;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestState {
    /// Nobody knows yet; it is sent until it is answered.
    Pending,
    /// Done: the gateway's signed answer, verified before it was kept.
    Answered(String),
    /// The gateway refused it; nothing was done and nothing will be.
    Failed(Problem),
}

impl RequestState {
    /// The word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            RequestState::Pending => "pending",
            RequestState::Answered(_) => "done",
            RequestState::Failed(_) => "failed",
        }
    }
}

/// A capture, reversal, refund, or one undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OperationRecord {
    pub(crate) jti: Jti,
    pub(crate) xid: Xid,
    pub(crate) operation: Operation,
    /// The booking that is undone.
    pub(crate) target: Option<Jti>,
    pub(crate) amount: Amount,
    /// The JWS, byte for byte as it is sent.
    pub(crate) request: String,
    pub(crate) state: RequestState,
    pub(crate) made_at: Timestamp,
    /// Whether all that was open was asked for, without an amount.
    pub(crate) is_all: bool,
    /// Whether the operator was told what became of it.
    pub(crate) is_told: bool,
}

/// The closing of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchRecord {
    pub(crate) jti: Jti,
    pub(crate) currency: Currency,
    /// The JWS, byte for byte as it is sent.
    pub(crate) request: String,
    pub(crate) state: RequestState,
    pub(crate) made_at: Timestamp,
    /// Whether the operator was told what became of it.
    pub(crate) is_told: bool,
}

/// What came of keeping a new request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It may be sent.
    Done,
    /// Another one of the same purchase or currency is open.
    OtherPending,
}

impl Store {
    /// Keeps a pending operation, before it is sent.
    pub(crate) async fn add_operation(&self, new: OperationRecord) -> Result<Kept, StoreError> {
        self.run(move |connection| {
            insert(
                connection,
                "INSERT INTO operation (jti, xid, action, target, amount, request, state, made_at,
                     is_all)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7, ?8)",
                (
                    new.jti.as_bytes(),
                    new.xid.as_bytes(),
                    new.operation.action().as_str(),
                    new.target.as_ref().map(Jti::as_bytes),
                    rows::to_json(&new.amount)?,
                    new.request,
                    rows::seconds(new.made_at),
                    new.is_all,
                ),
            )
        })
        .await
    }

    /// Keeps what became of a pending operation. What became of one never changes.
    pub(crate) async fn end_operation(
        &self,
        jti: Jti,
        state: RequestState,
    ) -> Result<(), StoreError> {
        self.run(move |connection| end(connection, "operation", jti, &state))
            .await
    }

    /// Keeps that who asked for an operation was told what became of it, if that is known.
    pub(crate) async fn tell_operation(&self, jti: Jti) -> Result<(), StoreError> {
        self.run(move |connection| tell(connection, "operation", jti))
            .await
    }

    /// Everything that was asked of a purchase, oldest first.
    pub(crate) async fn operations(&self, xid: Xid) -> Result<Vec<OperationRecord>, StoreError> {
        self.run(move |connection| {
            let where_ = "xid = ?1 ORDER BY number";
            select(connection, "operation", where_, [xid.as_bytes()], operation)
        })
        .await
    }

    /// The operations that wait for the gateway, oldest first.
    pub(crate) async fn pending_operations(&self) -> Result<Vec<OperationRecord>, StoreError> {
        self.run(|connection| {
            let where_ = "state = 'pending' ORDER BY number";
            select(connection, "operation", where_, [], operation)
        })
        .await
    }

    /// Keeps the request to close a batch, before it is sent.
    pub(crate) async fn add_batch(&self, new: BatchRecord) -> Result<Kept, StoreError> {
        self.run(move |connection| {
            insert(
                connection,
                "INSERT INTO batch (jti, currency, request, state, made_at)
                 VALUES (?1, ?2, ?3, 'pending', ?4)",
                (
                    new.jti.as_bytes(),
                    new.currency.code(),
                    new.request,
                    rows::seconds(new.made_at),
                ),
            )
        })
        .await
    }

    /// Keeps what became of the request to close a batch.
    pub(crate) async fn end_batch(&self, jti: Jti, state: RequestState) -> Result<(), StoreError> {
        self.run(move |connection| end(connection, "batch", jti, &state))
            .await
    }

    /// Keeps that who closed a batch was told what became of it, if that is known.
    pub(crate) async fn tell_batch(&self, jti: Jti) -> Result<(), StoreError> {
        self.run(move |connection| tell(connection, "batch", jti))
            .await
    }

    /// A batch by what it is called.
    pub(crate) async fn batch(&self, jti: Jti) -> Result<Option<BatchRecord>, StoreError> {
        self.run(move |connection| {
            let found = select(connection, "batch", "jti = ?1", [jti.as_bytes()], batch)?;
            Ok(found.into_iter().next())
        })
        .await
    }

    /// All batches, newest first.
    pub(crate) async fn batches(&self) -> Result<Vec<BatchRecord>, StoreError> {
        self.run(|connection| select(connection, "batch", "true ORDER BY number DESC", [], batch))
            .await
    }

    /// The batches whose closing waits for the gateway, oldest first.
    pub(crate) async fn pending_batches(&self) -> Result<Vec<BatchRecord>, StoreError> {
        self.run(|connection| {
            let where_ = "state = 'pending' ORDER BY number";
            select(connection, "batch", where_, [], batch)
        })
        .await
    }
}

fn insert(
    connection: &Connection,
    statement: &'static str,
    row: impl Params,
) -> Result<Kept, StoreError> {
    match connection.execute(statement, row) {
        Ok(_) => Ok(Kept::Done),
        Err(error) if rows::is_not_unique(&error) => Ok(Kept::OtherPending),
        Err(error) => Err(error.into()),
    }
}

/// Keeps that a request that has an outcome was told of.
fn tell(connection: &Connection, table: &str, jti: Jti) -> Result<(), StoreError> {
    connection
        .prepare_cached(&format!(
            "UPDATE {table} SET is_told = 1 WHERE jti = ?1 AND state <> 'pending'"
        ))?
        .execute([jti.as_bytes()])?;
    Ok(())
}

fn end(
    connection: &Connection,
    table: &'static str,
    jti: Jti,
    state: &RequestState,
) -> Result<(), StoreError> {
    let (word, answer, problem) = match state {
        RequestState::Pending => return Ok(()),
        RequestState::Answered(answer) => ("answered", Some(answer), None),
        RequestState::Failed(problem) => ("failed", None, Some(problem.name())),
    };
    connection.execute(
        &format!(
            "UPDATE {table} SET state = ?2, answer = ?3, problem = ?4
             WHERE jti = ?1 AND state = 'pending'"
        ),
        (jti.as_bytes(), word, answer, problem),
    )?;
    Ok(())
}

fn select<T>(
    connection: &Connection,
    table: &'static str,
    condition: &'static str,
    parameters: impl Params,
    read: fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT * FROM {table} WHERE {condition}"))?;
    let found = statement.query_map(parameters, |row| Ok(read(row)))?;
    found.map(|row| row?).collect()
}

fn operation(row: &Row<'_>) -> Result<OperationRecord, StoreError> {
    Ok(OperationRecord {
        jti: Jti::from_bytes(row.get("jti")?),
        xid: Xid::from_bytes(row.get("xid")?),
        operation: Operation::from_word(&row.get::<_, String>("action")?)
            .ok_or(StoreError::Strange("an operation's word"))?,
        target: row.get::<_, Option<_>>("target")?.map(Jti::from_bytes),
        amount: rows::from_json(&row.get::<_, String>("amount")?)?,
        request: row.get("request")?,
        state: state(row)?,
        made_at: rows::time(row, "made_at")?,
        is_all: row.get("is_all")?,
        is_told: row.get("is_told")?,
    })
}

fn batch(row: &Row<'_>) -> Result<BatchRecord, StoreError> {
    Ok(BatchRecord {
        jti: Jti::from_bytes(row.get("jti")?),
        currency: row
            .get::<_, String>("currency")?
            .parse()
            .map_err(|_| StoreError::Strange("a currency"))?,
        request: row.get("request")?,
        state: state(row)?,
        made_at: rows::time(row, "made_at")?,
        is_told: row.get("is_told")?,
    })
}

fn state(row: &Row<'_>) -> Result<RequestState, StoreError> {
    match row.get::<_, String>("state")?.as_str() {
        "pending" => Ok(RequestState::Pending),
        "answered" => Ok(RequestState::Answered(row.get("answer")?)),
        "failed" => rows::problem(row).map(RequestState::Failed),
        _ => Err(StoreError::Strange("a request's state")),
    }
}
