//! Message 4, the authorization request, and the gateway's checks of it, in the protocol's order.
//!
//! The way of a received one: [`ReceivedAuthorization::read`] looks at its form,
//! [`ReceivedAuthorization::verify_request`] says which merchant asks (so that an earlier answer can
//! be given again), [`RequestedAuthorization::verify_binding`] verifies the payer's signature and that all
//! parts belong together, [`BoundAuthorization::open`] opens PI (or [`BoundAuthorization::opened`] takes what a token opened). Each step makes the next one's type.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    dual_signature::{DualSignature, split_gateway_half},
    identifiers::{Digest, Jti, Sid, Xid},
    json::{self, Version},
    jws::{Message, Received, Verified},
    money::Amount,
    names::{GatewayName, MerchantName, PartyName, Role},
    pki::Trust,
    problem::{Problem, Refusal},
    receipt::ReceiptJws,
    schema::{GatewayHalf, Jws, SealedPaymentInformation},
    sealed_payment::{OpenedPayment, PointBytes, SealedPayment},
    time::{Skew, Timestamp},
};

/// When the money is to be booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CaptureTime)]
pub enum Capture {
    /// With a capture request of its own: the amount is held until then.
    Later,
    /// With the authorization.
    Now,
}

/// What the merchant signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuthorizationClaims)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationRequest {
    /// 1.
    pub version: Version,
    /// The idempotency key: the same request has the same one.
    pub jti: Jti,
    /// When it was made.
    pub iat: Timestamp,
    /// The transaction.
    pub xid: Xid,
    /// The client session.
    pub sid: Sid,
    /// Who asks.
    pub merchant: MerchantName,
    /// Who is asked.
    pub gateway: GatewayName,
    /// `h(DS)`.
    pub dsh: Digest,
    /// `h(JWE)`.
    pub pih: Digest,
    /// The digest of the OI disclosure.
    pub oid: Digest,
    /// How much: the signed amount or less.
    pub amount: Amount,
    /// When it is to be booked.
    pub capture: Capture,
}

/// The merchant's request as it travels.
pub type AuthorizationJws = Jws<AuthorizationRequest>;

impl Message for AuthorizationRequest {
    const TYP: &'static str = "twinseal-authorization+jwt";
    const SIGNER: Role = Role::Merchant;

    fn names_signer(&self) -> Option<&PartyName> {
        Some(self.merchant.party())
    }
}

/// The body of `POST /v1/authorizations` at the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationBody {
    /// The merchant's JWS.
    #[schema(value_type = AuthorizationJws)]
    pub authorization_request: String,
    /// `<DS>~`.
    #[schema(value_type = GatewayHalf)]
    pub dual_signature: String,
    /// The sealed PI, a compact JWE.
    #[schema(value_type = SealedPaymentInformation)]
    pub payment_information: String,
}

/// The answer's body: the gateway's JWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationResponse {
    /// The receipt.
    #[schema(value_type = ReceiptJws)]
    pub receipt: String,
}

/// What a gateway may refuse an authorization request with. The merchant relays it to the payer.
pub const PROBLEMS: &[Problem] = &[
    Problem::Malformed,
    Problem::UnsupportedVersion,
    Problem::SignatureInvalid,
    Problem::CertificateUntrusted,
    Problem::CertificateRevoked,
    Problem::CertificateExpired,
    Problem::RoleMismatch,
    Problem::ChallengeMismatch,
    Problem::Expired,
    Problem::NotYetValid,
    Problem::AmountMismatch,
    Problem::MerchantMismatch,
    Problem::GatewayMismatch,
    Problem::PaymentInformationInvalid,
    Problem::Replayed,
    Problem::IdempotencyConflict,
    Problem::TooLarge,
    Problem::RateLimited,
    Problem::Overloaded,
    Problem::HsmUnavailable,
    Problem::StoreUnavailable,
    Problem::OutcomeUnknown,
    Problem::Internal,
];

/// A body whose form was read.
pub struct ReceivedAuthorization {
    request: Received<AuthorizationRequest>,
    dual_signature: String,
    payment_information: String,
}

