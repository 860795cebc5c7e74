//! What a merchant asks for after an authorization: captures, reversals, refunds, and undoing a capture or
//! a refund; and the closing of a batch.
//!
//! The five requests differ in their `typ` and in whether they name a `target`; [`Operation`] says both.
//! The way of a received one: [`ReceivedLifecycle::read`] looks at its form, [`ReceivedLifecycle::verify`]
//! says which merchant asks (so that an earlier answer can be given again), and
//! [`RequestedLifecycle::check_first`] says whether it may be done for the first time now.

mod described;

pub use described::{BatchJws, BodyOf, ClaimsOf, OperationJws};

use std::marker::PhantomData;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use crate::{
    identifiers::{Digest, Jti, Xid},
    json::{self, Version},
    jws::{Message, Received, Verified},
    money::{Amount, Currency},
    names::{GatewayName, MerchantName, PartyName, Role},
    pki::Trust,
    problem::{Problem, Refusal},
    receipt::Action,
    schema::{Integer, Jws},
    time::{Skew, Timestamp},
};

/// How long after it was made a request may be done for the first time, in seconds, beside the skew. A later
/// one is never done: its sender may have given it up long ago.
pub const FIRST_PROCESSING_SECONDS_MAX: u64 = 300;

/// One of the things that can be asked of an authorization.
pub trait Operation: Send + Sync + 'static {
    /// The exact `typ` of its request.
    const TYP: &'static str;
    /// What its receipt is about.
    const ACTION: Action;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident: $typ:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {}

        impl Operation for $name {
            const TYP: &'static str = $typ;
            const ACTION: Action = Action::$name;
        }
    )* };
}

operations! {
    /// Books a part of what is held, or all of it (SET's CapReq).
    Capture: "twinseal-capture+jwt";
    /// Undoes a capture, wholly or in part (CapRevReq).
    CaptureReversal: "twinseal-capture-reversal+jwt";
    /// Releases a part of what is held, or all of it (AuthRevReq).
    Reversal: "twinseal-reversal+jwt";
    /// Gives a part of what was booked back, or all of it (CredReq).
    Refund: "twinseal-refund+jwt";
    /// Undoes a refund, wholly or in part (CredRevReq).
    RefundReversal: "twinseal-refund-reversal+jwt";
}

/// What the merchant signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, bound = "")]
#[schema(bound = "")]
pub struct LifecycleRequest<O> {
    /// 1.
    pub version: Version,
    /// The idempotency key: the same request has the same one.
    pub jti: Jti,
    /// When it was made.
    pub iat: Timestamp,
    /// Who asks.
    pub merchant: MerchantName,
    /// Who is asked.
    pub gateway: GatewayName,
    /// The transaction.
    pub xid: Xid,
    /// How much; always said, also when it is all.
    pub amount: Amount,
    /// The `jti` of the capture or refund that is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub target: Option<Jti>,
    /// Which operation; it travels as the `typ`.
    #[serde(skip)]
    pub operation: PhantomData<O>,
}

impl<O: Operation> Message for LifecycleRequest<O>
where
    Self: Serialize + DeserializeOwned,
{
    const TYP: &'static str = O::TYP;
    const SIGNER: Role = Role::Merchant;

    fn names_signer(&self) -> Option<&PartyName> {
        Some(self.merchant.party())
    }

    fn check_members(&self) -> Result<(), Refusal> {
        if self.target.is_some() == O::ACTION.has_target() {
            Ok(())
        } else {
            Err(Refusal::new(
                Problem::Malformed,
                "a target where there is none, or none where there is one",
            ))
        }
    }
}

/// The body of `POST /v1/captures`, `/v1/reversals`, `/v1/refunds` and their reversals, and of
/// `/v1/batches`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LifecycleBody {
    /// The merchant's JWS.
    pub request: String,
}

/// A lifecycle request whose form was read.
pub struct ReceivedLifecycle<O>(Received<LifecycleRequest<O>>);

