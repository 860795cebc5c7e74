//! Message 5: the gateway's receipt, signed in the token, that payer and merchant can show to a third
//! party.

use serde::{Deserialize, Serialize};

use crate::{
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, MerchantNonce, Sid, Xid},
    json::Version,
    jws::Message,
    money::Amount,
    names::{GatewayName, MerchantName, PartyName, Role},
    problem::{Problem, Refusal},
    time::Timestamp,
};

/// What a receipt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// An authorization request was decided.
    Authorization,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// What an authorization has come to, in minor units of its amount's currency. All are net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Approved.
    pub authorized: u64,
    /// Booked.
    pub captured: u64,
    /// Released without being booked.
    pub reversed: u64,
    /// Given back after being booked.
    pub refunded: u64,
}

/// What the gateway decided, and about what: the statement that both others can prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Who asked.
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
    /// `h(authorization request JWS)`: what the merchant asked.
    pub reqh: Digest,
    /// Yes or no.
    pub decision: Decision,
    /// Why, two digits.
    pub code: String,
    /// Why, the code's name.
    pub reason: String,
    /// How much was asked for.
    pub amount: Amount,
    /// What it has come to.
    pub totals: Totals,
    /// What the gateway calls it; when approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationId>,
    /// Until when it can be captured; when approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_before: Option<Timestamp>,
}

impl Message for Receipt {
    const TYP: &'static str = "twinseal-receipt+jwt";
    const SIGNER: Role = Role::Gateway;

    fn names_signer(&self) -> Option<&PartyName> {
        Some(self.gateway.party())
    }

    fn check_members(&self) -> Result<(), Refusal> {
        let is_whole = Code::from_digits(&self.code)
            .is_some_and(|code| code.reason() == self.reason && code.decision() == self.decision);
        let is_approved = self.decision == Decision::Approved;
        if is_whole
            && self.authorization.is_some() == is_approved
            && self.capture_before.is_some() == is_approved
        {
            Ok(())
        } else {
            Err(Refusal::new(
                Problem::Malformed,
                "decision, code, reason and authorization do not go together",
            ))
        }
    }
}