impl ReceivedAuthorization {
    /// Reads the body, and the merchant's JWS in it.
    ///
    /// # Errors
    /// `malformed`, `unsupported-version`, `signature-invalid` for another algorithm.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let body: AuthorizationBody = json::read(body)?;
        Ok(Self {
            request: Received::read(&body.authorization_request)?,
            dual_signature: body.dual_signature,
            payment_information: body.payment_information,
        })
    }

    /// Verifies the merchant's signature, and that signer, named merchant and TLS peer are one.
    ///
    /// # Errors
    /// `merchant-mismatch`, those of a certificate, `signature-invalid`.
    pub fn verify_request(
        self,
        peer: &PartyName,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<RequestedAuthorization, Refusal> {
        let named = self.request.unverified().merchant.party();
        if named != peer {
            return Err(Refusal::new(
                Problem::MerchantMismatch,
                format!("{peer} asks in the name of {named}"),
            ));
        }
        Ok(RequestedAuthorization {
            request: self.request.verify(trust, now)?,
            dual_signature: self.dual_signature,
            payment_information: self.payment_information,
        })
    }
}

/// An authorization request with a known merchant; what it encloses was not looked at yet.
pub struct RequestedAuthorization {
    request: Verified<AuthorizationRequest>,
    dual_signature: String,
    payment_information: String,
}

/// What the gateway holds an authorization request against.
pub struct GatewayContext<'a> {
    /// Its own name.
    pub name: &'a GatewayName,
    /// The digests of its live encryption certificates.
    pub encryption_x5ts: &'a [Digest],
    /// Whom it trusts.
    pub trust: &'a Trust,
    /// How far clocks may be apart.
    pub skew: Skew,
    /// The moment it judges at.
    pub now: Timestamp,
}

impl RequestedAuthorization {
    /// What the merchant asks.
    pub fn request(&self) -> &Verified<AuthorizationRequest> {
        &self.request
    }

    /// Verifies the payer's signature, and that request, signature and sealed PI belong together and
    /// to this gateway.
    ///
    /// # Errors
    /// `signature-invalid`, `payment-information-invalid`, `gateway-mismatch`, those of a
    /// certificate, `expired`, `not-yet-valid`, `challenge-mismatch`, `merchant-mismatch`,
    /// `amount-mismatch`, `malformed`.
    pub fn verify_binding(
        self,
        gateway: &GatewayContext<'_>,
    ) -> Result<BoundAuthorization, Refusal> {
        let asked = self.request.claims();

        // The parts are those that the merchant signed for, and fit one another.
        let dual_signature: Received<DualSignature> =
            Received::read(split_gateway_half(&self.dual_signature)?)?;
        if dual_signature.hash() != asked.dsh {
            return Err(Refusal::new(
                Problem::SignatureInvalid,
                "dsh is another signature's",
            ));
        }
        let sealed = SealedPayment::read(&self.payment_information)?;
        if sealed.hash() != asked.pih {
            return Err(Refusal::new(
                Problem::PaymentInformationInvalid,
                "pih is another JWE's",
            ));
        }
        sealed.check_fits(asked.dsh, dual_signature.unverified().gateway.x5t)?;

        // The payer signed, with a certificate that is good now, and recently.
        let dual_signature = dual_signature.verify(gateway.trust, gateway.now)?;
        let signed = dual_signature.claims();
        gateway
            .skew
            .check_window(signed.iat, signed.exp, gateway.now)?;
        gateway.skew.check_issued(asked.iat, gateway.now)?;

        // Both speak of one purchase, at this merchant, through this gateway.
        if (signed.sid, signed.xid) != (asked.sid, asked.xid) {
            return Err(Refusal::new(
                Problem::ChallengeMismatch,
                "payer and merchant name different sessions or transactions",
            ));
        }
        if signed.merchant.id != asked.merchant {
            return Err(Refusal::new(
                Problem::MerchantMismatch,
                format!("the payer pays {}", signed.merchant.id),
            ));
        }
        if asked.amount.currency() != signed.amount.currency()
            || asked.amount.value() > signed.amount.value()
        {
            return Err(Refusal::new(
                Problem::AmountMismatch,
                format!("{} asked, {} signed", asked.amount, signed.amount),
            ));
        }
        if signed.merchant.x5t != self.request.signer().thumbprint() {
            return Err(Refusal::new(
                Problem::MerchantMismatch,
                "the payer signed for another certificate of this merchant",
            ));
        }
        if &asked.gateway != gateway.name || &signed.gateway.id != gateway.name {
            return Err(Refusal::new(
                Problem::GatewayMismatch,
                "meant for another gateway",
            ));
        }
        if !gateway.encryption_x5ts.contains(&signed.gateway.x5t) {
            return Err(Refusal::new(
                Problem::GatewayMismatch,
                "sealed to a key that is not live",
            ));
        }
        if !signed.digests.contains(asked.oid) {
            return Err(Refusal::new(
                Problem::SignatureInvalid,
                "oid is not one of the two digests",
            ));
        }
        Ok(BoundAuthorization {
            request: self.request,
            dual_signature,
            sealed,
        })
    }
}

