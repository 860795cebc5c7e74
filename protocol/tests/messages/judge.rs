//! Judges a vector with the public API, knowing nothing but the vector files.

use std::{fs, path::PathBuf};

use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use protocol::{
    authorization::{GatewayContext, ReceivedAuthorization},
    cancellation::VerifiedCancellation,
    dual_signature::DualSignature,
    encoding,
    identifiers::Digest,
    inquiry::{Inquiry, check_proof},
    json,
    jws::Received,
    lifecycle::{Capture, Operation, ReceivedBatch, ReceivedLifecycle, RefundReversal},
    names::{GatewayName, PartyName, Role},
    order_information::OrderInformation,
    pki::{Trust, TrustSource},
    problem::{Problem, Refusal},
    purchase::{OpenSession, PayersView, PurchaseAnswer, PurchaseResponse, ReceivedPurchase},
    receipt::Receipt,
    session::{AcceptedSession, Expected, Session, SessionRequest},
    time::{Skew, Timestamp},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn read_json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(directory().join(name)).unwrap()).unwrap()
}

/// A member of a JSON file, as what it is.
pub fn member<T: DeserializeOwned>(json: &Value, pointer: &str) -> T {
    serde_json::from_value(json.pointer(pointer).unwrap().clone()).unwrap()
}

/// Standard base64.
fn der(json: &Value, pointer: &str) -> Vec<u8> {
    encoding::base64_decode(&member::<String>(json, pointer)).unwrap()
}

/// base64url.
pub fn bytes(json: &Value, pointer: &str) -> Vec<u8> {
    encoding::base64url_decode(&member::<String>(json, pointer)).unwrap()
}

/// One vector, as README.md describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    pub name: String,
    pub message: String,
    pub expect: String,
    pub why: String,
    at: Timestamp,
    trust: String,
    host: Option<String>,
    peer: Option<PartyName>,
    gateway: Option<GatewayName>,
    input: Option<String>,
    input_base64url: Option<String>,
}

impl Vector {
    fn input(&self) -> Vec<u8> {
        match (&self.input, &self.input_base64url) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => encoding::base64url_decode(text).unwrap(),
            _ => panic!("{}: one input", self.name),
        }
    }

    /// What has to come of it: a problem, or none.
    pub fn expected(&self) -> Option<Problem> {
        if self.expect == "accepted" {
            return None;
        }
        let urn = format!("urn:twinseal:problem:{}", self.expect);
        Some(Problem::from_urn(&urn).unwrap())
    }
}

/// The vectors of a file.
pub fn vectors(name: &str) -> Vec<Vector> {
    member(&read_json(name), "/vectors")
}

/// What all vectors rest on.
pub struct World {
    pub parties: Value,
    pub purchase: Value,
    session: Session,
    dual_signature: DualSignature,
    order: OrderInformation,
}

impl World {
    pub fn read() -> Self {
        let purchase = read_json("purchase.json");
        Self {
            parties: read_json("parties.json"),
            session: member(&purchase, "/message_2/claims"),
            dual_signature: member(&purchase, "/message_3/dual_signature/claims"),
            order: member(&purchase, "/order"),
            purchase,
        }
    }

    fn party(&self, name: &str) -> &Value {
        let parties = self.parties["parties"].as_array().unwrap();
        parties.iter().find(|party| party["name"] == name).unwrap()
    }

    fn x5t(&self, name: &str) -> Digest {
        member(self.party(name), "/x5t")
    }

    fn trust(&self, name: &str, at: Timestamp) -> Trust {
        let trust = &self.parties["trusts"][name];
        let list = |name: &str| trust[name].as_array().unwrap().iter();
        let source = TrustSource {
            root: der(trust, "/root").into(),
            root_crl: der(trust, "/root_crl").into(),
            anchors: list("issuing_cas")
                .map(|ca| {
                    let role: String = member(ca, "/role");
                    let role = Role::ALL.into_iter().find(|known| known.as_str() == role);
                    (role.unwrap(), der(ca, "/certificate").into())
                })
                .collect(),
            crls: list("crls").map(|crl| der(crl, "").into()).collect(),
        };
        Trust::load(source, at).unwrap()
    }

