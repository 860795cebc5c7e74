//! A whole purchase through the public API, from the client's nonce to the merchant's answer, with
//! every message as it travels.

use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use protocol::{
    authorization::{
        AuthorizationBody, AuthorizationRequest, BoundAuthorization, Capture, GatewayContext,
        OpenedAuthorization, ReceivedAuthorization,
    },
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, MerchantNonce, OrderId, Sid},
    json::Version,
    jws::{Received, Verified},
    money::Amount,
    names::PartyName,
    order_information::{Item, OrderInformation, Quantity},
    payment_information::{Account, Expiry, Instrument, Pan},
    pki::Trust,
    problem::Refusal,
    purchase::{
        self, OpenSession, PayersView, PurchaseAnswer, PurchaseResponse, ReceivedPurchase,
        SignedPurchase, VerifiedPurchase,
    },
    receipt::{Action, Code, Receipt, Totals},
    session::{
        AcceptedSession, Expected, LIFETIME_SECONDS, NamedMerchant, OfferedGateway, Session,
        SessionRequest,
    },
    time::Skew,
};

use crate::parties::{GATEWAY, MERCHANT, NOW, Parties, Party, keys::Key};

/// Everything that was sent, and what each side knows after it.
pub struct Exchange {
    pub order: OrderInformation,
    pub session: String,
    pub session_claims: Session,
    pub signed: SignedPurchase,
    pub purchase_body: Vec<u8>,
    pub authorization: AuthorizationBody,
    pub receipt: String,
    pub response: PurchaseResponse,
}

impl Exchange {
    /// Goes the whole way; each step takes only what the one before sent.
    pub fn run(parties: &Parties, trust: &Trust, instrument: Instrument) -> Self {
        let order = order();
        let (session_claims, session) = open_session(parties, &order);
        let accepted = accept_session(&session, &session_claims, trust).unwrap();
        let signed = purchase::sign(
            &accepted,
            order.clone(),
            instrument,
            &parties.client.software_key(),
            NOW,
        )
        .unwrap();
        let purchase_body = serde_json::to_vec(&signed.request).unwrap();
        let verified =
            check_purchase(&purchase_body, parties, &session_claims, &order, trust).unwrap();
        let authorization = ask(parties, &verified, &signed.request.payment_information);
        let body = serde_json::to_vec(&authorization).unwrap();
        let opened = open(bind(&body, parties, trust).unwrap(), parties).unwrap();
        let receipt = approve(parties, &opened);
        let response = answer(parties, &verified, order.order, &receipt, trust);
        Self {
            order,
            session,
            session_claims,
            signed,
            purchase_body,
            authorization,
            receipt,
            response,
        }
    }

    /// What the payer holds an answer against.
    pub fn payers_view(&self) -> PayersView<'_> {
        PayersView {
            dual_signature: &self.signed.dual_signature,
            dsh: self.signed.dsh,
            client_x5t: self.signed.client_x5t,
        }
    }

    /// `<DS>` alone, and the OI disclosure.
    pub fn merchant_half(&self) -> (&str, &str) {
        protocol::dual_signature::split_merchant_half(&self.signed.request.dual_signature).unwrap()
    }
}

pub fn card() -> Instrument {
    Instrument::Card {
        pan: Pan::new("4111111111111111").unwrap(),
        expiry: Expiry::new("2031-12").unwrap(),
    }
}

pub fn account() -> Instrument {
    Instrument::Account {
        account: Account::new("DE02120300000000202051").unwrap(),
    }
}

pub fn order() -> OrderInformation {
    OrderInformation {
        order: OrderId::random().unwrap(),
        items: vec![Item {
            sku: "978-0-14-043944-1".to_owned(),
            name: "Middlemarch".to_owned(),
            quantity: Quantity::new(1).unwrap(),
            unit_price: 1250,
        }],
        delivery: Some("12 Long Lane, Lower Snodbury".to_owned()),
        total: Amount::new(1250, "EUR".parse().unwrap()).unwrap(),
    }
}

/// Message 2.
pub fn open_session(parties: &Parties, order: &OrderInformation) -> (Session, String) {
    let asked = SessionRequest {
        version: Version,
        nc: ClientNonce::random().unwrap(),
        order: order.order,
    };
    let asked = SessionRequest::read(&serde_json::to_vec(&asked).unwrap()).unwrap();
    let claims = Session {
        version: Version,
        sid: Sid::random().unwrap(),
        nc: asked.nc,
        nm: MerchantNonce::random().unwrap(),
        iat: NOW,
        exp: NOW.plus(LIFETIME_SECONDS),
        merchant: NamedMerchant {
            id: MERCHANT.parse().unwrap(),
            name: "The Corner Bookshop".to_owned(),
        },
        order: asked.order,
        amount: order.total,
        gateway: OfferedGateway::new(
            parties.gateway_name(),
            std::slice::from_ref(&parties.gateway_encryption.certificate),
        ),
    };
    let compact = parties.merchant.software_key().sign(&claims).unwrap();
    (claims, compact)
}

