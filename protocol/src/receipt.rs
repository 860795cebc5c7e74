//! Message 5: the gateway's receipt, signed in the token, that payer and merchant can show to a third
//! party.

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, MerchantNonce, Sid, Xid},
    json::Version,
    jws::Message,
    money::Amount,
    names::{GatewayName, MerchantName, PartyName, Role},
    problem::{Problem, Refusal},
    schema::{self, Integer, Jws},
    time::Timestamp,
};

/// What a receipt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// An authorization request was decided.
    Authorization,
    /// What was held was booked, wholly or in part.
    Capture,
    /// A capture was undone, wholly or in part.
    CaptureReversal,
    /// What was held was released, wholly or in part.
    Reversal,
    /// What was booked was given back, wholly or in part.
    Refund,
    /// A refund was undone, wholly or in part.
    RefundReversal,
    /// The payer withdrew the purchase before it was decided.
    Cancellation,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 7] = [
        Action::Authorization,
        Action::Capture,
        Action::CaptureReversal,
        Action::Reversal,
        Action::Refund,
        Action::RefundReversal,
        Action::Cancellation,
    ];

    /// The word in a receipt.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Authorization => "authorization",
            Action::Capture => "capture",
            Action::CaptureReversal => "capture-reversal",
            Action::Reversal => "reversal",
            Action::Refund => "refund",
            Action::RefundReversal => "refund-reversal",
            Action::Cancellation => "cancellation",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }

    /// Whether it undoes an earlier booking, which it then names.
    pub const fn has_target(self) -> bool {
        matches!(self, Action::CaptureReversal | Action::RefundReversal)
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Approved: the amount is held, or booked.
    Approved,
    /// Declined: nothing is held.
    Declined,
}

/// Why, after ISO 8583 field 39.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// 00: approved.
    Approved,
    /// 05: the card issuer says no and does not say why.
    DoNotHonor,
    /// 17: the payer withdrew the purchase.
    CustomerCancellation,
    /// 51: too little money.
    InsufficientFunds,
    /// 54: the instrument is past its last month.
    ExpiredInstrument,
    /// 57: the instrument is unknown, or not this client's.
    NotPermitted,
    /// 61: above what one purchase may cost.
    AmountLimit,
    /// 62: the instrument or account is blocked.
    Restricted,
    /// 65: too many purchases in too short a time.
    VelocityLimit,
    /// 91: the card issuer can't be asked, and nothing is held.
    IssuerUnavailable,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 10] = [
        Code::Approved,
        Code::DoNotHonor,
        Code::CustomerCancellation,
        Code::InsufficientFunds,
        Code::ExpiredInstrument,
        Code::NotPermitted,
        Code::AmountLimit,
        Code::Restricted,
        Code::VelocityLimit,
        Code::IssuerUnavailable,
    ];

    /// The two digits.
    pub const fn digits(self) -> &'static str {
        match self {
            Code::Approved => "00",
            Code::DoNotHonor => "05",
            Code::CustomerCancellation => "17",
            Code::InsufficientFunds => "51",
            Code::ExpiredInstrument => "54",
            Code::NotPermitted => "57",
            Code::AmountLimit => "61",
            Code::Restricted => "62",
            Code::VelocityLimit => "65",
            Code::IssuerUnavailable => "91",
        }
    }

    /// The name that goes with them.
    pub const fn reason(self) -> &'static str {
        match self {
            Code::Approved => "approved",
            Code::DoNotHonor => "do-not-honor",
            Code::CustomerCancellation => "customer-cancellation",
            Code::InsufficientFunds => "insufficient-funds",
            Code::ExpiredInstrument => "expired-instrument",
            Code::NotPermitted => "not-permitted",
            Code::AmountLimit => "amount-limit",
            Code::Restricted => "restricted",
            Code::VelocityLimit => "velocity-limit",
            Code::IssuerUnavailable => "issuer-unavailable",
        }
    }

    /// Reads the two digits.
    pub fn from_digits(digits: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.digits() == digits)
    }

    /// What it comes to.
    pub const fn decision(self) -> Decision {
        match self {
            Code::Approved => Decision::Approved,
            _ => Decision::Declined,
        }
    }
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let meanings = Self::ALL.map(|code| format!("{} {}", code.digits(), code.reason()));
        let description = format!("Why, after ISO 8583 field 39: {}.", meanings.join(", "));
        schema::one_of(Self::ALL.map(Self::digits), &description).into()
    }
}

