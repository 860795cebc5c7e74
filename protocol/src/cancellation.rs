//! The payer's cancellation: a signed purchase is withdrawn before it is decided, or it is learnt that it was
//! decided already.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    dual_signature::{DualSignature, split_gateway_half},
    identifiers::{Digest, Jti, Xid},
    json::{self, Version},
    jws::{Message, Received, Verified},
    names::{GatewayName, Role},
    pki::Trust,
    problem::{Problem, Refusal},
    schema::{GatewayHalf, Jws},
    time::{Skew, Timestamp},
};

/// What the payer signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CancellationClaims)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// 1.
    pub version: Version,
    /// This message.
    pub jti: Jti,
    /// When it was made.
    pub iat: Timestamp,
    /// Who is asked.
    pub gateway: GatewayName,
    /// The transaction that is withdrawn.
    pub xid: Xid,
    /// `h(DS)`: the signature that is withdrawn.
    pub dsh: Digest,
}

/// A cancellation as it travels.
pub type CancellationJws = Jws<Cancellation>;

impl Message for Cancellation {
    const TYP: &'static str = "twinseal-cancellation+jwt";
    const SIGNER: Role = Role::Client;
}

/// The body of `POST /v1/cancellations` at the gateway's payer listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancellationBody {
    /// The payer's JWS.
    #[schema(value_type = CancellationJws)]
    pub cancellation: String,
    /// `<DS>~`, the signature that is withdrawn.
    #[schema(value_type = GatewayHalf)]
    pub dual_signature: String,
}

/// A cancellation by the payer who signed the purchase: only [`VerifiedCancellation::read`] makes one.
pub struct VerifiedCancellation {
    cancellation: Verified<Cancellation>,
    dual_signature: Verified<DualSignature>,
}

impl VerifiedCancellation {
    /// Reads the body, verifies both signatures, and holds them against one another. The dual signature may
    /// be past its `exp`: withdrawing is possible for ever.
    ///
    /// # Errors
    /// `malformed`, `unsupported-version`, those of a certificate, `signature-invalid` (also another
    /// signer or `dsh`), `challenge-mismatch` for another transaction, `gateway-mismatch`,
    /// `not-yet-valid`.
    pub fn read(
        body: &[u8],
        gateway: &GatewayName,
        trust: &Trust,
        skew: Skew,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let body: CancellationBody = json::read(body)?;
        let cancellation = Received::<Cancellation>::read(&body.cancellation)?;
        let dual_signature =
            Received::<DualSignature>::read(split_gateway_half(&body.dual_signature)?)?;
        let cancellation = cancellation.verify(trust, now)?;
        let dual_signature = dual_signature.verify(trust, now)?;
        let (asked, signed) = (cancellation.claims(), dual_signature.claims());
        if cancellation.signer().name() != dual_signature.signer().name() {
            return Err(Refusal::new(
                Problem::SignatureInvalid,
                format!(
                    "{} cancels what {} signed",
                    cancellation.signer().name(),
                    dual_signature.signer().name()
                ),
            ));
        }
        if asked.dsh != dual_signature.hash() {
            return Err(Refusal::new(
                Problem::SignatureInvalid,
                "dsh is another signature's",
            ));
        }
        if asked.xid != signed.xid {
            return Err(Refusal::new(
                Problem::ChallengeMismatch,
                "xid is another transaction's",
            ));
        }
        if &asked.gateway != gateway || &signed.gateway.id != gateway {
            return Err(Refusal::new(
                Problem::GatewayMismatch,
                "meant for another gateway",
            ));
        }
        skew.check_issued(asked.iat, now)?;
        skew.check_issued(signed.iat, now)?;
        Ok(Self {
            cancellation,
            dual_signature,
        })
    }

    /// What the payer asks.
    pub fn cancellation(&self) -> &Verified<Cancellation> {
        &self.cancellation
    }

    /// What the payer withdraws.
    pub fn dual_signature(&self) -> &Verified<DualSignature> {
        &self.dual_signature
    }
}
