//! The embedded store: one SQLite file.
//!
//! Commands go to one writer thread, which commits a group of them at once ([`writer`]). Look-ups run on
//! connections of their own ([`reader`]). The database itself holds what must be unique and what sums may not
//! exceed ([`database`], `schema.sql`).

pub(crate) mod backup;
pub(crate) mod bare;
mod checkpoints;
pub(super) mod database;
mod outbox;
mod reader;
pub(super) mod reconcile;
mod rows;
mod storage_keys;
mod tables;
mod writer;

use std::{path::Path, time::Instant};

use async_trait::async_trait;
use protocol::{
    identifiers::{Jti, Xid},
    names::{ClientName, MerchantName},
};

use self::{
    checkpoints::{Checkpoints, Restart},
    reader::Readers,
    tables::Rows,
    writer::Writer,
};
use super::{
    Store, StoreError,
    commands::{
        AddAccount, Authorize, Authorized, BatchClosed, Cancel, CloseBatch, EndHolds, Operate,
        Operated, Stamp,
    },
    reconcile::Reconciliation,
    records::{AccountRecord, BatchRecord, ExpiredHold, PaymentRecord, ReceiptRecord},
    tables::Transaction,
};

/// The store of one gateway, in one file.
pub(crate) struct SqliteStore {
    // Closed before the writer, which brings the log back into the file as the last who has it open.
    readers: Readers,
    _checkpoints: Checkpoints,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the database, or makes it.
    ///
    /// # Errors
    /// When the file is another program's, newer than this one, locked, or can't be written.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = database::open_for_writing(path)?;
        let restart = Restart::default();
        Ok(Self {
            readers: Readers::open(path)?,
            _checkpoints: Checkpoints::start(path, &restart)?,
            writer: Writer::start(connection, restart)?,
        })
    }

    /// What is wrong with the database file; nothing, as a rule.
    ///
    /// # Errors
    /// When it can't be read at all.
    pub(crate) fn faults(&self) -> Result<Vec<String>, StoreError> {
        self.readers
            .read(|connection| Ok(backup::faults(connection)?))
    }

    async fn run<T: Transaction>(
        &self,
        transaction: T,
        deadline: Instant,
    ) -> Result<T::Outcome, StoreError> {
        self.writer
            .run(deadline, move |connection| {
                transaction.run(&mut Rows(connection))
            })
            .await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn authorize(
        &self,
        command: Authorize,
        deadline: Instant,
    ) -> Result<Authorized, StoreError> {
        self.run(command, deadline).await
    }

    async fn operate(&self, command: Operate, deadline: Instant) -> Result<Operated, StoreError> {
        self.run(command, deadline).await
    }

    async fn cancel(
        &self,
        command: Cancel,
        deadline: Instant,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        self.run(command, deadline).await
    }

    async fn close_batch(
        &self,
        command: CloseBatch,
        deadline: Instant,
    ) -> Result<BatchClosed, StoreError> {
        self.run(command, deadline).await
    }

    async fn end_holds(
        &self,
        command: EndHolds,
        deadline: Instant,
    ) -> Result<Vec<ExpiredHold>, StoreError> {
        self.run(command, deadline).await
    }

    async fn add_account(
        &self,
        command: AddAccount,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        self.run(command, deadline).await
    }

    async fn find_by_request(
        &self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        self.readers.read(|connection| {
            Ok(rows::request(connection, merchant, jti)?.and_then(|found| found.receipt))
        })
    }

    async fn find_by_xid(&self, xid: Xid) -> Result<Option<PaymentRecord>, StoreError> {
        self.readers
            .read(|connection| rows::by_xid(connection, xid))
    }

    async fn is_decided(&self, xid: Xid) -> Result<bool, StoreError> {
        self.readers
            .read(|connection| rows::is_decided(connection, xid))
    }

    async fn receipts_after(&self, xid: Xid) -> Result<Vec<ReceiptRecord>, StoreError> {
        self.readers
            .read(|connection| rows::after_decision(connection, xid))
    }

    async fn find_cancellation(
        &self,
        client: &ClientName,
        xid: Xid,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        self.readers
            .read(|connection| rows::cancellation(connection, client, xid))
    }

    async fn find_batch(
        &self,
        merchant: &MerchantName,
        batch: Jti,
    ) -> Result<Option<BatchRecord>, StoreError> {
        self.readers
            .read(|connection| rows::closed_batch(connection, merchant, batch))
    }

    async fn payments(&self) -> Result<Vec<PaymentRecord>, StoreError> {
        self.readers.read(rows::payments)
    }

    async fn accounts(
        &self,
        client: Option<&ClientName>,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        self.readers
            .read(|connection| rows::accounts(connection, client))
    }

    async fn reconcile(&self) -> Result<Vec<Reconciliation>, StoreError> {
        self.readers
            .read(|connection| Ok(reconcile::check(connection)?))
    }

    async fn canary(&self, deadline: Instant) -> Result<(), StoreError> {
        self.run(Stamp(i64::from(std::process::id())), deadline)
            .await?;
        self.readers.read(|connection| {
            Ok(connection.query_row("SELECT stamp FROM canary WHERE id = 1", [], |_| Ok(()))?)
        })
    }
}
