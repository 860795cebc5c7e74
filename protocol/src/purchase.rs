//! Messages 3 and 6: the purchase, made and signed by the client, checked and answered by the
//! merchant.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    dual_signature::{
        DigestAlgorithm, DualSignature, EncryptingGateway, SigningMerchant, split_merchant_half,
    },
    identifiers::{ClientNonce, Digest, MerchantNonce, OrderId, Sid, Xid},
    json::{self, Version},
    jws::{Message, Received, Verified},
    names::{PartyName, Role},
    order_information::{self, OrderInformation},
    payment_information::{Instrument, PaymentInformation},
    pki::Trust,
    problem::{Problem, Refusal},
    receipt::{Action, Decision, Receipt, ReceiptJws},
    schema::{Jws, MerchantHalf, SealedPaymentInformation},
    sd_jwt::{Disclosure, TwoDigests},
    sealed_payment::{self, SealedPayment},
    session::AcceptedSession,
    signing::SoftwareKey,
    time::{LIFETIME_SECONDS_MAX, Skew, Timestamp},
};

/// Message 3, the purchase request: `POST /v1/purchases` at the merchant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurchaseRequest {
    /// `<DS>~<OI disclosure>~`.
    #[schema(value_type = MerchantHalf)]
    pub dual_signature: String,
    /// The sealed PI, a compact JWE.
    #[schema(value_type = SealedPaymentInformation)]
    pub payment_information: String,
}

/// A purchase as its payer keeps it: the bytes to send, and what a receipt is held against.
pub struct SignedPurchase {
    /// What is sent.
    pub request: PurchaseRequest,
    /// What was signed.
    pub dual_signature: DualSignature,
    /// `h(DS)`.
    pub dsh: Digest,
    /// The digest of the payer's own certificate, which a receipt names.
    pub client_x5t: Digest,
}

/// Signs a purchase in an accepted session: binds the order to the payment, and seals the payment to
/// the session's gateway.
///
/// # Errors
/// `order-mismatch`, `amount-mismatch` when the order is not the session's; `expired` when the
/// session is; `too-large`; `internal` when no random bytes are to be had.
pub fn sign(
    accepted: &AcceptedSession,
    order: OrderInformation,
    instrument: Instrument,
    key: &SoftwareKey,
    now: Timestamp,
) -> Result<SignedPurchase, Refusal> {
    let session = accepted.session().claims();
    if order.order != session.order {
        return Err(Refusal::new(Problem::OrderMismatch, "another order"));
    }
    if order.total != session.amount {
        return Err(Refusal::new(Problem::AmountMismatch, "another total"));
    }
    // Not longer than the session, and not longer than any message may be good for.
    let exp = session.exp.min(now.plus(LIFETIME_SECONDS_MAX));
    if exp <= now {
        return Err(Refusal::new(Problem::Expired, "the session ended"));
    }
    let no_randomness = |_| Refusal::new(Problem::Internal, "no random bytes");
    let xid = Xid::at(now).map_err(no_randomness)?;
    let amount = order.total;
    let oi = Disclosure::new(order)?;
    if oi.text().len() > order_information::DISCLOSURE_BYTES_MAX {
        return Err(Refusal::new(Problem::TooLarge, "OI is above 32 KiB"));
    }
    let pi = Disclosure::new(PaymentInformation {
        xid,
        merchant: session.merchant.id.clone(),
        instrument,
    })?;
    let encryption = accepted.encryption_certificate();
    let dual_signature = DualSignature {
        version: Version,
        xid,
        iat: now,
        exp,
        sid: session.sid,
        nc: session.nc,
        nm: session.nm,
        merchant: SigningMerchant {
            id: session.merchant.id.clone(),
            x5t: accepted.session().signer().thumbprint(),
        },
        gateway: EncryptingGateway {
            id: session.gateway.id.clone(),
            x5t: encryption.thumbprint(),
        },
        amount,
        digests: TwoDigests::new(oi.digest(), pi.digest())?,
        digest_algorithm: DigestAlgorithm::Sha256,
    };
    let compact = key.sign(&dual_signature)?;
    let dsh = Digest::of(compact.as_bytes());
    let payment_information =
        sealed_payment::seal(&pi, dsh, encryption.public_key(), encryption.thumbprint())?;
    let client_x5t = key
        .chain()
        .first()
        .map(|leaf| Digest::of(leaf))
        .ok_or_else(|| Refusal::new(Problem::Internal, "no certificate"))?;
    Ok(SignedPurchase {
        request: PurchaseRequest {
            dual_signature: format!("{compact}~{}~", oi.text()),
            payment_information,
        },
        dual_signature,
        dsh,
        client_x5t,
    })
}

/// A purchase request whose form was read.
pub struct ReceivedPurchase {
    dual_signature: Received<DualSignature>,
    order_disclosure: Disclosure<OrderInformation>,
    sealed: SealedPayment,
}

