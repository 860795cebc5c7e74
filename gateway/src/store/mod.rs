//! The durable store: domain commands, each one atomic transaction, and look-ups.
//!
//! What a command does is written once ([`transactions`]), over the rows that a store has ([`tables`]). There are
//! two stores, held to the same by one suite of tests: one file ([`sqlite`]), and a PostgreSQL database that several
//! gateways share ([`postgres`]). The database itself holds what must be unique and what sums may not exceed.

mod columns;
pub(crate) mod commands;
pub(crate) mod outbox;
pub(crate) mod postgres;
pub(crate) mod reconcile;
pub(crate) mod records;
pub(crate) mod sqlite;
pub(crate) mod storage_keys;
mod tables;
mod transactions;
mod turn;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use async_trait::async_trait;
use protocol::{
    identifiers::{Jti, Xid},
    names::{ClientName, MerchantName},
};

use crate::config::{self, Config};
use commands::{
    AddAccount, Authorize, Authorized, BatchClosed, Cancel, CloseBatch, EndHolds, Operate, Operated,
};
use outbox::Outbox;
use postgres::PostgresStore;
use reconcile::Reconciliation;
use records::{AccountRecord, BatchRecord, ExpiredHold, PaymentRecord, ReceiptRecord};
use sqlite::SqliteStore;
use storage_keys::StorageKeys;

/// Opens the store of a configuration, or makes it.
///
/// # Errors
/// When it is another program's, newer than this one, or can't be written.
pub(crate) async fn open(config: &Config) -> Result<Box<dyn Store>, StoreError> {
    Ok(match &config.store {
        config::Store::File(path) => Box::new(SqliteStore::open(&config.path(path))?),
        config::Store::Postgres(postgres) => {
            Box::new(PostgresStore::open(postgres, config.directory()).await?)
        }
    })
}

/// Opens the store of a configuration, which a gateway has made already.
///
/// # Errors
/// Those of [`open`], and when there is none.
pub(crate) async fn open_existing(config: &Config) -> Result<Box<dyn Store>, StoreError> {
    if let config::Store::File(path) = &config.store {
        let path = config.path(path);
        if !path.exists() {
            return Err(none_yet(&path));
        }
    }
    open(config).await
}

fn none_yet(path: &Path) -> StoreError {
    StoreError::Unusable {
        path: path.display().to_string(),
        reason: "there is no database; `serve` makes one, a backup is copied there: look at [store] path"
            .to_owned(),
    }
}

/// The file of the embedded store, which is there.
///
/// # Errors
/// When the configuration names another store.
pub(crate) fn file(config: &Config) -> Result<PathBuf, StoreError> {
    match &config.store {
        config::Store::File(path) => {
            let path = config.path(path);
            if path.exists() {
                Ok(path)
            } else {
                Err(none_yet(&path))
            }
        }
        config::Store::Postgres(postgres) => Err(StoreError::Unusable {
            path: postgres.to_string(),
            reason: "this command is for the embedded store; PostgreSQL has its own tools (pg_basebackup, \
                     pg_amcheck)"
                .to_owned(),
        }),
    }
}

/// The store was not opened, or did not do something. Nothing is half done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{path}: {reason}")]
    Unusable { path: String, reason: String },
    #[error("too many commands wait for the store")]
    Overloaded,
    #[error("the store did not do it: {0}")]
    Unavailable(String),
    #[error("the store began in time and is not done: it may become durable")]
    OutcomeUnknown,
}

/// The store of a gateway.
///
/// A command is durable when it is answered. It fails when the store can't be written, when too many wait, or
/// when it was not begun by its deadline, and is not done then; only [`StoreError::OutcomeUnknown`] leaves that
/// open. A look-up sees everything that was answered, and fails when the store can't be read.
#[async_trait]
pub(crate) trait Store: Outbox + StorageKeys {
    /// Decides an authorization request, once.
    async fn authorize(
        &self,
        command: Authorize,
        deadline: Instant,
    ) -> Result<Authorized, StoreError>;

    /// Does something with a payment, once.
    async fn operate(&self, command: Operate, deadline: Instant) -> Result<Operated, StoreError>;

    /// Withdraws a purchase that was not decided, or tells what was. `None`, when the transaction was decided
    /// for another payer.
    async fn cancel(
        &self,
        command: Cancel,
        deadline: Instant,
    ) -> Result<Option<ReceiptRecord>, StoreError>;

    /// Closes a merchant's open batch, once; not when the ledger has another sum than the bookings.
    async fn close_batch(
        &self,
        command: CloseBatch,
        deadline: Instant,
    ) -> Result<BatchClosed, StoreError>;

    /// Ends holds that are over; a number of them at a time, none when none is left.
    async fn end_holds(
        &self,
        command: EndHolds,
        deadline: Instant,
    ) -> Result<Vec<ExpiredHold>, StoreError>;

    /// Adds an account, unless the client has one with this label. Tells whether it did. An instrument that is
    /// another account's is a failure.
    async fn add_account(&self, command: AddAccount, deadline: Instant)
    -> Result<bool, StoreError>;

    /// The receipt for a merchant's request, by its `jti`.
    async fn find_by_request(
        &self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<ReceiptRecord>, StoreError>;

    /// The payment of a transaction, as it is.
    async fn find_by_xid(&self, xid: Xid) -> Result<Option<PaymentRecord>, StoreError>;

    /// Whether a transaction was decided.
    async fn is_decided(&self, xid: Xid) -> Result<bool, StoreError>;

    /// The receipts of what was done with a payment after it was decided, oldest first.
    async fn receipts_after(&self, xid: Xid) -> Result<Vec<ReceiptRecord>, StoreError>;

    /// A payer's cancellation of a transaction.
    async fn find_cancellation(
        &self,
        client: &ClientName,
        xid: Xid,
    ) -> Result<Option<ReceiptRecord>, StoreError>;

    /// A merchant's closed batch.
    async fn find_batch(
        &self,
        merchant: &MerchantName,
        batch: Jti,
    ) -> Result<Option<BatchRecord>, StoreError>;

    /// Every payment, newest first.
    async fn payments(&self) -> Result<Vec<PaymentRecord>, StoreError>;

    /// All accounts, or those of one client.
    async fn accounts(&self, client: Option<&ClientName>)
    -> Result<Vec<AccountRecord>, StoreError>;

    /// Adds the ledger and the payments up anew, and says what differs.
    async fn reconcile(&self) -> Result<Vec<Reconciliation>, StoreError>;

    /// Whether the store can be written and read, by the deadline.
    async fn canary(&self, deadline: Instant) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests;
