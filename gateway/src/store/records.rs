//! What the store knows, as it is told.

use protocol::{
    identifiers::{AuthorizationId, Digest, Jti, Xid},
    lifecycle::BatchTotals,
    money::{Amount, Currency},
    names::MerchantName,
    receipt::{Action, Code, Totals},
    time::Timestamp,
};

use super::commands::SignedByPayer;
use crate::payment::Payment;

/// A durable decision, operation or cancellation: what its receipt says.
#[derive(Debug, Clone)]
pub(crate) struct ReceiptRecord {
    pub(crate) action: Action,
    pub(crate) target: Option<Jti>,
    pub(crate) receipt_jti: Jti,
    pub(crate) iat: Timestamp,
    pub(crate) merchant: MerchantName,
    pub(crate) signed: SignedByPayer,
    pub(crate) reqh: Digest,
    pub(crate) code: Code,
    pub(crate) amount: Amount,
    pub(crate) totals: Totals,
    pub(crate) authorization: Option<AuthorizationId>,
    pub(crate) capture_before: Option<Timestamp>,
}

/// A decided payment as it is now.
#[derive(Debug, Clone)]
pub(crate) struct PaymentRecord {
    /// What was decided.
    pub(crate) decision: ReceiptRecord,
    /// What it has come to; none when it was declined.
    pub(crate) payment: Option<Payment>,
    /// The last four of what was paid with.
    pub(crate) last_four: Option<String>,
}

/// A hold that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpiredHold {
    pub(crate) xid: Xid,
    pub(crate) merchant: MerchantName,
    /// What was released, in minor units.
    pub(crate) released: u64,
}

/// A closed batch.
#[derive(Debug, Clone)]
pub(crate) struct BatchRecord {
    /// The `jti` of the request that closed it: what it is called.
    pub(crate) batch: Jti,
    pub(crate) merchant: MerchantName,
    pub(crate) currency: Currency,
    pub(crate) closed_at: Timestamp,
    pub(crate) reqh: Digest,
    pub(crate) totals: BatchTotals,
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