impl ToSchema for Code {}

/// The name that goes with a [`Code`].
enum Reason {}

impl PartialSchema for Reason {
    fn schema() -> RefOr<Schema> {
        schema::one_of(Code::ALL.map(Code::reason), "The code's name.").into()
    }
}

impl ToSchema for Reason {}

/// What an authorization has come to, in minor units of its amount's currency. All are net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Approved.
    #[schema(value_type = Integer)]
    pub authorized: u64,
    /// Booked.
    #[schema(value_type = Integer)]
    pub captured: u64,
    /// Released without being booked.
    #[schema(value_type = Integer)]
    pub reversed: u64,
    /// Given back after being booked.
    #[schema(value_type = Integer)]
    pub refunded: u64,
}

impl Totals {
    /// Whether the sums hold: captured + reversed ≤ authorized, refunded ≤ captured.
    pub fn holds(&self) -> bool {
        self.captured
            .checked_add(self.reversed)
            .is_some_and(|used| used <= self.authorized)
            && self.refunded <= self.captured
    }
}

/// What the gateway decided, and about what: the statement that both others can prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ReceiptClaims)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// 1.
    pub version: Version,
    /// This receipt; fixed with the decision.
    pub jti: Jti,
    /// When it was decided; fixed with the decision.
    pub iat: Timestamp,
    /// What it is about.
    pub action: Action,
    /// Who decided.
    pub gateway: GatewayName,
    /// Who asked; of a cancellation, who was to be paid.
    pub merchant: MerchantName,
    /// The digest of the payer's certificate.
    pub client: Digest,
    /// The transaction.
    pub xid: Xid,
    /// The client session.
    pub sid: Sid,
    /// The client's nonce in it.
    pub nc: ClientNonce,
    /// The merchant's nonce in it.
    pub nm: MerchantNonce,
    /// `h(DS)`: what the payer asked.
    pub dsh: Digest,
    /// `h(request JWS)`: what the merchant asked, or the payer who cancels.
    pub reqh: Digest,
    /// The `jti` of the capture or refund that was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub target: Option<Jti>,
    /// Yes or no.
    pub decision: Decision,
    /// Why, two digits.
    #[schema(value_type = Code)]
    pub code: String,
    /// Why, the code's name.
    #[schema(value_type = Reason)]
    pub reason: String,
    /// How much was asked for.
    pub amount: Amount,
    /// What it has come to.
    pub totals: Totals,
    /// What the gateway calls it; when approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub authorization: Option<AuthorizationId>,
    /// Until when it can be captured; when approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub capture_before: Option<Timestamp>,
}

/// A receipt as it travels.
pub type ReceiptJws = Jws<Receipt>;

impl Message for Receipt {
    const TYP: &'static str = "twinseal-receipt+jwt";
    const SIGNER: Role = Role::Gateway;

    fn names_signer(&self) -> Option<&PartyName> {
        Some(self.gateway.party())
    }

    fn check_members(&self) -> Result<(), Refusal> {
        let contradiction = |detail| Err(Refusal::new(Problem::Malformed, detail));
        let is_whole = Code::from_digits(&self.code)
            .is_some_and(|code| code.reason() == self.reason && code.decision() == self.decision);
        let is_approved = self.decision == Decision::Approved;
        let is_authorized = is_approved && self.action != Action::Cancellation;
        if !is_whole
            || self.authorization.is_some() != is_authorized
            || self.capture_before.is_some() != is_authorized
        {
            return contradiction("decision, code, reason and authorization do not go together");
        }
        // Only an authorization can be declined; what else can't be done is a problem, not a receipt.
        if !is_approved && self.action != Action::Authorization {
            return contradiction("a declined action that is no authorization");
        }
        if self.target.is_some() != self.action.has_target() {
            return contradiction("a target where there is none, or none where there is one");
        }
        if !self.totals.holds() || (self.totals.authorized > 0) != is_authorized {
            return contradiction("totals that contradict one another");
        }
        Ok(())
    }
}