impl<O: Operation> ReceivedLifecycle<O> {
    /// Reads the body, and the merchant's JWS in it.
    ///
    /// # Errors
    /// `malformed`, `unsupported-version`, `signature-invalid` for another algorithm.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let body: LifecycleBody = json::read(body)?;
        Received::read(&body.request).map(Self)
    }

    /// Verifies the merchant's signature, and that signer, named merchant and TLS peer are one.
    ///
    /// # Errors
    /// `merchant-mismatch`, those of a certificate, `signature-invalid`.
    pub fn verify(
        self,
        peer: &PartyName,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<RequestedLifecycle, Refusal> {
        check_peer(peer, &self.0.unverified().merchant)?;
        let request = self.0.verify(trust, now)?;
        let claims = request.claims();
        Ok(RequestedLifecycle {
            action: O::ACTION,
            jti: claims.jti,
            iat: claims.iat,
            merchant: claims.merchant.clone(),
            gateway: claims.gateway.clone(),
            xid: claims.xid,
            amount: claims.amount,
            target: claims.target,
            hash: request.hash(),
            compact: request.compact().to_owned(),
        })
    }
}

fn check_peer(peer: &PartyName, named: &MerchantName) -> Result<(), Refusal> {
    if named.party() == peer {
        return Ok(());
    }
    Err(Refusal::new(
        Problem::MerchantMismatch,
        format!("{peer} asks in the name of {named}"),
    ))
}

/// Whether a request that no answer is known for may be done now.
fn check_first(
    named: &GatewayName,
    iat: Timestamp,
    gateway: &GatewayName,
    skew: Skew,
    now: Timestamp,
) -> Result<(), Refusal> {
    if named != gateway {
        return Err(Refusal::new(
            Problem::GatewayMismatch,
            "meant for another gateway",
        ));
    }
    skew.check_window(iat, iat.plus(FIRST_PROCESSING_SECONDS_MAX), now)
}

/// A lifecycle request with a known merchant: only [`ReceivedLifecycle::verify`] makes one.
pub struct RequestedLifecycle {
    action: Action,
    jti: Jti,
    iat: Timestamp,
    merchant: MerchantName,
    gateway: GatewayName,
    xid: Xid,
    amount: Amount,
    target: Option<Jti>,
    hash: Digest,
    compact: String,
}

impl RequestedLifecycle {
    /// What is asked.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The idempotency key.
    pub fn jti(&self) -> Jti {
        self.jti
    }

    /// Who asks.
    pub fn merchant(&self) -> &MerchantName {
        &self.merchant
    }

    /// The transaction.
    pub fn xid(&self) -> Xid {
        self.xid
    }

    /// How much.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// What is undone.
    pub fn target(&self) -> Option<Jti> {
        self.target
    }

    /// `h(JWS)`, over the text as it came.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The text as it came: evidence.
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// Whether it may be done for the first time now: it is meant for this gateway, and was made lately.
    ///
    /// # Errors
    /// `gateway-mismatch`, `expired`, `not-yet-valid`.
    pub fn check_first(
        &self,
        gateway: &GatewayName,
        skew: Skew,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        check_first(&self.gateway, self.iat, gateway, skew, now)
    }
}

/// `POST /v1/batches`: the merchant closes its open batch of one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BatchClaims)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// 1.
    pub version: Version,
    /// The idempotency key, and what the closed batch is called.
    pub jti: Jti,
    /// When it was made.
    pub iat: Timestamp,
    /// Who asks.
    pub merchant: MerchantName,
    /// Who is asked.
    pub gateway: GatewayName,
    /// Which of its batches.
    pub currency: Currency,
}

impl Message for BatchRequest {
    const TYP: &'static str = "twinseal-batch+jwt";
    const SIGNER: Role = Role::Merchant;

    fn names_signer(&self) -> Option<&PartyName> {
        Some(self.merchant.party())
    }
}

/// A batch request whose form was read.
pub struct ReceivedBatch(Received<BatchRequest>);

