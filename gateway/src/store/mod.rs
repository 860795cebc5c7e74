//! The durable store: domain commands, each one atomic transaction, and look-ups.
//!
//! Commands go to one writer thread, which commits a group of them at once ([`writer`]); what a command
//! does is in [`authorize`] and [`accounts`]. Look-ups run on connections of their own ([`reader`]). The
//! database itself holds what must be unique and what sums may not exceed ([`database`], `schema.sql`).

mod accounts;
mod authorize;
mod database;
mod ledger;
mod reader;
mod rows;
mod writer;

use std::path::Path;

use protocol::{
    authorization::Capture,
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, MerchantNonce, Sid, Xid},
    money::{Amount, Currency},
    names::{ClientName, MerchantName},
    payment_information::Expiry,
    receipt::{Code, Totals},
    time::Timestamp,
};

use crate::card_issuer::{Status, Velocity};
use reader::Readers;
use writer::Writer;

/// The store of one gateway.
pub(crate) struct Store {
    writer: Writer,
    readers: Readers,
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
}

/// What an authorization request comes to, once all its checks have passed.
pub(crate) struct Authorize {
    pub(crate) merchant: MerchantName,
    pub(crate) jti: Jti,
    pub(crate) reqh: Digest,
    pub(crate) xid: Xid,
    pub(crate) sid: Sid,
    pub(crate) client: ClientName,
    /// SHA-256 of the client's public point: what its instruments belong to.
    pub(crate) client_key: Digest,
    pub(crate) client_x5t: Digest,
    pub(crate) nc: ClientNonce,
    pub(crate) nm: MerchantNonce,
    pub(crate) dsh: Digest,
    pub(crate) amount: Amount,
    pub(crate) capture: Capture,
    /// The instrument's HMAC under the token's index key.
    pub(crate) instrument_index: [u8; 32],
    pub(crate) instrument_expiry: Option<Expiry>,
    pub(crate) instrument_last_four: String,
    pub(crate) evidence: Evidence,
    /// The receipt's `jti`, fixed with the decision.
    pub(crate) receipt_jti: Jti,
    /// What an approval will be called.
    pub(crate) authorization: AuthorizationId,
    pub(crate) now: Timestamp,
    pub(crate) capture_before: Timestamp,
}

/// What payer and merchant asked for. It has no Debug.
pub(crate) struct Evidence {
    pub(crate) authorization_request: String,
    pub(crate) dual_signature: String,
    /// The PI disclosure under the token's data key.
    pub(crate) payment_information: Vec<u8>,
}

/// What came of it.
pub(crate) enum Authorized {
    /// Decided now.
    Decided(DecisionRecord),
    /// Decided before, for the very same request.
    Answered(DecisionRecord),
    /// The `jti` was used by another request.
    IdempotencyConflict,
    /// The transaction was decided for another request.
    Replayed,
}

/// A durable decision: what its receipt says.
#[derive(Debug, Clone)]
pub(crate) struct DecisionRecord {
    pub(crate) receipt_jti: Jti,
    pub(crate) iat: Timestamp,
    pub(crate) merchant: MerchantName,
    pub(crate) client: ClientName,
    pub(crate) client_x5t: Digest,
    pub(crate) xid: Xid,
    pub(crate) sid: Sid,
    pub(crate) nc: ClientNonce,
    pub(crate) nm: MerchantNonce,
    pub(crate) dsh: Digest,
    pub(crate) reqh: Digest,
    pub(crate) code: Code,
    pub(crate) amount: Amount,
    pub(crate) totals: Totals,
    pub(crate) authorization: Option<AuthorizationId>,
    pub(crate) capture_before: Option<Timestamp>,
    /// The last four of what was paid with.
    pub(crate) last_four: Option<String>,
}

/// An account to be added.
pub(crate) struct NewAccount {
    pub(crate) label: String,
    pub(crate) client: ClientName,
    pub(crate) client_key: Digest,
    pub(crate) currency: Currency,
    /// Minor units.
    pub(crate) funds: u64,
    pub(crate) amount_limit: Option<u64>,
    pub(crate) velocity: Option<Velocity>,
    pub(crate) status: Status,
    pub(crate) instruments: Vec<NewInstrument>,
}

/// An instrument to be added.
pub(crate) struct NewInstrument {
    pub(crate) index: [u8; 32],
    pub(crate) kind: &'static str,
    pub(crate) last_four: String,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) status: Status,
}

/// An account as it is.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct AccountRecord {
    pub(crate) client: String,
    pub(crate) label: String,
    pub(crate) currency: String,
    /// Minor units that can be spent.
    pub(crate) available: u64,
    /// Minor units that are held for authorizations.
    pub(crate) held: u64,
    pub(crate) status: String,
    pub(crate) instruments: Vec<InstrumentRecord>,
}

/// An instrument as it is.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct InstrumentRecord {
    pub(crate) kind: String,
    pub(crate) last_four: String,
    pub(crate) expiry: Option<String>,
    pub(crate) status: String,
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
    pub(crate) async fn authorize(&self, command: Authorize) -> Result<Authorized, StoreError> {
        self.writer
            .run(move |transaction| authorize::authorize(transaction, &command))
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
    ) -> Result<bool, StoreError> {
        self.writer
            .run(move |transaction| accounts::add(transaction, &account, now))
            .await
    }

    /// The decision on a merchant's request, by its `jti`.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn find_by_request(
        &self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<DecisionRecord>, StoreError> {
        self.readers
            .read(|connection| rows::by_request(connection, merchant, jti))
    }

    /// The decision on a transaction.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) fn find_by_xid(&self, xid: Xid) -> Result<Option<DecisionRecord>, StoreError> {
        self.readers
            .read(|connection| rows::by_xid(connection, xid))
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

    /// Whether the store can be read.
    ///
    /// # Errors
    /// When not.
    pub(crate) fn ping(&self) -> Result<(), StoreError> {
        self.readers
            .read(|connection| connection.query_row("SELECT 1", [], |_| Ok(())))
    }
}

#[cfg(test)]
mod tests;
