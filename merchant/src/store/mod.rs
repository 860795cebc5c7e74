//! The merchant's records: orders, sessions, purchases, and what came after them. What must be unique is held by the database.

mod database;
mod notices;
mod requests;
mod rows;

pub(crate) use notices::NoticeRecord;
pub(crate) use requests::{BatchRecord, Kept, OperationRecord, RequestState};

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
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

/// How many client sessions an order may have open at a time.
const SESSIONS_PER_ORDER_MAX: u32 = 8;

/// How long a session that nobody used is kept beyond its end, in seconds: for messages that are late.
const UNUSED_SESSION_SECONDS: u64 = 3600;

/// How much one command forgets: others are to have their turn.
const FORGOTTEN_MAX: u32 = 1000;

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
    /// Message 2 as it was sent: what the merchant offered.
    pub(crate) response: String,
    pub(crate) order: OrderInformation,
}

/// An order, with what became of it.
pub(crate) struct OrderRecord {
    pub(crate) information: OrderInformation,
    pub(crate) placed_at: Timestamp,
    pub(crate) state: OrderState,
}

/// Whether an order can be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderState {
    /// It can: nobody has, or those who tried were declined or refused.
    Open,
    /// The gateway is being asked about a purchase of it.
    Pending,
    /// It was paid.
    Paid,
}

/// A client session that is to be kept.
pub(crate) struct NewSession {
    pub(crate) session: Session,
    pub(crate) merchant_x5t: Digest,
    pub(crate) gateway_x5t: Digest,
    pub(crate) response: String,
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
    pub(crate) order_disclosure: String,
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
        Ok(Self::of(database::FILE.open_or_make(path)?))
    }

    /// Opens the database that `serve` made.
    ///
    /// # Errors
    /// Those of [`Store::open`], and when there is none.
    pub(crate) fn open_existing(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::of(database::FILE.open_existing(path)?))
    }

    fn of(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(connection)))
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

    /// Keeps a session, before its response is sent; tells whether it did: an order has only so many at a
    /// time.
    pub(crate) async fn add_session(&self, new: NewSession) -> Result<bool, StoreError> {
        self.run(move |connection| {
            let inserted = connection.execute(
                "INSERT INTO session (sid, shop_order, claims, merchant_x5t, gateway_x5t, response,
                     ends_at)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
                 WHERE (SELECT count(*) FROM session WHERE shop_order = ?2 AND ends_at > ?8) < ?9",
                (
                    new.session.sid.as_bytes(),
                    new.session.order.as_bytes(),
                    rows::to_json(&new.session)?,
                    new.merchant_x5t.as_bytes(),
                    new.gateway_x5t.as_bytes(),
                    new.response,
                    rows::seconds(new.session.exp),
                    rows::seconds(new.session.iat),
                    SESSIONS_PER_ORDER_MAX,
                ),
            )?;
            Ok(inserted == 1)
        })
        .await
    }

    /// Forgets sessions that ended unused, and orders of before a moment that nobody paid or tried to; tells how
    /// many, so that the next command can go on.
    pub(crate) async fn forget_unused(
        &self,
        orders_before: Timestamp,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        self.run(move |connection| {
            let sessions = connection.execute(
                "DELETE FROM session WHERE sid IN (
                     SELECT sid FROM session
                     WHERE ends_at < ?1
                         AND NOT EXISTS (SELECT 1 FROM purchase WHERE purchase.sid = session.sid)
                     LIMIT ?2)",
                (
                    rows::seconds(now.minus(UNUSED_SESSION_SECONDS)),
                    FORGOTTEN_MAX,
                ),
            )?;
            let orders = connection.execute(
                "DELETE FROM shop_order WHERE id IN (
                     SELECT id FROM shop_order
                     WHERE created_at < ?1
                         AND NOT EXISTS (SELECT 1 FROM session WHERE session.shop_order = id)
                         AND NOT EXISTS (SELECT 1 FROM purchase WHERE purchase.shop_order = id)
                     LIMIT ?2)",
                (rows::seconds(orders_before), FORGOTTEN_MAX),
            )?;
            Ok(sessions + orders)
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
                Err(StoreError::Failed(error)) if rows::is_not_unique(&error) => {
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
        self.run(|connection| rows::pending(connection)).await
    }

    /// All purchases, newest first.
    pub(crate) async fn purchases(&self) -> Result<Vec<PurchaseRecord>, StoreError> {
        self.run(|connection| rows::purchases(connection, None))
            .await
    }

    /// The purchases of one order, newest first.
    pub(crate) async fn purchases_of(
        &self,
        order: OrderId,
    ) -> Result<Vec<PurchaseRecord>, StoreError> {
        self.run(move |connection| rows::purchases(connection, Some(order)))
            .await
    }

    /// All orders, newest first.
    pub(crate) async fn orders(&self) -> Result<Vec<OrderRecord>, StoreError> {
        self.run(|connection| rows::orders(connection, None)).await
    }

    /// An order, with what became of it.
    pub(crate) async fn order_record(
        &self,
        order: OrderId,
    ) -> Result<Option<OrderRecord>, StoreError> {
        self.run(move |connection| Ok(rows::orders(connection, Some(order))?.pop()))
            .await
    }
}

#[cfg(test)]
mod tests;