/// The client's checks of message 2.
pub fn accept_session(
    compact: &str,
    asked: &Session,
    trust: &Trust,
) -> Result<AcceptedSession, Refusal> {
    let verified = Received::<Session>::read(compact)?.verify(trust, NOW)?;
    let expected = Expected {
        nc: asked.nc,
        host: "bookshop.example",
        order: asked.order,
        amount: asked.amount,
        gateways: &[GATEWAY.parse().unwrap()],
    };
    AcceptedSession::check(verified, &expected, trust, Skew::default(), NOW)
}

/// The merchant's checks of message 3.
pub fn check_purchase(
    body: &[u8],
    parties: &Parties,
    session: &Session,
    order: &OrderInformation,
    trust: &Trust,
) -> Result<VerifiedPurchase, Refusal> {
    let (received, _) = ReceivedPurchase::read(body)?;
    let open_session = OpenSession {
        session,
        merchant_x5t: parties.merchant.x5t(),
        gateway_x5t: parties.gateway_encryption.x5t(),
        order,
    };
    received.verify(&open_session, trust, Skew::default(), NOW)
}

/// Message 4's claims about a purchase that the merchant checked.
pub fn authorization_request(verified: &VerifiedPurchase) -> AuthorizationRequest {
    let signed = verified.dual_signature().claims();
    AuthorizationRequest {
        version: Version,
        jti: random_jti(),
        iat: NOW,
        xid: signed.xid,
        sid: signed.sid,
        merchant: MERCHANT.parse().unwrap(),
        gateway: GATEWAY.parse().unwrap(),
        dsh: verified.dual_signature().hash(),
        pih: verified.pih(),
        oid: verified.oid(),
        amount: signed.amount,
        capture: Capture::Later,
    }
}

fn ask(parties: &Parties, verified: &VerifiedPurchase, jwe: &str) -> AuthorizationBody {
    let request = authorization_request(verified);
    AuthorizationBody {
        authorization_request: parties.merchant.software_key().sign(&request).unwrap(),
        dual_signature: format!("{}~", verified.dual_signature().compact()),
        payment_information: jwe.to_owned(),
    }
}

/// The gateway's checks of message 4, as far as they go without its token.
pub fn bind(body: &[u8], parties: &Parties, trust: &Trust) -> Result<BoundAuthorization, Refusal> {
    let peer: PartyName = MERCHANT.parse().unwrap();
    ReceivedAuthorization::read(body)?
        .verify_request(&peer, trust, NOW)?
        .verify_binding(&GatewayContext {
            name: &parties.gateway_name(),
            encryption_x5ts: &[parties.gateway_encryption.x5t()],
            trust,
            skew: Skew::default(),
            now: NOW,
        })
}

/// What the token does, and the rest of the gateway's checks.
pub fn open(bound: BoundAuthorization, parties: &Parties) -> Result<OpenedAuthorization, Refusal> {
    let secret = shared_secret(&parties.gateway_encryption.key, bound.ephemeral());
    bound.open(&secret)
}

/// ECDH in software.
pub fn shared_secret(key: &Key, other: &[u8]) -> [u8; 32] {
    let key = PrivateKey::from_private_key(&ECDH_P256, &key.scalar()).unwrap();
    agreement::agree(
        &key,
        UnparsedPublicKey::new(&ECDH_P256, other),
        (),
        |secret| secret.try_into().map_err(|_| ()),
    )
    .unwrap()
}

/// Message 5, signed as a token does it: a digest goes in, a signature comes out.
pub fn approve(parties: &Parties, opened: &OpenedAuthorization) -> String {
    let asked = opened.request().claims();
    let signed = opened.dual_signature().claims();
    let code = Code::Approved;
    let receipt = Receipt {
        version: Version,
        jti: random_jti(),
        iat: NOW,
        action: Action::Authorization,
        gateway: asked.gateway.clone(),
        merchant: asked.merchant.clone(),
        client: opened.dual_signature().signer().thumbprint(),
        xid: asked.xid,
        sid: asked.sid,
        nc: signed.nc,
        nm: signed.nm,
        dsh: opened.dual_signature().hash(),
        reqh: opened.request().hash(),
        target: None,
        decision: code.decision(),
        code: code.digits().to_owned(),
        reason: code.reason().to_owned(),
        amount: asked.amount,
        totals: Totals {
            authorized: asked.amount.value(),
            ..Totals::default()
        },
        authorization: Some(AuthorizationId::random().unwrap()),
        capture_before: Some(NOW.plus(7 * 86_400)),
    };
    sign_receipt(&parties.gateway, &receipt)
}

pub fn sign_receipt(signer: &Party, receipt: &Receipt) -> String {
    signer.software_key().sign(receipt).unwrap()
}

/// Message 6.
fn answer(
    parties: &Parties,
    verified: &VerifiedPurchase,
    order: OrderId,
    receipt: &str,
    trust: &Trust,
) -> PurchaseResponse {
    let signed = verified.dual_signature().claims();
    let said: Verified<Receipt> = Received::read(receipt).unwrap().verify(trust, NOW).unwrap();
    let claims = PurchaseAnswer {
        version: Version,
        xid: signed.xid,
        sid: signed.sid,
        nc: signed.nc,
        order,
        status: said.claims().decision,
        receipt: Digest::of(receipt.as_bytes()),
    };
    PurchaseResponse {
        purchase_response: parties.merchant.software_key().sign(&claims).unwrap(),
        receipt: receipt.to_owned(),
    }
}

pub fn random_jti() -> Jti {
    Jti::random().unwrap()
}
