//! A payer that talks to a merchant by hand: so that a test can send it what no terminal of ours would.

use std::sync::Arc;

use hyper::{
    HeaderMap,
    body::Bytes,
    header::{HeaderName, HeaderValue},
};
use mtls::{
    client::{Answer, ClientError, HttpClient, Limits, Server},
    identity::Identity,
};
use protocol::{
    dual_signature::{DualSignature, split_merchant_half},
    identifiers::{ClientNonce, Digest, Jti, OrderId, Xid},
    inquiry::{HEADER, Inquiry},
    json::Version,
    jws::{Received, Verified},
    names::Role,
    order_information::OrderInformation,
    payment_information::{Instrument, PaymentInformation},
    purchase::{
        self, PayersView, PurchaseAnswer, PurchaseRequest, PurchaseResponse, SignedPurchase,
    },
    receipt::Receipt,
    sd_jwt::{Disclosure, TwoDigests},
    sealed_payment,
    session::{AcceptedSession, Expected, Session, SessionRequest},
    signing::SoftwareKey,
    time::Skew,
};
use serde_json::{Value, json};

use crate::{parties::Parties, service::Service};

/// A payer at a merchant.
pub struct Shopper {
    shop: HttpClient,
}

/// An order with a client session for it.
pub struct Opened {
    /// What is bought.
    pub order: OrderInformation,
    /// Message 2, checked as the payer does.
    pub accepted: AcceptedSession,
}

impl Shopper {
    /// A payer at a running merchant.
    pub fn at(parties: &Parties, merchant: &Service) -> Self {
        Self::showing(parties, merchant, None)
    }

    /// A payer that shows a certificate in TLS.
    pub fn showing(parties: &Parties, merchant: &Service, identity: Option<Identity>) -> Self {
        let server = Server {
            url: merchant.url("payers"),
            role: Role::Merchant,
            name: Some(parties.merchant.party().clone()),
            trust: Arc::clone(&parties.trust),
            identity,
        };
        Self {
            shop: HttpClient::new(server, Limits::default()).unwrap(),
        }
    }

    /// Posts a body.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.shop
            .post_json(path, body.into(), HeaderMap::new())
            .await
            .unwrap()
    }

    /// Asks for a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap()
    }

    /// Asks for a path of a merchant that may not talk to this payer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn try_get(&self, path: &str) -> Result<Answer, ClientError> {
        self.shop.get(path, HeaderMap::new()).await
    }

    /// Places an order of one book, 12.50 EUR.
    pub async fn order(&self) -> OrderInformation {
        let wish =
            json!({ "items": [{ "sku": "book-1", "quantity": 1 }], "delivery": "12 Long Lane" });
        let answer = self.post("/v1/orders", wish.to_string()).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        let placed: Value = serde_json::from_slice(&answer.body).unwrap();
        serde_json::from_value(placed["order"].clone()).unwrap()
    }

    /// Message 1, as it is.
    pub async fn ask_for_session(&self, order: OrderId, nc: ClientNonce) -> Answer {
        let request = SessionRequest {
            version: Version,
            nc,
            order,
        };
        self.post("/v1/sessions", serde_json::to_vec(&request).unwrap())
            .await
    }

    /// Messages 1 and 2 for an order, checked.
    pub async fn open(&self, parties: &Parties, order: OrderInformation) -> Opened {
        let nc = ClientNonce::random().unwrap();
        let answer = self.ask_for_session(order.order, nc).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let opened: Value = serde_json::from_slice(&answer.body).unwrap();
        let trust = parties.trust.load();
        let now = mtls::now();
        let session = Received::<Session>::read(opened["session"].as_str().unwrap())
            .unwrap()
            .verify(&trust, now)
            .unwrap();
        let expected = Expected {
            nc,
            host: "localhost",
            order: order.order,
            amount: order.total,
            gateways: std::slice::from_ref(&parties.gateway),
        };
        let accepted =
            AcceptedSession::check(session, &expected, &trust, Skew::default(), now).unwrap();
        Opened { order, accepted }
    }

    /// An order of one book, and a session for it.
    pub async fn shop(&self, parties: &Parties) -> Opened {
        let order = self.order().await;
        self.open(parties, order).await
    }

    /// Message 3.
    pub async fn send(&self, request: &PurchaseRequest) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// Message 3 to a merchant that may not answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn try_send(&self, request: &PurchaseRequest) -> Result<Answer, ClientError> {
        let body = serde_json::to_vec(request).unwrap();
        self.shop
            .post_json("/v1/purchases", body.into(), HeaderMap::new())
            .await
    }

    /// Asks what became of a purchase, with a proof or without.
    pub async fn inquire(&self, xid: Xid, proof: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(proof) = proof {
            headers.insert(
                HeaderName::from_static(HEADER),
                HeaderValue::from_str(proof).unwrap(),
            );
        }
        self.shop
            .get(&format!("/v1/purchases/{xid}"), headers)
            .await
            .unwrap()
    }
}