    fn payers_view(&self) -> PayersView<'_> {
        PayersView {
            dual_signature: &self.dual_signature,
            dsh: member(&self.purchase, "/message_3/dsh"),
            client_x5t: self.x5t("client"),
        }
    }

    /// ECDH with a gateway's encryption key.
    pub fn shared_secret(&self, party: &str, other: &[u8]) -> [u8; 32] {
        let scalar = bytes(self.party(party), "/private_key_d");
        let key = PrivateKey::from_private_key(&ECDH_P256, &scalar).unwrap();
        agreement::agree(
            &key,
            UnparsedPublicKey::new(&ECDH_P256, other),
            (),
            |secret| secret.try_into().map_err(|_| ()),
        )
        .unwrap()
    }

    /// Judges a vector's input as its reader would.
    pub fn judge(&self, vector: &Vector) -> Result<(), Refusal> {
        let trust = self.trust(&vector.trust, vector.at);
        let input = vector.input();
        let text = || std::str::from_utf8(&input).unwrap();
        match vector.message.as_str() {
            "session-request" => SessionRequest::read(&input).map(drop),
            "session" => self.judge_session(vector, text(), &trust),
            "purchase-request" => self.judge_purchase(vector, &input, &trust),
            "authorization-request" => self.judge_authorization(vector, &input, &trust),
            "receipt" => {
                let receipt = Received::<Receipt>::read(text())?.verify(&trust, vector.at)?;
                self.payers_view().check_receipt(receipt.claims())
            }
            "purchase-response" => self.judge_response(vector, &input, &trust),
            "inquiry" => {
                let proof = Received::<Inquiry>::read(text())?.verify(&trust, vector.at)?;
                let asked = self.session.gateway.id.party();
                let xid = self.dual_signature.xid;
                check_proof(&proof, asked, xid, Skew::default(), vector.at)
            }
            "capture" => self.judge_lifecycle::<Capture>(vector, &input, &trust),
            "refund-reversal" => self.judge_lifecycle::<RefundReversal>(vector, &input, &trust),
            "batch" => ReceivedBatch::read(&input)?
                .verify(vector.peer.as_ref().unwrap(), &trust, vector.at)?
                .check_first(vector.gateway.as_ref().unwrap(), Skew::default(), vector.at),
            "cancellation" => {
                let gateway = vector.gateway.as_ref().unwrap();
                let skew = Skew::default();
                VerifiedCancellation::read(&input, gateway, &trust, skew, vector.at).map(drop)
            }
            other => panic!("{}: no message {other}", vector.name),
        }
    }

    fn judge_lifecycle<O: Operation>(
        &self,
        vector: &Vector,
        body: &[u8],
        trust: &Trust,
    ) -> Result<(), Refusal> {
        ReceivedLifecycle::<O>::read(body)?
            .verify(vector.peer.as_ref().unwrap(), trust, vector.at)?
            .check_first(vector.gateway.as_ref().unwrap(), Skew::default(), vector.at)
    }

    fn judge_session(&self, vector: &Vector, jws: &str, trust: &Trust) -> Result<(), Refusal> {
        let session = Received::<Session>::read(jws)?.verify(trust, vector.at)?;
        let expected = Expected {
            nc: self.session.nc,
            host: vector.host.as_deref().unwrap(),
            order: self.session.order,
            amount: self.session.amount,
            gateways: std::slice::from_ref(&self.session.gateway.id),
        };
        AcceptedSession::check(session, &expected, trust, Skew::default(), vector.at).map(drop)
    }

    fn judge_purchase(&self, vector: &Vector, body: &[u8], trust: &Trust) -> Result<(), Refusal> {
        let (received, _) = ReceivedPurchase::read(body)?;
        let open_session = OpenSession {
            session: &self.session,
            merchant_x5t: self.x5t("merchant"),
            gateway_x5t: self.x5t("gateway encryption"),
            order: &self.order,
        };
        received
            .verify(&open_session, trust, Skew::default(), vector.at)
            .map(drop)
    }

    fn judge_authorization(
        &self,
        vector: &Vector,
        body: &[u8],
        trust: &Trust,
    ) -> Result<(), Refusal> {
        let name = vector.gateway.as_ref().unwrap();
        let encryption = if name == &self.session.gateway.id {
            "gateway encryption"
        } else {
            "other gateway encryption"
        };
        let bound = ReceivedAuthorization::read(body)?
            .verify_request(vector.peer.as_ref().unwrap(), trust, vector.at)?
            .verify_binding(&GatewayContext {
                name,
                encryption_x5ts: &[self.x5t(encryption)],
                trust,
                skew: Skew::default(),
                now: vector.at,
            })?;
        let secret = self.shared_secret(encryption, bound.ephemeral());
        bound.open(&secret).map(drop)
    }

    fn judge_response(&self, vector: &Vector, body: &[u8], trust: &Trust) -> Result<(), Refusal> {
        let response: PurchaseResponse = json::read(body)?;
        let receipt = Received::<Receipt>::read(&response.receipt)?.verify(trust, vector.at)?;
        let answer = Received::<PurchaseAnswer>::read(&response.purchase_response)?
            .verify(trust, vector.at)?;
        let view = self.payers_view();
        view.check_receipt(receipt.claims())?;
        view.check_answer(&answer, self.order.order, &receipt)
    }
}
