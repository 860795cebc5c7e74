//! The shared store: a PostgreSQL database, of which any number of gateways work at once.
//!
//! Commands are done in groups ([`group`]): what they need is read ahead with its locks ([`load`]) into a working set
//! ([`working_set`]), changed there, and written with one statement per table ([`changes`]). Look-ups use the same
//! pool of connections ([`database`]). None of the gateways is special, and none remembers anything of its own.

mod bare;
mod changes;
mod database;
mod group;
mod load;
mod look_ups;
pub(crate) mod moving;
mod outbox;
mod storage_keys;
mod working_set;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use deadpool_postgres::Pool;
use protocol::{
    identifiers::{Jti, Xid},
    names::{ClientName, MerchantName},
};
use tokio::time::timeout_at;

use self::{group::Groups, moving::NotMoved};
use super::{
    Store, StoreError,
    commands::{
        AddAccount, Authorize, Authorized, BatchClosed, Cancel, CloseBatch, EndHolds, Operate,
        Operated, Stamp,
    },
    reconcile::Reconciliation,
    records::{AccountRecord, BatchRecord, ExpiredHold, PaymentRecord, ReceiptRecord},
};
use crate::config::Postgres;

/// The store of many gateways.
pub(crate) struct PostgresStore {
    pool: Pool,
    groups: Groups,
}

impl PostgresStore {
    /// Connects, and makes or renews the schema.
    ///
    /// # Errors
    /// When the database can't be reached, is another program's, newer than this one, or would lose what it
    /// acknowledges.
    pub(crate) async fn open(config: &Postgres, directory: &Path) -> Result<Self, StoreError> {
        let pool = database::open(config, directory).await?;
        Ok(Self {
            groups: Groups::start(&pool),
            pool,
        })
    }

    /// Brings everything in a file of the embedded store's into this database, which is empty, all or nothing; tells
    /// how many rows.
    ///
    /// # Errors
    /// When one of the two can't be used, the database is not empty, or the ledger does not balance.
    pub(crate) async fn import(
        &self,
        file: &Path,
        told: impl FnMut(u64, u64),
    ) -> Result<u64, NotMoved> {
        moving::import(&self.pool, file, told).await
    }

    /// Writes everything, as it is at one moment, into a new file of the embedded store's; tells how many rows.
    ///
    /// # Errors
    /// When one of the two can't be used, or the ledger does not balance.
    pub(crate) async fn export(
        &self,
        file: &Path,
        told: impl FnMut(u64, u64),
    ) -> Result<u64, NotMoved> {
        moving::export(&self.pool, file, told).await
    }

    /// Writes what approvals of these requests come to, and nothing else; see [`bare`].
    ///
    /// # Errors
    /// When the store can't be written.
    pub(crate) async fn write_approvals(
        &self,
        requests: &[Authorize],
        group: usize,
    ) -> Result<Duration, StoreError> {
        bare::write_approvals(&self.pool, requests, group).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn authorize(
        &self,
        command: Authorize,
        deadline: Instant,
    ) -> Result<Authorized, StoreError> {
        self.groups.run(command, deadline).await
    }

    async fn operate(&self, command: Operate, deadline: Instant) -> Result<Operated, StoreError> {
        self.groups.run(command, deadline).await
    }

    async fn cancel(
        &self,
        command: Cancel,
        deadline: Instant,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        self.groups.run(command, deadline).await
    }

    async fn close_batch(
        &self,
        command: CloseBatch,
        deadline: Instant,
    ) -> Result<BatchClosed, StoreError> {
        self.groups.run(command, deadline).await
    }

    async fn end_holds(
        &self,
        command: EndHolds,
        deadline: Instant,
    ) -> Result<Vec<ExpiredHold>, StoreError> {
        self.groups.run(command, deadline).await
    }

    async fn add_account(
        &self,
        command: AddAccount,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        self.groups.run(command, deadline).await
    }

    async fn find_by_request(
        &self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        look_ups::request(&self.pool, merchant, jti).await
    }

    async fn find_by_xid(&self, xid: Xid) -> Result<Option<PaymentRecord>, StoreError> {
        look_ups::payment(&self.pool, xid).await
    }

    async fn is_decided(&self, xid: Xid) -> Result<bool, StoreError> {
        look_ups::is_decided(&self.pool, xid).await
    }

    async fn receipts_after(&self, xid: Xid) -> Result<Vec<ReceiptRecord>, StoreError> {
        look_ups::after_decision(&self.pool, xid).await
    }

    async fn find_cancellation(
        &self,
        client: &ClientName,
        xid: Xid,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        look_ups::cancellation(&self.pool, client, xid).await
    }

    async fn find_batch(
        &self,
        merchant: &MerchantName,
        batch: Jti,
    ) -> Result<Option<BatchRecord>, StoreError> {
        look_ups::closed_batch(&self.pool, merchant, batch).await
    }

    async fn payments(&self) -> Result<Vec<PaymentRecord>, StoreError> {
        look_ups::payments(&self.pool).await
    }

    async fn accounts(
        &self,
        client: Option<&ClientName>,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        look_ups::accounts(&self.pool, client).await
    }

    async fn reconcile(&self) -> Result<Vec<Reconciliation>, StoreError> {
        look_ups::reconcile(&self.pool).await
    }

    async fn canary(&self, deadline: Instant) -> Result<(), StoreError> {
        let stamp = Stamp(i64::from(std::process::id()));
        let works = async {
            self.groups.run(stamp, deadline).await?;
            look_ups::stamp(&self.pool).await
        };
        // Whether it becomes durable later is nobody's question.
        let late = |_| StoreError::Unavailable("the database does not answer".to_owned());
        timeout_at(deadline.into(), works).await.map_err(late)?
    }
}
