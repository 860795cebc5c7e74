//! Parties that make messages by hand, with the keys of a provisioned directory: so that a test can send
//! the gateway what no merchant of ours would.

use std::{fs, net::SocketAddr, sync::Arc};

use hyper::{HeaderMap, body::Bytes};
use mtls::{
    SharedTrust,
    client::{Answer, HttpClient, Limits, Server},
    identity::Identity,
    pem,
    trust::TrustFiles,
};
use protocol::{
    authorization::{AuthorizationBody, AuthorizationRequest, AuthorizationResponse, Capture},
    cancellation::{Cancellation, CancellationBody},
    identifiers::{ClientNonce, Digest, Jti, MerchantNonce, OrderId, Sid},
    json::Version,
    jws::{Received, Verified},
    money::{Amount, Currency},
    names::{ClientName, GatewayName, MerchantName, Role},
    order_information::{Item, OrderInformation, Quantity},
    payment_information::{Expiry, Instrument, Pan},
    problem::{Problem, ProblemDocument},
    purchase::{self, PayersView, SignedPurchase},
    receipt::Receipt,
    session::{AcceptedSession, Expected, NamedMerchant, OfferedGateway, Session},
    signing::SoftwareKey,
    time::{Skew, Timestamp},
};
use rustls_pki_types::CertificateDer;
use toml::Table;

use crate::{place::Place, service::Service};

/// A payer and a merchant of one place, without their programs.
pub struct Parties {
    /// The payer's name.
    pub client: ClientName,
    /// The payer's key.
    pub client_key: SoftwareKey,
    /// The merchant's name.
    pub merchant: MerchantName,
    /// The merchant's signing key.
    pub merchant_key: SoftwareKey,
    /// The gateway's name.
    pub gateway: GatewayName,
    /// The gateway's encryption certificate.
    pub encryption_chain: Vec<CertificateDer<'static>>,
    /// Whom both trust.
    pub trust: SharedTrust,
    /// The merchant's TLS identity.
    pub tls: Identity,
    /// The payer's first card.
    pub card: Instrument,
}

/// A purchase ready to be sent to the gateway.
pub struct Purchase {
    /// What the merchant sends.
    pub body: AuthorizationBody,
    /// What the merchant signed.
    pub request: AuthorizationRequest,
    /// What the payer signed.
    pub signed: SignedPurchase,
}

impl Purchase {
    /// The body's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.body).unwrap()
    }

    /// What the payer holds a receipt against.
    pub fn payers_view(&self) -> PayersView<'_> {
        PayersView {
            dual_signature: &self.signed.dual_signature,
            dsh: self.signed.dsh,
            client_x5t: self.signed.client_x5t,
        }
    }
}

/// An amount in euros and cents.
pub fn euros(cents: u64) -> Amount {
    Amount::new(cents, currency("EUR")).unwrap()
}

/// A currency by its code.
pub fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

/// A card.
pub fn card(pan: &str, expiry: &str) -> Instrument {
    Instrument::Card {
        pan: Pan::new(pan).unwrap(),
        expiry: Expiry::new(expiry).unwrap(),
    }
}

/// The signing key that a directory has.
pub fn signing_key(place: &Place, directory: &str) -> SoftwareKey {
    let chain = pem::certificates(&place.path(&format!("{directory}/signing.pem"))).unwrap();
    let key = pem::private_key(&place.path(&format!("{directory}/signing.key"))).unwrap();
    SoftwareKey::from_pkcs8(key.secret_pkcs8_der(), chain).unwrap()
}

impl Parties {
    /// What the payer sends to withdraw a purchase.
    pub fn cancellation(&self, purchase: &Purchase) -> Vec<u8> {
        self.cancellation_signed_by(&self.client_key, purchase)
    }

