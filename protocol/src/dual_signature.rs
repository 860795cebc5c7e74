//! DS, the dual signature: one signature of the payer over two digests, of which the merchant sees
//! the order behind one and the gateway the payment behind the other.
//!
//! With `<DS>~<OI disclosure>~` the merchant holds a valid SD-JWT (RFC 9901), with `<DS>~<PI
//! disclosure>~` the gateway another, of one and the same signature.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    identifiers::{ClientNonce, Digest, MerchantNonce, Sid, Xid},
    json::Version,
    jws::Message,
    money::Amount,
    names::{GatewayName, MerchantName, Role},
    problem::{Problem, Refusal},
    sd_jwt::TwoDigests,
    time::Timestamp,
};

/// A merchant and the certificate that it signed the session's response with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningMerchant {
    /// Its name.
    pub id: MerchantName,
    /// SHA-256 of its signing certificate.
    pub x5t: Digest,
}

/// A gateway and the encryption certificate that PI is sealed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptingGateway {
    /// Its name.
    pub id: GatewayName,
    /// SHA-256 of its encryption certificate.
    pub x5t: Digest,
}

/// The hash algorithm of the digests; there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum DigestAlgorithm {
    /// SHA-256.
    #[serde(rename = "sha-256")]
    Sha256,
}

/// What the payer signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DualSignatureClaims)]
#[serde(deny_unknown_fields)]
pub struct DualSignature {
    /// 1.
    pub version: Version,
    /// The transaction.
    pub xid: Xid,
    /// When it was signed.
    pub iat: Timestamp,
    /// Until when it is good.
    pub exp: Timestamp,
    /// The client session.
    pub sid: Sid,
    /// The client's nonce in it.
    pub nc: ClientNonce,
    /// The merchant's nonce in it.
    pub nm: MerchantNonce,
    /// Whom it pays.
    pub merchant: SigningMerchant,
    /// Who may open PI.
    pub gateway: EncryptingGateway,
    /// How much, at most.
    pub amount: Amount,
    /// The digests of OI and PI.
    #[serde(rename = "_sd")]
    pub digests: TwoDigests,
    /// What they were made with.
    #[serde(rename = "_sd_alg")]
    pub digest_algorithm: DigestAlgorithm,
}

impl Message for DualSignature {
    const TYP: &'static str = "twinseal-ds+sd-jwt";
    const SIGNER: Role = Role::Client;
}

/// Splits `<DS>~<OI disclosure>~`, the merchant's half.
///
/// # Errors
/// `malformed` for any other number of parts.
pub fn split_merchant_half(text: &str) -> Result<(&str, &str), Refusal> {
    text.strip_suffix('~')
        .and_then(|rest| rest.split_once('~'))
        .filter(|(_, disclosure)| !disclosure.contains('~'))
        .ok_or_else(|| {
            Refusal::new(
                Problem::Malformed,
                "the dual signature is not followed by one disclosure",
            )
        })
}

/// Splits `<DS>~`, as the gateway gets it beside the sealed PI.
///
/// # Errors
/// `malformed` for any other number of parts.
pub fn split_gateway_half(text: &str) -> Result<&str, Refusal> {
    text.strip_suffix('~')
        .filter(|rest| !rest.contains('~'))
        .ok_or_else(|| {
            Refusal::new(
                Problem::Malformed,
                "the dual signature is not alone with its ~",
            )
        })
}