impl ReceivedBatch {
    /// Reads the body, and the merchant's JWS in it.
    ///
    /// # Errors
    /// `malformed`, `unsupported-version`, `signature-invalid` for another algorithm.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let body: LifecycleBody = json::read(body)?;
        Received::read(&body.request).map(Self)
    }

    /// Verifies the merchant's signature, and that signer, named merchant and TLS peer are one.
    ///
    /// # Errors
    /// `merchant-mismatch`, those of a certificate, `signature-invalid`.
    pub fn verify(
        self,
        peer: &PartyName,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<RequestedBatch, Refusal> {
        check_peer(peer, &self.0.unverified().merchant)?;
        self.0.verify(trust, now).map(RequestedBatch)
    }
}

/// A batch request with a known merchant: only [`ReceivedBatch::verify`] makes one.
pub struct RequestedBatch(Verified<BatchRequest>);

impl RequestedBatch {
    /// What the merchant asks.
    pub fn request(&self) -> &Verified<BatchRequest> {
        &self.0
    }

    /// Whether it may be done for the first time now.
    ///
    /// # Errors
    /// `gateway-mismatch`, `expired`, `not-yet-valid`.
    pub fn check_first(
        &self,
        gateway: &GatewayName,
        skew: Skew,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let claims = self.0.claims();
        check_first(&claims.gateway, claims.iat, gateway, skew, now)
    }
}

/// How many bookings of one kind a batch holds, and what they come to in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchLine {
    /// How many.
    #[schema(value_type = Integer)]
    pub count: u64,
    /// Their sum, in minor units of the batch's currency.
    #[schema(value_type = Integer)]
    pub value: u64,
}

/// What a batch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchTotals {
    /// Captures, those with an authorization included.
    pub captures: BatchLine,
    /// Captures undone.
    pub capture_reversals: BatchLine,
    /// Refunds.
    pub refunds: BatchLine,
    /// Refunds undone.
    pub refund_reversals: BatchLine,
    /// What the merchant is to be paid, in minor units.
    #[schema(value_type = Integer)]
    pub payable: u64,
    /// What the merchant owes, in minor units. One of the two is zero.
    #[schema(value_type = Integer)]
    pub receivable: u64,
}

impl BatchTotals {
    /// Adds the four lines up; `None` when a sum is above any integer.
    pub fn of(
        captures: BatchLine,
        capture_reversals: BatchLine,
        refunds: BatchLine,
        refund_reversals: BatchLine,
    ) -> Option<Self> {
        let credit = captures.value.checked_add(refund_reversals.value)?;
        let debit = capture_reversals.value.checked_add(refunds.value)?;
        Some(Self {
            captures,
            capture_reversals,
            refunds,
            refund_reversals,
            payable: credit.saturating_sub(debit),
            receivable: debit.saturating_sub(credit),
        })
    }
}

/// What a closed batch came to, signed by the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClosedBatchClaims)]
#[serde(deny_unknown_fields)]
pub struct ClosedBatch {
    /// 1.
    pub version: Version,
    /// The `jti` of the request that closed it: what the batch is called.
    pub batch: Jti,
    /// When it was closed.
    pub iat: Timestamp,
    /// Who closed it.
    pub gateway: GatewayName,
    /// Whose it is.
    pub merchant: MerchantName,
    /// Its currency.
    pub currency: Currency,
    /// `h(batch request JWS)`.
    pub reqh: Digest,
    /// What it came to.
    pub totals: BatchTotals,
}

/// A closed batch's totals as they travel.
pub type ClosedBatchJws = Jws<ClosedBatch>;

impl Message for ClosedBatch {
    const TYP: &'static str = "twinseal-batch-totals+jwt";
    const SIGNER: Role = Role::Gateway;

    fn names_signer(&self) -> Option<&PartyName> {
        Some(self.gateway.party())
    }

    fn check_members(&self) -> Result<(), Refusal> {
        let totals = &self.totals;
        let summed = BatchTotals::of(
            totals.captures,
            totals.capture_reversals,
            totals.refunds,
            totals.refund_reversals,
        );
        if summed.as_ref() == Some(totals) {
            Ok(())
        } else {
            Err(Refusal::new(
                Problem::Malformed,
                "the batch's totals do not add up",
            ))
        }
    }
}

/// The body of the answer to `POST /v1/batches` and `GET /v1/batches/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchResponse {
    /// The gateway's JWS.
    #[schema(value_type = ClosedBatchJws)]
    pub batch: String,
}