    /// A withdrawal that somebody signed, whoever's the purchase is.
    pub fn cancellation_signed_by(&self, key: &SoftwareKey, purchase: &Purchase) -> Vec<u8> {
        let claims = Cancellation {
            version: Version,
            jti: Jti::random().unwrap(),
            iat: mtls::now(),
            gateway: self.gateway.clone(),
            xid: purchase.request.xid,
            dsh: purchase.signed.dsh,
        };
        serde_json::to_vec(&CancellationBody {
            cancellation: key.sign(&claims).unwrap(),
            dual_signature: purchase.body.dual_signature.clone(),
        })
        .unwrap()
    }

    /// The parties that `softhsm-setup init` made.
    pub fn of(place: &Place) -> Self {
        Self::with(place, "client", "merchant")
    }

    /// A payer and a merchant by the directories that hold them.
    pub fn with(place: &Place, client: &str, merchant: &str) -> Self {
        let config = |path: &str| -> Table {
            toml::from_str(&fs::read_to_string(place.path(path)).unwrap()).unwrap()
        };
        let client_config = config(&format!("{client}/client.toml"));
        let merchant_config = config(&format!("{merchant}/merchant.toml"));
        let gateway_config = config("gateway/gateway.toml");
        let name = |config: &Table| config["name"].as_str().unwrap().to_owned();
        let trust: TrustFiles = gateway_config["trust"].clone().try_into().unwrap();
        let instruments = config(&format!("{client}/instruments.toml"));
        let first = &instruments["instrument"][0];
        Self {
            client: name(&client_config).parse().unwrap(),
            client_key: signing_key(place, client),
            merchant: name(&merchant_config).parse().unwrap(),
            merchant_key: signing_key(place, merchant),
            gateway: name(&gateway_config).parse().unwrap(),
            encryption_chain: pem::certificates(&place.path("gateway/encryption.pem")).unwrap(),
            trust: trust
                .load_shared(&place.path("gateway"), mtls::now())
                .unwrap(),
            tls: Identity::from_files(
                &place.path(&format!("{merchant}/tls.pem")),
                &place.path(&format!("{merchant}/tls.key")),
            )
            .unwrap(),
            card: card(
                first["pan"].as_str().unwrap(),
                first["expiry"].as_str().unwrap(),
            ),
        }
    }

    /// The session's claims that the merchant would sign for an amount.
    pub fn session(&self, amount: Amount, now: Timestamp) -> Session {
        Session {
            version: Version,
            sid: Sid::random().unwrap(),
            nc: ClientNonce::random().unwrap(),
            nm: MerchantNonce::random().unwrap(),
            iat: now,
            exp: now.plus(protocol::session::LIFETIME_SECONDS),
            merchant: NamedMerchant {
                id: self.merchant.clone(),
                name: "A shop".to_owned(),
            },
            order: OrderId::random().unwrap(),
            amount,
            gateway: OfferedGateway::new(self.gateway.clone(), &self.encryption_chain),
        }
    }

    /// The payer's side of a session: accepted, and a purchase signed in it.
    pub fn sign(&self, session: Session, instrument: Instrument, now: Timestamp) -> SignedPurchase {
        let expected = Expected {
            nc: session.nc,
            host: "localhost",
            order: session.order,
            amount: session.amount,
            gateways: std::slice::from_ref(&self.gateway),
        };
        let order = OrderInformation {
            order: session.order,
            items: vec![Item {
                sku: "1".to_owned(),
                name: "a thing".to_owned(),
                quantity: Quantity::new(1).unwrap(),
                unit_price: session.amount.value(),
            }],
            delivery: None,
            total: session.amount,
        };
        let trust = self.trust.load();
        let compact = self.merchant_key.sign(&session).unwrap();
        let verified = Received::<Session>::read(&compact)
            .unwrap()
            .verify(&trust, now)
            .unwrap();
        let accepted =
            AcceptedSession::check(verified, &expected, &trust, Skew::default(), now).unwrap();
        purchase::sign(&accepted, order, instrument, &self.client_key, now).unwrap()
    }