impl ReceivedPurchase {
    /// Reads the body: its form, its limits, the form of its parts.
    ///
    /// # Errors
    /// `malformed`, `unsupported-version`, `too-large`, `signature-invalid` for another algorithm,
    /// `payment-information-invalid`.
    pub fn read(body: &[u8]) -> Result<(Self, PurchaseRequest), Refusal> {
        let request: PurchaseRequest = json::read(body)?;
        let (compact, disclosure) = split_merchant_half(&request.dual_signature)?;
        if disclosure.len() > order_information::DISCLOSURE_BYTES_MAX {
            return Err(Refusal::new(Problem::TooLarge, "OI is above 32 KiB"));
        }
        let read = Self {
            dual_signature: Received::read(compact)?,
            order_disclosure: Disclosure::read(disclosure)?,
            sealed: SealedPayment::read(&request.payment_information)?,
        };
        Ok((read, request))
    }

    /// The session that it says to be in, before anybody is known to have said it.
    pub fn sid(&self) -> Sid {
        self.dual_signature.unverified().sid
    }

    /// `h(DS)` and `h(JWE)`: what tells the same request from another.
    pub fn hashes(&self) -> (Digest, Digest) {
        (self.dual_signature.hash(), self.sealed.hash())
    }

    /// Makes the merchant's checks, in the protocol's order, after the session was found.
    ///
    /// # Errors
    /// `challenge-mismatch`, `merchant-mismatch`, `amount-mismatch`, `gateway-mismatch`, those of a
    /// certificate, `signature-invalid`, `expired`, `not-yet-valid`,
    /// `payment-information-invalid`, `order-mismatch`.
    pub fn verify(
        self,
        session: &OpenSession<'_>,
        trust: &Trust,
        skew: Skew,
        now: Timestamp,
    ) -> Result<VerifiedPurchase, Refusal> {
        session.check(self.dual_signature.unverified())?;
        let dual_signature = self.dual_signature.verify(trust, now)?;
        let claims = dual_signature.claims();
        skew.check_window(claims.iat, claims.exp, now)?;
        self.sealed
            .check_fits(dual_signature.hash(), claims.gateway.x5t)?;
        let oid = self.order_disclosure.digest();
        if !claims.digests.contains(oid) {
            return Err(Refusal::new(
                Problem::OrderMismatch,
                "the OI disclosure's digest is not one of the two",
            ));
        }
        let (order_text, order) = self.order_disclosure.into_parts();
        if &order != session.order {
            return Err(Refusal::new(
                Problem::OrderMismatch,
                "OI is not the order that the merchant holds",
            ));
        }
        Ok(VerifiedPurchase {
            order_disclosure: order_text.to_string(),
            order,
            oid,
            pih: self.sealed.hash(),
            dual_signature,
        })
    }
}

/// A session that the merchant opened, as far as a purchase in it is held against it.
pub struct OpenSession<'a> {
    /// Message 2's claims.
    pub session: &'a crate::session::Session,
    /// The certificate that signed message 2.
    pub merchant_x5t: Digest,
    /// The encryption certificate in message 2.
    pub gateway_x5t: Digest,
    /// The order.
    pub order: &'a OrderInformation,
}

impl OpenSession<'_> {
    fn check(&self, signed: &DualSignature) -> Result<(), Refusal> {
        let session = self.session;
        if (signed.sid, signed.nc, signed.nm) != (session.sid, session.nc, session.nm) {
            return Err(Refusal::new(
                Problem::ChallengeMismatch,
                "sid, nc or nm is not this session's",
            ));
        }
        if signed.merchant.id != session.merchant.id || signed.merchant.x5t != self.merchant_x5t {
            return Err(Refusal::new(
                Problem::MerchantMismatch,
                "signed for another merchant or another of its certificates",
            ));
        }
        if signed.amount != session.amount {
            return Err(Refusal::new(
                Problem::AmountMismatch,
                format!("{} instead of {}", signed.amount, session.amount),
            ));
        }
        if signed.gateway.id != session.gateway.id || signed.gateway.x5t != self.gateway_x5t {
            return Err(Refusal::new(
                Problem::GatewayMismatch,
                "signed for another gateway or another of its certificates",
            ));
        }
        Ok(())
    }
}

/// A purchase request that holds: only [`ReceivedPurchase::verify`] makes one.
pub struct VerifiedPurchase {
    dual_signature: Verified<DualSignature>,
    order_disclosure: String,
    order: OrderInformation,
    oid: Digest,
    pih: Digest,
}

impl VerifiedPurchase {
    /// The payer's signature.
    pub fn dual_signature(&self) -> &Verified<DualSignature> {
        &self.dual_signature
    }

    /// What was ordered.
    pub fn order(&self) -> &OrderInformation {
        &self.order
    }

    /// The OI disclosure as it came: with the signature, the merchant's evidence.
    pub fn order_disclosure(&self) -> &str {
        &self.order_disclosure
    }

    /// The OI disclosure's digest.
    pub fn oid(&self) -> Digest {
        self.oid
    }

    /// `h(JWE)`.
    pub fn pih(&self) -> Digest {
        self.pih
    }
}

