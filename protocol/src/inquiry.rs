//! The proof that a payer shows to read of its own purchase (header `Twinseal-Proof`), and what the
//! gateway publishes of its certificates.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    identifiers::{Jti, Xid},
    json::Version,
    jws::{Message, Verified},
    names::{GatewayName, PartyName, Role},
    problem::{Problem, Refusal},
    receipt::ReceiptJws,
    schema::{Base64Der, Chain, Jws},
    time::{Skew, Timestamp},
};

/// The HTTP header that carries it.
pub const HEADER: &str = "twinseal-proof";

/// How long a proof is good, in seconds, beside the skew.
pub const LIFETIME_SECONDS: u64 = 60;

/// What the payer signs to ask about a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = InquiryClaims)]
#[serde(deny_unknown_fields)]
pub struct Inquiry {
    /// 1.
    pub version: Version,
    /// This proof.
    pub jti: Jti,
    /// When it was made.
    pub iat: Timestamp,
    /// Who is asked.
    pub aud: PartyName,
    /// The transaction.
    pub xid: Xid,
}

/// The proof as it travels.
pub type InquiryJws = Jws<Inquiry>;

impl Message for Inquiry {
    const TYP: &'static str = "twinseal-inquiry+jwt";
    const SIGNER: Role = Role::Client;
}

/// Holds a verified proof against who is asked, what about, and when. Whether its signer is the
/// transaction's client is for who keeps the transaction to say.
///
/// # Errors
/// `challenge-mismatch` for another party or transaction, `expired`, `not-yet-valid`.
pub fn check_proof(
    proof: &Verified<Inquiry>,
    asked: &PartyName,
    xid: Xid,
    skew: Skew,
    now: Timestamp,
) -> Result<(), Refusal> {
    let claims = proof.claims();
    if &claims.aud != asked || claims.xid != xid {
        return Err(Refusal::new(
            Problem::ChallengeMismatch,
            "the proof is for another party or transaction",
        ));
    }
    skew.check_window(claims.iat, claims.iat.plus(LIFETIME_SECONDS), now)
}

/// `GET /v1/certificates` at the gateway: what others need to seal to it and to verify it. Each
/// certificate proves itself, so nothing here is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// 1.
    pub version: Version,
    /// Whose they are.
    pub gateway: GatewayName,
    /// The chains of live encryption certificates, standard base64, the one to use first.
    #[schema(value_type = Vec<Chain>)]
    pub encryption: Vec<Vec<String>>,
    /// The chains of live signing certificates.
    #[schema(value_type = Vec<Chain>)]
    pub signing: Vec<Vec<String>>,
    /// The CRLs of the issuing CAs, standard base64 of DER.
    #[schema(value_type = Vec<Base64Der>)]
    pub crls: Vec<String>,
}

/// `GET /v1/authorizations/{xid}` and `GET /v1/receipts/{xid}`: all receipts of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipts {
    /// The gateway's JWS, oldest first.
    #[schema(value_type = Vec<ReceiptJws>)]
    pub receipts: Vec<String>,
}
