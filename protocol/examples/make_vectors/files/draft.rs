//! A whole purchase, written by hand: every text that is sent can be changed on its way, and what
//! follows from it is made from the changed one, signatures and digests included.
//!
//! It uses no message type of the crate under test, so that vectors say what the specification says.

use protocol::{encoding, identifiers::Digest};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::{
    edit::Edit,
    sealed::{Sealed, Sealing},
};
use crate::parties::{
    GATEWAY, MERCHANT, NOW, Parties, Party,
    keys::{Key, bytes},
};

/// When the messages are judged: half a minute after the session was opened.
pub const AT: u64 = NOW.0 + 30;

/// The signed messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Jws {
    Session,
    Dual,
    Request,
    Receipt,
    Answer,
    Inquiry,
    Capture,
    RefundReversal,
    Cancellation,
    Batch,
}

impl Jws {
    pub fn typ(self) -> &'static str {
        match self {
            Jws::Session => "twinseal-session+jwt",
            Jws::Dual => "twinseal-ds+sd-jwt",
            Jws::Request => "twinseal-authorization+jwt",
            Jws::Receipt => "twinseal-receipt+jwt",
            Jws::Answer => "twinseal-purchase+jwt",
            Jws::Inquiry => "twinseal-inquiry+jwt",
            Jws::Capture => "twinseal-capture+jwt",
            Jws::RefundReversal => "twinseal-refund-reversal+jwt",
            Jws::Cancellation => "twinseal-cancellation+jwt",
            Jws::Batch => "twinseal-batch+jwt",
        }
    }
}

/// The texts that can be changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A signed message's header, as JSON.
    Header(Jws),
    /// A signed message's claims, as JSON.
    Claims(Jws),
    /// A signed message, signed.
    Compact(Jws),
    /// The OI disclosure, as JSON; then as it is sent.
    Oi,
    OiDisclosure,
    /// The PI disclosure, as JSON; then as it is padded.
    Pi,
    Plaintext,
    /// The JWE's header, as JSON, before sealing; the JWE as it is sent.
    JweHeader,
    Jwe,
    /// Bodies.
    SessionRequest,
    MerchantHalf,
    PurchaseRequest,
    GatewayHalf,
    AuthorizationBody,
    PurchaseResponse,
    LifecycleBody,
    CancellationBody,
}

/// Who signs, and what it shows of itself.
#[derive(Clone)]
pub struct Signer {
    pub key: Key,
    pub chain: Vec<CertificateDer<'static>>,
}

impl From<&Party> for Signer {
    fn from(party: &Party) -> Self {
        Self {
            key: party.key.clone(),
            chain: vec![party.certificate.clone()],
        }
    }
}

type SignatureMaker = fn(&Key, &[u8]) -> Vec<u8>;

/// What is to be made.
pub struct Draft<'a> {
    parties: &'a Parties,
    /// What the nonces, ids and salts follow from.
    label: &'static str,
    edits: Vec<(Stage, Edit)>,
    signers: Vec<(Jws, Signer)>,
    signature: Option<(Jws, SignatureMaker)>,
    sealing: Sealing<'a>,
}

impl<'a> Draft<'a> {
    pub fn new(parties: &'a Parties) -> Self {
        Self {
            parties,
            label: "first purchase",
            edits: Vec::new(),
            signers: Vec::new(),
            signature: None,
            sealing: Sealing::to(&parties.gateway_encryption),
        }
    }