/// Message 6's claims: the merchant's answer, which rests on the gateway's receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PurchaseClaims)]
#[serde(deny_unknown_fields)]
pub struct PurchaseAnswer {
    /// 1.
    pub version: Version,
    /// The transaction.
    pub xid: Xid,
    /// The client session.
    pub sid: Sid,
    /// The client's nonce in it.
    pub nc: ClientNonce,
    /// The order.
    pub order: OrderId,
    /// What the receipt says.
    pub status: Decision,
    /// `h(receipt)`.
    pub receipt: Digest,
}

/// Message 6's own part as it travels.
pub type PurchaseJws = Jws<PurchaseAnswer>;

impl Message for PurchaseAnswer {
    const TYP: &'static str = "twinseal-purchase+jwt";
    const SIGNER: Role = Role::Merchant;
}

/// Message 6, the purchase response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurchaseResponse {
    /// The merchant's JWS.
    #[schema(value_type = PurchaseJws)]
    pub purchase_response: String,
    /// The gateway's JWS.
    #[schema(value_type = ReceiptJws)]
    pub receipt: String,
}

/// What a payer holds an answer or a receipt against: everything that it signed.
#[derive(Debug, Clone)]
pub struct PayersView<'a> {
    /// What was signed.
    pub dual_signature: &'a DualSignature,
    /// `h(DS)`.
    pub dsh: Digest,
    /// The digest of the payer's certificate.
    pub client_x5t: Digest,
}

impl PayersView<'_> {
    /// Whether a verified receipt decides this purchase. A receipt of what came after, or of its
    /// cancellation, does not.
    ///
    /// # Errors
    /// `challenge-mismatch` for another action, and those of [`PayersView::check_about`].
    pub fn check_receipt(&self, receipt: &Receipt) -> Result<(), Refusal> {
        if receipt.action != Action::Authorization {
            return Err(Refusal::new(
                Problem::ChallengeMismatch,
                format!("the receipt is about a {}", receipt.action),
            ));
        }
        self.check_about(receipt)
    }

    /// Whether a verified receipt, of whatever action, is about this purchase, whole.
    ///
    /// # Errors
    /// `gateway-mismatch`, `merchant-mismatch`, `challenge-mismatch`, `signature-invalid` (another
    /// signature or client), `amount-mismatch`.
    pub fn check_about(&self, receipt: &Receipt) -> Result<(), Refusal> {
        let signed = self.dual_signature;
        if receipt.gateway != signed.gateway.id {
            return Err(Refusal::new(
                Problem::GatewayMismatch,
                "the receipt is another gateway's",
            ));
        }
        if receipt.merchant != signed.merchant.id {
            return Err(Refusal::new(
                Problem::MerchantMismatch,
                "the receipt is for another merchant",
            ));
        }
        check_challenge(
            (signed.xid, signed.sid, signed.nc, signed.nm),
            (receipt.xid, receipt.sid, receipt.nc, receipt.nm),
        )?;
        if receipt.dsh != self.dsh || receipt.client != self.client_x5t {
            return Err(Refusal::new(
                Problem::SignatureInvalid,
                "the receipt is about another signature",
            ));
        }
        if receipt.amount.currency() != signed.amount.currency()
            || receipt.amount.value() > signed.amount.value()
        {
            return Err(Refusal::new(
                Problem::AmountMismatch,
                "the receipt is about more than was signed",
            ));
        }
        Ok(())
    }

    /// Whether the merchant's verified answer is about this purchase and says what the receipt says.
    ///
    /// # Errors
    /// `merchant-mismatch`, `challenge-mismatch`, `order-mismatch`, `signature-invalid`.
    pub fn check_answer(
        &self,
        answer: &Verified<PurchaseAnswer>,
        order: OrderId,
        receipt: &Verified<Receipt>,
    ) -> Result<(), Refusal> {
        let signed = self.dual_signature;
        let claims = answer.claims();
        let signer: &PartyName = answer.signer().name();
        if signer != signed.merchant.id.party() {
            return Err(Refusal::new(
                Problem::MerchantMismatch,
                "another merchant signed the answer",
            ));
        }
        check_challenge(
            (signed.xid, signed.sid, signed.nc, signed.nm),
            (claims.xid, claims.sid, claims.nc, signed.nm),
        )?;
        if claims.order != order {
            return Err(Refusal::new(Problem::OrderMismatch, "another order"));
        }
        if claims.receipt != receipt.hash() || claims.status != receipt.claims().decision {
            return Err(Refusal::new(
                Problem::SignatureInvalid,
                "the merchant's answer is not what the receipt says",
            ));
        }
        Ok(())
    }
}

type Challenge = (Xid, Sid, ClientNonce, MerchantNonce);

fn check_challenge(signed: Challenge, found: Challenge) -> Result<(), Refusal> {
    if signed == found {
        return Ok(());
    }
    Err(Refusal::new(
        Problem::ChallengeMismatch,
        "xid, sid or a nonce is another purchase's",
    ))
}
