//! The merchant's records: orders, sessions, purchases. What must be unique is held by the database.

mod rows;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::{
    identifiers::{ClientNonce, Digest, MerchantNonce, OrderId, Sid, Xid},
    money::Amount,
    names::ClientName,
    order_information::OrderInformation,
    problem::Problem,
    purchase::PurchaseResponse,
    receipt::Decision,
    session::Session,
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

/// "TwSm": what marks the file as ours (PRAGMA application_id).
const APPLICATION_ID: i64 = 0x5477_536d;
const VERSION: i64 = 1;

/// An older library has a race between a commit and a checkpoint that can lose commits in WAL mode.
const LIBRARY_MIN: i32 = 3_051_003;

/// The store was not opened, or did not do something. Nothing is half done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{path}: {reason}")]
    Unusable { path: String, reason: String },
    #[error("the store did not do it: {0}")]
    Failed(#[from] rusqlite::Error),
    #[error("what the store holds can't be read: {0}")]
    Strange(&'static str),
    #[error("the store's thread ended")]
    Ended,
}

/// The store of one merchant: one connection, used by one command at a time.
#[derive(Clone)]
pub(crate) struct Store(Arc<Mutex<Connection>>);

/// A client session, with what a purchase in it is held against.
pub(crate) struct SessionRecord {
    pub(crate) session: Session,
    pub(crate) merchant_x5t: Digest,
    pub(crate) gateway_x5t: Digest,
    pub(crate) order: OrderInformation,
}

/// A verified purchase that is to be consumed.
pub(crate) struct NewPurchase {
    pub(crate) xid: Xid,
    pub(crate) sid: Sid,
    pub(crate) order: OrderId,
    pub(crate) client: ClientName,
    pub(crate) client_x5t: Digest,
    pub(crate) nc: ClientNonce,
    pub(crate) nm: MerchantNonce,
    pub(crate) dsh: Digest,
    pub(crate) pih: Digest,
    pub(crate) amount: Amount,
    pub(crate) dual_signature: String,
    pub(crate) order_disclosure: String,
    pub(crate) payment_information: String,
    pub(crate) authorization_request: String,
    pub(crate) now: Timestamp,
}

/// What became of a purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PurchaseState {
    /// Nobody knows yet; the gateway is asked until it answers.
    Pending,
    /// The gateway decided.
    Decided(Decision, PurchaseResponse),
    /// The gateway refused it before deciding; the order is free again.
    Failed(Problem),
}

/// A purchase as it is.
pub(crate) struct PurchaseRecord {
    pub(crate) xid: Xid,
    pub(crate) sid: Sid,
    pub(crate) order: OrderId,
    pub(crate) client: ClientName,
    pub(crate) client_x5t: Digest,
    pub(crate) nc: ClientNonce,
    pub(crate) nm: MerchantNonce,
    pub(crate) dsh: Digest,
    pub(crate) pih: Digest,
    pub(crate) amount: Amount,
    pub(crate) dual_signature: String,
    /// None once the outcome is known.
    pub(crate) payment_information: Option<String>,
    pub(crate) authorization_request: String,
    pub(crate) state: PurchaseState,
}

/// What came of consuming a session and its order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Consumed {
    /// They are this purchase's now.
    Done,
    /// The session was used meanwhile.
    SessionUsed,
    /// The order has a pending or approved purchase, or the transaction is known.
    Taken,
}