    /// The merchant's request for what the payer signed.
    pub fn request(&self, signed: &SignedPurchase, now: Timestamp) -> AuthorizationRequest {
        let (_, disclosure) =
            protocol::dual_signature::split_merchant_half(&signed.request.dual_signature).unwrap();
        let claims = &signed.dual_signature;
        AuthorizationRequest {
            version: Version,
            jti: Jti::at(now).unwrap(),
            iat: now,
            xid: claims.xid,
            sid: claims.sid,
            merchant: claims.merchant.id.clone(),
            gateway: claims.gateway.id.clone(),
            dsh: signed.dsh,
            pih: Digest::of(signed.request.payment_information.as_bytes()),
            oid: Digest::of(disclosure.as_bytes()),
            amount: claims.amount,
            capture: Capture::Later,
        }
    }

    /// The body of a request: signed by the merchant, with what the payer signed beside it.
    pub fn body(
        &self,
        request: &AuthorizationRequest,
        signed: &SignedPurchase,
    ) -> AuthorizationBody {
        let (compact, _) =
            protocol::dual_signature::split_merchant_half(&signed.request.dual_signature).unwrap();
        AuthorizationBody {
            authorization_request: self.merchant_key.sign(request).unwrap(),
            dual_signature: format!("{compact}~"),
            payment_information: signed.request.payment_information.clone(),
        }
    }

    /// A whole purchase with a card.
    pub fn purchase(&self, amount: Amount, instrument: Instrument) -> Purchase {
        let now = mtls::now();
        let signed = self.sign(self.session(amount, now), instrument, now);
        let request = self.request(&signed, now);
        Purchase {
            body: self.body(&request, &signed),
            request,
            signed,
        }
    }

    /// A client of the gateway as this merchant.
    pub fn to_gateway(&self, gateway: &Service) -> HttpClient {
        self.client_of(gateway, "merchants", Some(self.tls.clone()))
    }

    /// The same, by the address where it listens for merchants.
    pub fn at(&self, merchants: SocketAddr) -> HttpClient {
        self.client_at(merchants.port(), Some(self.tls.clone()))
    }

    /// A client of the gateway's payer listener.
    pub fn to_payer_listener(&self, gateway: &Service) -> HttpClient {
        self.client_of(gateway, "payers", None)
    }

    /// A client of a listener of the gateway, as whoever the identity is.
    pub fn client_of(
        &self,
        gateway: &Service,
        listener: &str,
        identity: Option<Identity>,
    ) -> HttpClient {
        self.client_at(gateway.address(listener).port(), identity)
    }

    /// A client of what leads to a gateway, at a port of this machine.
    pub fn client_at(&self, port: u16, identity: Option<Identity>) -> HttpClient {
        let server = Server {
            url: format!("https://localhost:{port}"),
            role: Role::Gateway,
            name: Some(self.gateway.party().clone()),
            trust: Arc::clone(&self.trust),
            identity,
        };
        HttpClient::new(server, Limits::default()).unwrap()
    }

    /// A receipt, verified as the payer does, and held against everything that it signed.
    pub fn accept_receipt(&self, purchase: &Purchase, body: &[u8]) -> Verified<Receipt> {
        let response: AuthorizationResponse = serde_json::from_slice(body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)));
        let receipt = Received::<Receipt>::read(&response.receipt)
            .unwrap()
            .verify(&self.trust.load(), mtls::now())
            .unwrap();
        purchase
            .payers_view()
            .check_receipt(receipt.claims())
            .unwrap();
        receipt
    }
}

/// Sends a purchase to the gateway.
pub async fn authorize(gateway: &HttpClient, body: impl Into<Bytes>) -> Answer {
    gateway
        .post_json("/v1/authorizations", body.into(), HeaderMap::new())
        .await
        .unwrap()
}

/// The problem that an answer names.
pub fn problem(answer: &Answer) -> Problem {
    let document: ProblemDocument = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.headers["content-type"], ProblemDocument::MEDIA_TYPE);
    assert_eq!(document.status, answer.status.as_u16());
    document
        .problem()
        .unwrap_or_else(|| panic!("{} is no problem of ours", document.kind))
}
