//! What the store is asked to do, once all checks have passed, and what comes of it.

use protocol::{
    authorization::Capture,
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, MerchantNonce, Sid, Xid},
    money::{Amount, Currency},
    names::{ClientName, MerchantName},
    payment_information::Expiry,
    receipt::Action,
    time::Timestamp,
};

use super::{
    outbox::Subscribers,
    records::{BatchRecord, ReceiptRecord},
};
use crate::{
    card_issuer::{Status, Velocity},
    payment::{LimitExceeded, NotUndone},
};

/// The first word about a purchase: decide it.
pub(crate) struct Authorize {
    pub(crate) merchant: MerchantName,
    pub(crate) jti: Jti,
    pub(crate) reqh: Digest,
    pub(crate) signed: SignedByPayer,
    /// SHA-256 of the client's public point: what its instruments belong to.
    pub(crate) client_key: Digest,
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

/// What every receipt about a purchase repeats of the payer's signature.
#[derive(Debug, Clone)]
pub(crate) struct SignedByPayer {
    pub(crate) xid: Xid,
    pub(crate) client: ClientName,
    pub(crate) client_x5t: Digest,
    pub(crate) sid: Sid,
    pub(crate) nc: ClientNonce,
    pub(crate) nm: MerchantNonce,
    pub(crate) dsh: Digest,
}

/// What payer and merchant asked for. It has no Debug.
#[derive(Clone)]
pub(crate) struct Evidence {
    pub(crate) request: String,
    pub(crate) dual_signature: Option<String>,
    /// The PI disclosure under the token's data key.
    pub(crate) payment_information: Option<Vec<u8>>,
}

impl Evidence {
    /// What there is of a request that the merchant alone signed.
    pub(super) fn of_request(request: &str) -> Self {
        Self {
            request: request.to_owned(),
            dual_signature: None,
            payment_information: None,
        }
    }
}

/// What came of an authorization request.
pub(crate) enum Authorized {
    /// Decided now.
    Decided(ReceiptRecord),
    /// Decided before, for the very same request.
    Answered(ReceiptRecord),
    /// The `jti` was used by another request.
    IdempotencyConflict,
    /// The transaction was decided for another request.
    Replayed,
}

/// Something to be done with a payment: a capture, a reversal, a refund, or one of them undone.
pub(crate) struct Operate {
    pub(crate) merchant: MerchantName,
    pub(crate) jti: Jti,
    pub(crate) reqh: Digest,
    pub(crate) action: Action,
    pub(crate) xid: Xid,
    pub(crate) amount: Amount,
    /// The `jti` of the booking that is undone.
    pub(crate) target: Option<Jti>,
    pub(crate) request: String,
    pub(crate) receipt_jti: Jti,
    pub(crate) now: Timestamp,
}

/// What came of it.
pub(crate) enum Operated {
    /// Done now.
    Done(ReceiptRecord),
    /// Done before, for the very same request.
    Answered(ReceiptRecord),
    /// The `jti` was used by another request.
    IdempotencyConflict,
    /// There is no such payment of this merchant's.
    UnknownAuthorization,
    /// The amount is in another currency than the payment.
    OtherCurrency,
    /// What remains does not allow it.
    Refused(Limit),
}

/// What does not allow an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Limit {
    #[error(transparent)]
    Payment(#[from] LimitExceeded),
    #[error("the booking can't be undone: {0}")]
    Booking(#[from] NotUndone),
    #[error("there is no such booking to undo")]
    NoSuchBooking,
    #[error("the payer has spent what was refunded")]
    Spent,
    #[error("the payment has as many operations as it may have")]
    TooMany,
}

/// The payer withdraws a signed purchase.
pub(crate) struct Cancel {
    pub(crate) signed: SignedByPayer,
    /// Who was to be paid, and how much at most.
    pub(crate) merchant: MerchantName,
    pub(crate) amount: Amount,
    pub(crate) reqh: Digest,
    pub(crate) evidence: Evidence,
    pub(crate) receipt_jti: Jti,
    pub(crate) now: Timestamp,
    pub(crate) subscribers: Subscribers,
}

/// A merchant closes its open batch of a currency.
pub(crate) struct CloseBatch {
    pub(crate) merchant: MerchantName,
    pub(crate) jti: Jti,
    pub(crate) reqh: Digest,
    pub(crate) currency: Currency,
    pub(crate) request: String,
    pub(crate) receipt_jti: Jti,
    pub(crate) now: Timestamp,
    pub(crate) subscribers: Subscribers,
}

/// What came of it.
pub(crate) enum BatchClosed {
    /// Closed, now or before by the very same request.
    Closed(BatchRecord),
    /// The `jti` was used by another request.
    IdempotencyConflict,
}

/// Ends holds that are over.
pub(crate) struct EndHolds {
    pub(crate) now: Timestamp,
    pub(crate) subscribers: Subscribers,
}

/// Writes what says nothing, to see whether the store can be written.
pub(crate) struct Stamp(pub(crate) i64);

/// Adds an account, unless the client has one with this label.
pub(crate) struct AddAccount {
    pub(crate) account: NewAccount,
    pub(crate) now: Timestamp,
}

/// An account to be added.
#[derive(Clone)]
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
#[derive(Clone)]
pub(crate) struct NewInstrument {
    pub(crate) index: [u8; 32],
    pub(crate) kind: &'static str,
    pub(crate) last_four: String,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) status: Status,
}