/// An authorization request that holds, all but for the PI that is still sealed.
pub struct BoundAuthorization {
    request: Verified<AuthorizationRequest>,
    dual_signature: Verified<DualSignature>,
    sealed: SealedPayment,
}

impl BoundAuthorization {
    /// What the merchant asks.
    pub fn request(&self) -> &Verified<AuthorizationRequest> {
        &self.request
    }

    /// What the payer signed.
    pub fn dual_signature(&self) -> &Verified<DualSignature> {
        &self.dual_signature
    }

    /// The ephemeral key to agree with, on the curve.
    pub fn ephemeral(&self) -> &PointBytes {
        self.sealed.ephemeral()
    }

    /// The PI, for a token that opens it by itself.
    pub fn sealed(&self) -> &SealedPayment {
        &self.sealed
    }

    /// Opens PI with the shared secret from the token, and holds it against the rest: its digest and
    /// the merchant's `oid` are the two that the payer signed, and it names this transaction and
    /// merchant.
    ///
    /// # Errors
    /// `payment-information-invalid`.
    pub fn open(self, shared_secret: &[u8; 32]) -> Result<OpenedAuthorization, Refusal> {
        self.bind(|sealed| sealed.open(shared_secret))
    }

    /// Reads PI as the token opened it, and holds it against the rest as [`BoundAuthorization::open`] does.
    ///
    /// # Errors
    /// `payment-information-invalid`.
    pub fn opened(self, padded: &Zeroizing<Vec<u8>>) -> Result<OpenedAuthorization, Refusal> {
        self.bind(|sealed| sealed.opened(padded))
    }

    fn bind(
        self,
        open: impl FnOnce(SealedPayment) -> Result<OpenedPayment, Refusal>,
    ) -> Result<OpenedAuthorization, Refusal> {
        let invalid = |detail| Refusal::new(Problem::PaymentInformationInvalid, detail);
        let payment = open(self.sealed)?;
        let asked = self.request.claims();
        let signed = self.dual_signature.claims();
        if !signed.digests.are(payment.digest(), asked.oid) {
            return Err(invalid("the digests of PI and OI are not the two signed"));
        }
        let information = payment.information();
        if information.xid != asked.xid || information.merchant != asked.merchant {
            return Err(invalid("PI names another transaction or merchant"));
        }
        Ok(OpenedAuthorization {
            request: self.request,
            dual_signature: self.dual_signature,
            payment,
        })
    }
}

/// An authorization request that holds in every part: only [`BoundAuthorization::open`] and
/// [`BoundAuthorization::opened`] make one.
pub struct OpenedAuthorization {
    request: Verified<AuthorizationRequest>,
    dual_signature: Verified<DualSignature>,
    payment: OpenedPayment,
}

impl OpenedAuthorization {
    /// What the merchant asks.
    pub fn request(&self) -> &Verified<AuthorizationRequest> {
        &self.request
    }

    /// What the payer signed.
    pub fn dual_signature(&self) -> &Verified<DualSignature> {
        &self.dual_signature
    }

    /// What is paid with.
    pub fn payment(&self) -> &OpenedPayment {
        &self.payment
    }
}