    pub fn labelled(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    pub fn edit(mut self, stage: Stage, edit: Edit) -> Self {
        self.edits.push((stage, edit));
        self
    }

    pub fn header(self, message: Jws, edit: Edit) -> Self {
        self.edit(Stage::Header(message), edit)
    }

    pub fn claims(self, message: Jws, edit: Edit) -> Self {
        self.edit(Stage::Claims(message), edit)
    }

    pub fn compact(self, message: Jws, edit: Edit) -> Self {
        self.edit(Stage::Compact(message), edit)
    }

    pub fn signed_by(mut self, message: Jws, signer: impl Into<Signer>) -> Self {
        self.signers.push((message, signer.into()));
        self
    }

    pub fn signature(mut self, message: Jws, maker: SignatureMaker) -> Self {
        self.signature = Some((message, maker));
        self
    }

    pub fn sealing(mut self, change: impl FnOnce(&mut Sealing<'a>)) -> Self {
        change(&mut self.sealing);
        self
    }

    /// Makes every message from first to last.
    pub fn make(&self) -> Made {
        let parties = self.parties;
        let id = |what: &str| encoding::base64url(&bytes::<16>(&format!("{} {what}", self.label)));
        let nonce =
            |what: &str| encoding::base64url(&bytes::<32>(&format!("{} {what}", self.label)));
        let h = |text: &str| Digest::of(text.as_bytes()).to_string();
        let merchant_x5t = parties.merchant.x5t().to_string();
        let gateway_x5t = parties.gateway_encryption.x5t().to_string();
        let amount = json!({"value": 2450, "currency": "EUR"});
        let merchant_signer = Signer::from(&parties.merchant);
        let client_signer = Signer::from(&parties.client);

        let session_request = self.apply(
            Stage::SessionRequest,
            json!({"version": 1, "nc": nonce("nc"), "order": id("order")}).to_string(),
        );
        let session = self.jws(
            Jws::Session,
            &merchant_signer,
            json!({
                "version": 1, "sid": id("sid"), "nc": nonce("nc"), "nm": nonce("nm"),
                "iat": NOW.0, "exp": NOW.0 + 900,
                "merchant": {"id": MERCHANT, "name": "The Corner Bookshop"},
                "order": id("order"), "amount": amount,
                "gateway": {
                    "id": GATEWAY,
                    "x5c": [encoding::base64(&parties.gateway_encryption.certificate)],
                },
            }),
        );

        let order = json!({
            "order": id("order"),
            "items": [
                {"sku": "978-0-14-143951-8", "name": "Pride and Prejudice", "quantity": 2, "unit_price": 950},
                {"sku": "BAG-1", "name": "Paper bag", "quantity": 1, "unit_price": 0},
            ],
            "delivery": "12 Long Lane, Lower Snodbury",
            "total": amount,
        });
        let oi_json = self.apply(
            Stage::Oi,
            json!([nonce("OI salt"), "oi", order]).to_string(),
        );
        let oi = self.apply(Stage::OiDisclosure, encoding::base64url(oi_json.as_bytes()));
        let pi_json = self.apply(
            Stage::Pi,
            json!([nonce("PI salt"), "pi", {
                "xid": id("xid"), "merchant": MERCHANT,
                "instrument": {"type": "card", "pan": "4111111111111111", "expiry": "2031-12"},
            }])
            .to_string(),
        );
        let pi = encoding::base64url(pi_json.as_bytes());
        let mut digests = [h(&oi), h(&pi)];
        digests.sort();

        let dual_signature = self.jws(
            Jws::Dual,
            &client_signer,
            json!({
                "version": 1, "xid": id("xid"), "iat": NOW.0 + 20, "exp": NOW.0 + 900,
                "sid": id("sid"), "nc": nonce("nc"), "nm": nonce("nm"),
                "merchant": {"id": MERCHANT, "x5t": merchant_x5t},
                "gateway": {"id": GATEWAY, "x5t": gateway_x5t},
                "amount": amount, "_sd": digests, "_sd_alg": "sha-256",
            }),
        );
        let padded = pi.len().next_multiple_of(512);
        let plaintext = self.apply(Stage::Plaintext, format!("{pi:~<padded$}"));
        let sealed = self
            .sealing
            .seal(&plaintext, &dual_signature, self.label, |header| {
                self.apply(Stage::JweHeader, header)
            });
        let jwe = self.apply(Stage::Jwe, sealed.compact.clone());
        let merchant_half = self.apply(Stage::MerchantHalf, format!("{dual_signature}~{oi}~"));
        let purchase_request = self.apply(
            Stage::PurchaseRequest,
            json!({"dual_signature": merchant_half, "payment_information": jwe}).to_string(),
        );

        let request = self.jws(
            Jws::Request,
            &merchant_signer,
            json!({
                "version": 1, "jti": id("request jti"), "iat": NOW.0 + 21,
                "xid": id("xid"), "sid": id("sid"), "merchant": MERCHANT, "gateway": GATEWAY,
                "dsh": h(&dual_signature), "pih": h(&jwe), "oid": h(&oi),
                "amount": amount, "capture": "later",
            }),
        );
        let gateway_half = self.apply(Stage::GatewayHalf, format!("{dual_signature}~"));
        let authorization_body = self.apply(
            Stage::AuthorizationBody,
            json!({
                "authorization_request": request,
                "dual_signature": gateway_half,
                "payment_information": jwe,
            })
            .to_string(),
        );

        let receipt = self.jws(Jws::Receipt, &Signer::from(&parties.gateway), json!({
            "version": 1, "jti": id("receipt jti"), "iat": NOW.0 + 22, "action": "authorization",
            "gateway": GATEWAY, "merchant": MERCHANT, "client": parties.client.x5t(),
            "xid": id("xid"), "sid": id("sid"), "nc": nonce("nc"), "nm": nonce("nm"),
            "dsh": h(&dual_signature), "reqh": h(&request),
            "decision": "approved", "code": "00", "reason": "approved", "amount": amount,
            "totals": {"authorized": 2450, "captured": 0, "reversed": 0, "refunded": 0},
            "authorization": id("authorization"), "capture_before": NOW.0 + 604_800,
        }));
        let answer = self.jws(
            Jws::Answer,
            &merchant_signer,
            json!({
                "version": 1, "xid": id("xid"), "sid": id("sid"), "nc": nonce("nc"),
                "order": id("order"), "status": "approved", "receipt": h(&receipt),
            }),
        );
        let purchase_response = self.apply(
            Stage::PurchaseResponse,
            json!({"purchase_response": answer, "receipt": receipt}).to_string(),
        );
        let inquiry = self.jws(
            Jws::Inquiry,
            &client_signer,
            json!({
                "version": 1, "jti": id("inquiry jti"), "iat": AT, "aud": GATEWAY, "xid": id("xid"),
            }),
        );
        let lifecycle = |message, claims: Value| {
            let request = self.jws(message, &merchant_signer, claims);
            self.apply(
                Stage::LifecycleBody,
                json!({"request": request}).to_string(),
            )
        };
        let capture_body = lifecycle(
            Jws::Capture,
            json!({
                "version": 1, "jti": id("capture jti"), "iat": AT, "merchant": MERCHANT,
                "gateway": GATEWAY, "xid": id("xid"), "amount": amount,
            }),
        );
        let refund_reversal_body = lifecycle(
            Jws::RefundReversal,
            json!({
                "version": 1, "jti": id("refund reversal jti"), "iat": AT, "merchant": MERCHANT,
                "gateway": GATEWAY, "xid": id("xid"), "amount": amount, "target": id("refund jti"),
            }),
        );
        let batch_body = lifecycle(
            Jws::Batch,
            json!({
                "version": 1, "jti": id("batch jti"), "iat": AT, "merchant": MERCHANT,
                "gateway": GATEWAY, "currency": "EUR",
            }),
        );
        let cancellation = self.jws(
            Jws::Cancellation,
            &client_signer,
            json!({
                "version": 1, "jti": id("cancellation jti"), "iat": AT, "gateway": GATEWAY,
                "xid": id("xid"), "dsh": h(&dual_signature),
            }),
        );
        let cancellation_body = self.apply(
            Stage::CancellationBody,
            json!({"cancellation": cancellation, "dual_signature": format!("{dual_signature}~")})
                .to_string(),
        );
        Made {
            session_request,
            session,
            order,
            oi_json,
            oi,
            pi_json,
            pi,
            dual_signature,
            plaintext,
            sealed,
            jwe,
            purchase_request,
            request,
            authorization_body,
            receipt,
            answer,
            purchase_response,
            inquiry,
            capture_body,
            refund_reversal_body,
            batch_body,
            cancellation_body,
        }
    }

    fn apply(&self, stage: Stage, text: String) -> String {
        self.edits
            .iter()
            .filter(|(at, _)| *at == stage)
            .fold(text, |text, (_, edit)| edit(text))
    }

    fn jws(&self, message: Jws, usual: &Signer, claims: Value) -> String {
        let changed = self.signers.iter().find(|(of, _)| *of == message);
        let signer = changed.map_or(usual, |(_, signer)| signer);
        let chain: Vec<String> = signer
            .chain
            .iter()
            .map(|der| encoding::base64(der))
            .collect();
        let header = json!({"alg": "ES256", "typ": message.typ(), "x5c": chain});
        let header = self.apply(Stage::Header(message), header.to_string());
        let claims = self.apply(Stage::Claims(message), claims.to_string());
        let input = format!(
            "{}.{}",
            encoding::base64url(header.as_bytes()),
            encoding::base64url(claims.as_bytes())
        );
        let signature = match self.signature {
            Some((of, maker)) if of == message => maker(&signer.key, input.as_bytes()),
            _ => signer.key.sign(input.as_bytes()).to_vec(),
        };
        let compact = format!("{input}.{}", encoding::base64url(&signature));
        self.apply(Stage::Compact(message), compact)
    }
}

/// Every text of a purchase.
pub struct Made {
    pub session_request: String,
    pub session: String,
    pub order: Value,
    pub oi_json: String,
    pub oi: String,
    pub pi_json: String,
    pub pi: String,
    pub dual_signature: String,
    pub plaintext: String,
    pub sealed: Sealed,
    pub jwe: String,
    pub purchase_request: String,
    pub request: String,
    pub authorization_body: String,
    pub receipt: String,
    pub answer: String,
    pub purchase_response: String,
    pub inquiry: String,
    pub capture_body: String,
    pub refund_reversal_body: String,
    pub batch_body: String,
    pub cancellation_body: String,
}
