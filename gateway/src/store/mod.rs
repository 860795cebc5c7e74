//! The durable store: domain commands, each one atomic transaction, and look-ups.
//!
//! Commands ([`commands`]) go to one writer thread, which commits a group of them at once ([`writer`]); what
//! a command does is in [`authorize`], [`operate`], [`cancel`], [`batch`] and [`accounts`]. Look-ups
//! ([`records`]) run on connections of their own ([`reader`]). The database itself holds what must be unique
//! and what sums may not exceed ([`database`], `schema.sql`).

mod accounts;
mod authorize;
pub(crate) mod backup;
mod batch;
mod canary;
mod cancel;
pub(crate) mod commands;
mod database;
mod ledger;
mod operate;
mod reader;
pub(crate) mod reconcile;
pub(crate) mod records;
mod rows;
mod writer;

use std::{path::Path, time::Instant};

use protocol::{
    identifiers::{Jti, Xid},
    names::{ClientName, MerchantName},
    time::Timestamp,
};

use commands::{
    Authorize, Authorized, BatchClosed, Cancel, CloseBatch, NewAccount, Operate, Operated,
};
use reader::Readers;
use reconcile::Reconciliation;
use records::{AccountRecord, BatchRecord, ExpiredHold, PaymentRecord, ReceiptRecord};
use writer::Writer;

/// The store of one gateway.
pub(crate) struct Store {
    // Closed before the writer, which brings the log back into the file as the last who has it open.
    readers: Readers,
    writer: Writer,
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

impl Store {
    /// Opens the database, or makes it.
    ///
    /// # Errors
    /// When the file is another program's, newer than this one, locked, or can't be written.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = database::open_for_writing(path)?;
        Ok(Self {
            readers: Readers::open(path)?,
            writer: Writer::start(connection)?,
        })
    }

    /// Decides an authorization request, durably, once.
    ///
    /// # Errors
    /// When the queue is full, or the store can't be written.
    pub(crate) async fn authorize(
        &self,
        command: Authorize,
        deadline: Instant,
    ) -> Result<Authorized, StoreError> {
        self.writer
            .run(deadline, move |transaction| {
                authorize::authorize(transaction, &command)
            })
            .await
    }

    /// Does something with a payment, durably, once.
    ///
    /// # Errors
    /// When the queue is full, or the store can't be written.
    pub(crate) async fn operate(
        &self,
        command: Operate,
        deadline: Instant,
    ) -> Result<Operated, StoreError> {
        self.writer
            .run(deadline, move |transaction| {
                operate::operate(transaction, &command)
            })
            .await
    }

    /// Withdraws a purchase that was not decided, durably, or tells what was. `None`, when the transaction was
    /// decided for another payer.
    ///
    /// # Errors
    /// When the queue is full, or the store can't be written.
    pub(crate) async fn cancel(
        &self,
        command: Cancel,
        deadline: Instant,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        self.writer
            .run(deadline, move |transaction| {
                cancel::cancel(transaction, &command)
            })
            .await
    }

    /// Closes a merchant's open batch, durably, once.
    ///
    /// # Errors
    /// When the queue is full, the store can't be written, or the ledger has another sum than the bookings.
    pub(crate) async fn close_batch(
        &self,
        command: CloseBatch,
        deadline: Instant,
    ) -> Result<BatchClosed, StoreError> {
        self.writer
            .run(deadline, move |transaction| {
                batch::close(transaction, &command)
            })
            .await
    }

    /// Ends holds that are over; a number of them at a time, none when none is left.
    ///
    /// # Errors
    /// When the queue is full, or the store can't be written.
    pub(crate) async fn expire(
        &self,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Vec<ExpiredHold>, StoreError> {
        self.writer
            .run(deadline, move |transaction| {
                operate::expire(transaction, now)
            })
            .await
    }

    /// Adds an account, unless the client has one with this label. Tells whether it did.
    ///
    /// # Errors
    /// When the store can't be written, or an instrument belongs to another account.
    pub(crate) async fn add_account(
        &self,
        account: NewAccount,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        self.writer
            .run(deadline, move |transaction| {
                accounts::add(transaction, &account, now)
            })
            .await
    }

    /// The receipt for a merchant's request, by its `jti`.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn find_by_request(
        &self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        self.readers
            .read(|connection| rows::by_request(connection, merchant, jti))
    }

    /// The payment of a transaction, as it is.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn find_by_xid(&self, xid: Xid) -> Result<Option<PaymentRecord>, StoreError> {
        self.readers
            .read(|connection| rows::by_xid(connection, xid))
    }

    /// Whether a transaction was decided.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn is_decided(&self, xid: Xid) -> Result<bool, StoreError> {
        self.readers
            .read(|connection| rows::is_decided(connection, xid))
    }

    /// The receipts of what was done with a payment after it was decided, oldest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn receipts_after(&self, xid: Xid) -> Result<Vec<ReceiptRecord>, StoreError> {
        self.readers
            .read(|connection| rows::after_decision(connection, xid))
    }

    /// A payer's cancellation of a transaction.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn find_cancellation(
        &self,
        client: &ClientName,
        xid: Xid,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        self.readers
            .read(|connection| rows::cancellation(connection, client, xid))
    }

    /// A merchant's closed batch.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn find_batch(
        &self,
        merchant: &MerchantName,
        batch: Jti,
    ) -> Result<Option<BatchRecord>, StoreError> {
        self.readers
            .read(|connection| batch::closed(connection, merchant, batch))
    }

    /// Every payment, newest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn payments(&self) -> Result<Vec<PaymentRecord>, StoreError> {
        self.readers.read(rows::payments)
    }

    /// All accounts, or those of one client.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn accounts(
        &self,
        client: Option<&ClientName>,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        self.readers
            .read(|connection| accounts::list(connection, client))
    }

    /// Adds the ledger and the payments up anew, and says what differs.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn reconcile(&self) -> Result<Vec<Reconciliation>, StoreError> {
        self.readers.read(reconcile::check)
    }

    /// What is wrong with the database file; nothing, as a rule.
    ///
    /// # Errors
    /// When it can't be read at all.
    pub(crate) fn faults(&self) -> Result<Vec<String>, StoreError> {
        self.readers.read(backup::faults)
    }

    /// Whether the store can be written and read.
    ///
    /// # Errors
    /// When not, or not by the deadline.
    pub(crate) async fn canary(&self, deadline: Instant) -> Result<(), StoreError> {
        let stamp = i64::from(std::process::id());
        self.writer
            .run(deadline, move |transaction| {
                canary::write(transaction, stamp)
            })
            .await?;
        self.readers.read(canary::read)
    }
}

#[cfg(test)]
mod tests;