impl Opened {
    /// A good purchase with the payer's card.
    pub fn sign(&self, parties: &Parties) -> SignedPurchase {
        self.sign_with(parties, parties.card.clone())
    }

    /// A good purchase with an instrument.
    pub fn sign_with(&self, parties: &Parties, instrument: Instrument) -> SignedPurchase {
        purchase::sign(
            &self.accepted,
            self.order.clone(),
            instrument,
            &parties.client_key,
            mtls::now(),
        )
        .unwrap()
    }

    /// A purchase whose order and claims are changed before they are signed; everything else fits them.
    pub fn sign_changed(
        &self,
        parties: &Parties,
        key: &SoftwareKey,
        change: impl FnOnce(&mut OrderInformation, &mut DualSignature),
    ) -> PurchaseRequest {
        let good = self.sign(parties);
        let mut claims = good.dual_signature;
        let mut order = self.order.clone();
        change(&mut order, &mut claims);
        let oi = Disclosure::new(order).unwrap();
        let pi = Disclosure::new(PaymentInformation {
            xid: claims.xid,
            merchant: claims.merchant.id.clone(),
            instrument: parties.card.clone(),
        })
        .unwrap();
        claims.digests = TwoDigests::new(oi.digest(), pi.digest()).unwrap();
        let compact = key.sign(&claims).unwrap();
        let payment_information = sealed_payment::seal(
            &pi,
            Digest::of(compact.as_bytes()),
            self.accepted.encryption_certificate().public_key(),
            claims.gateway.x5t,
        )
        .unwrap();
        PurchaseRequest {
            dual_signature: format!("{compact}~{}~", oi.text()),
            payment_information,
        }
    }

    /// A purchase whose payment is sealed as if for another signature or another certificate.
    pub fn seal_changed(
        &self,
        signed: &SignedPurchase,
        instrument: Instrument,
        change: impl FnOnce(&mut Digest, &mut Digest),
    ) -> PurchaseRequest {
        let pi = Disclosure::new(PaymentInformation {
            xid: signed.dual_signature.xid,
            merchant: signed.dual_signature.merchant.id.clone(),
            instrument,
        })
        .unwrap();
        let (mut dsh, mut x5t) = (signed.dsh, signed.dual_signature.gateway.x5t);
        change(&mut dsh, &mut x5t);
        let key = self.accepted.encryption_certificate().public_key();
        PurchaseRequest {
            dual_signature: signed.request.dual_signature.clone(),
            payment_information: sealed_payment::seal(&pi, dsh, key, x5t).unwrap(),
        }
    }
}

/// The same signature with another order beside it.
pub fn with_other_order(request: &PurchaseRequest, order: &OrderInformation) -> PurchaseRequest {
    let (compact, _) = split_merchant_half(&request.dual_signature).unwrap();
    let other = Disclosure::new(order.clone()).unwrap();
    PurchaseRequest {
        dual_signature: format!("{compact}~{}~", other.text()),
        payment_information: request.payment_information.clone(),
    }
}

/// Message 6, verified as the payer does, and held against everything that it signed.
pub fn accept(parties: &Parties, signed: &SignedPurchase, answer: &Answer) -> Verified<Receipt> {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let response: PurchaseResponse = serde_json::from_slice(&answer.body).unwrap();
    let trust = parties.trust.load();
    let now = mtls::now();
    let receipt = Received::<Receipt>::read(&response.receipt)
        .unwrap()
        .verify(&trust, now)
        .unwrap();
    let view = PayersView {
        dual_signature: &signed.dual_signature,
        dsh: signed.dsh,
        client_x5t: signed.client_x5t,
    };
    view.check_receipt(receipt.claims()).unwrap();
    let said = Received::<PurchaseAnswer>::read(&response.purchase_response)
        .unwrap()
        .verify(&trust, now)
        .unwrap();
    let order = said.claims().order;
    view.check_answer(&said, order, &receipt).unwrap();
    receipt
}

/// A payer's proof that it may ask about a transaction.
pub fn proof(parties: &Parties, aud: &protocol::names::PartyName, xid: Xid) -> String {
    let inquiry = Inquiry {
        version: Version,
        jti: Jti::random().unwrap(),
        iat: mtls::now(),
        aud: aud.clone(),
        xid,
    };
    parties.client_key.sign(&inquiry).unwrap()
}