impl Store {
    /// Opens the database, or makes it.
    ///
    /// # Errors
    /// When the file is another program's, newer than this one, or can't be written.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let unusable = |reason: &str| StoreError::Unusable {
            path: path.display().to_string(),
            reason: reason.to_owned(),
        };
        if rusqlite::version_number() < LIBRARY_MIN {
            return Err(unusable(
                "the SQLite library can lose commits in WAL mode; build with 3.51.3 or newer",
            ));
        }
        let failed = |error: rusqlite::Error| {
            unusable(&format!(
                "{error}; check the file, its directory and their owner"
            ))
        };
        let connection = Connection::open(path).map_err(failed)?;
        connection
            .busy_timeout(Duration::from_secs(5))
            .map_err(failed)?;
        let pragma =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let application = pragma("application_id").map_err(failed)?;
        let version = pragma("user_version").map_err(failed)?;
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(failed)?;
        let is_new = application == 0 && version == 0 && tables == 0;
        if !is_new && application != APPLICATION_ID {
            return Err(unusable(
                "a database of another program; configure another [store] path",
            ));
        }
        if version > VERSION {
            return Err(unusable("made by a newer merchant; run that one"));
        }
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
            .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
            .map_err(failed)?;
        if is_new {
            let schema = include_str!("schema.sql");
            connection
                .execute_batch(&format!(
                    "BEGIN IMMEDIATE;\n{schema}\nPRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {VERSION};\nCOMMIT;"
                ))
                .map_err(failed)?;
        }
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs a command where blocking is allowed: each waits for the disk.
    async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            // A command that panicked has rolled back.
            act(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await
        .unwrap_or(Err(StoreError::Ended))
    }

    /// Keeps an order.
    pub(crate) async fn add_order(
        &self,
        order: OrderInformation,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.run(move |connection| {
            connection.execute(
                "INSERT INTO shop_order (id, information, created_at) VALUES (?1, ?2, ?3)",
                (
                    order.order.as_bytes(),
                    rows::to_json(&order)?,
                    rows::seconds(now),
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// An order.
    pub(crate) async fn order(
        &self,
        order: OrderId,
    ) -> Result<Option<OrderInformation>, StoreError> {
        self.run(move |connection| {
            let json: Option<String> = connection
                .query_row(
                    "SELECT information FROM shop_order WHERE id = ?1",
                    [order.as_bytes()],
                    |row| row.get(0),
                )
                .optional()?;
            json.map(|json| rows::from_json(&json)).transpose()
        })
        .await
    }

    /// Keeps a session, before its response is sent.
    pub(crate) async fn add_session(
        &self,
        session: Session,
        merchant_x5t: Digest,
        gateway_x5t: Digest,
    ) -> Result<(), StoreError> {
        self.run(move |connection| {
            connection.execute(
                "INSERT INTO session (sid, shop_order, claims, merchant_x5t, gateway_x5t)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    session.sid.as_bytes(),
                    session.order.as_bytes(),
                    rows::to_json(&session)?,
                    merchant_x5t.as_bytes(),
                    gateway_x5t.as_bytes(),
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// A session with its order.
    pub(crate) async fn session(&self, sid: Sid) -> Result<Option<SessionRecord>, StoreError> {
        self.run(move |connection| rows::session(connection, sid))
            .await
    }

    /// The purchase that used a session.
    pub(crate) async fn purchase_in(&self, sid: Sid) -> Result<Option<PurchaseRecord>, StoreError> {
        self.run(move |connection| rows::purchase_where(connection, "sid", sid.as_bytes()))
            .await
    }

    /// A purchase.
    pub(crate) async fn purchase(&self, xid: Xid) -> Result<Option<PurchaseRecord>, StoreError> {
        self.run(move |connection| rows::purchase_where(connection, "xid", xid.as_bytes()))
            .await
    }

    /// Whether an order has a purchase that is pending or approved.
    pub(crate) async fn is_taken(&self, order: OrderId) -> Result<bool, StoreError> {
        self.run(move |connection| {
            Ok(connection.query_row(
                "SELECT count(*) > 0 FROM purchase
                 WHERE shop_order = ?1 AND state IN ('pending', 'approved')",
                [order.as_bytes()],
                |row| row.get(0),
            )?)
        })
        .await
    }

    /// Consumes session and order for a purchase, together and durably.
    pub(crate) async fn consume(&self, purchase: NewPurchase) -> Result<Consumed, StoreError> {
        self.run(move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let used: bool = transaction.query_row(
                "SELECT count(*) > 0 FROM purchase WHERE sid = ?1",
                [purchase.sid.as_bytes()],
                |row| row.get(0),
            )?;
            if used {
                return Ok(Consumed::SessionUsed);
            }
            match rows::insert_purchase(&transaction, &purchase) {
                Ok(()) => {
                    transaction.commit()?;
                    Ok(Consumed::Done)
                }
                Err(StoreError::Failed(rusqlite::Error::SqliteFailure(error, _)))
                    if error.code == rusqlite::ErrorCode::ConstraintViolation =>
                {
                    Ok(Consumed::Taken)
                }
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Keeps the gateway's decision with the answer to the client, and deletes the sealed PI.
    pub(crate) async fn decide(
        &self,
        xid: Xid,
        decision: Decision,
        response: PurchaseResponse,
    ) -> Result<(), StoreError> {
        self.run(move |connection| {
            connection.execute(
                "UPDATE purchase SET state = ?2, receipt = ?3, purchase_response = ?4,
                     payment_information = NULL
                 WHERE xid = ?1 AND state = 'pending'",
                (
                    xid.as_bytes(),
                    rows::state_of(decision),
                    response.receipt,
                    response.purchase_response,
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// Keeps that the gateway refused a purchase, frees its order, and deletes the sealed PI.
    pub(crate) async fn fail(&self, xid: Xid, problem: Problem) -> Result<(), StoreError> {
        self.run(move |connection| {
            connection.execute(
                "UPDATE purchase SET state = 'failed', problem = ?2, payment_information = NULL
                 WHERE xid = ?1 AND state = 'pending'",
                (xid.as_bytes(), problem.name()),
            )?;
            Ok(())
        })
        .await
    }

    /// The purchases that wait for the gateway, oldest first.
    pub(crate) async fn pending(&self) -> Result<Vec<Xid>, StoreError> {
        self.run(|connection| rows::xids(connection, "WHERE state = 'pending'"))
            .await
    }

    /// All purchases, newest first.
    pub(crate) async fn all(&self) -> Result<Vec<Xid>, StoreError> {
        self.run(|connection| {
            let mut xids = rows::xids(connection, "")?;
            xids.reverse();
            Ok(xids)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
