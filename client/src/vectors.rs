//! For tests: the purchase of `protocol/vectors`, every message of it, and whom its parties trust.

use protocol::{
    encoding,
    identifiers::{Digest, Jti},
    json::Version,
    jws::Received,
    money::Amount,
    names::Role,
    order_information::OrderInformation,
    pki::{Trust, TrustSource},
    receipt::{Action, Code, Receipt, Totals},
    signing::SoftwareKey,
    time::Timestamp,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{purchases::Record, shop::Catalogue};

/// When the vectors are good.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_030);

#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) order: OrderInformation,
    pub(crate) message_2: Jws,
    pub(crate) message_3: Message3,
    pub(crate) message_5: Jws,
    pub(crate) message_6: Message6,
}

#[derive(Deserialize)]
pub(crate) struct Jws {
    pub(crate) jws: String,
}

#[derive(Deserialize)]
pub(crate) struct Message3 {
    pub(crate) pi: Disclosed,
    pub(crate) body: String,
}

#[derive(Deserialize)]
pub(crate) struct Disclosed {
    pub(crate) disclosure: String,
}

#[derive(Deserialize)]
pub(crate) struct Message6 {
    pub(crate) answer: Jws,
}

#[derive(Deserialize)]
struct Parties {
    parties: Vec<Party>,
    trusts: std::collections::BTreeMap<String, Files>,
}

#[derive(Deserialize)]
struct Party {
    name: String,
    certificate: String,
    x5t: Digest,
    private_key_pkcs8: String,
}

#[derive(Deserialize)]
struct Files {
    root: String,
    root_crl: String,
    issuing_cas: Vec<Ca>,
    crls: Vec<String>,
}

#[derive(Deserialize)]
struct Ca {
    role: String,
    certificate: String,
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = format!(
        "{}/../protocol/vectors/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Every message of the one good purchase.
pub(crate) fn purchase() -> Vector {
    read("purchase")
}

/// The purchase as its payer keeps it, decided.
pub(crate) fn record() -> Record {
    let vector = purchase();
    Record {
        version: Version,
        shop: "https://bookshop.example".to_owned(),
        instrument: "everyday".to_owned(),
        client_x5t: party("client").x5t,
        session: vector.message_2.jws,
        request: vector.message_3.body,
        purchase_response: Some(vector.message_6.answer.jws),
        receipt: Some(vector.message_5.jws),
        after: Vec::new(),
        cancellation: None,
        withdrawn: None,
    }
}

fn party(name: &str) -> Party {
    let parties: Parties = read("parties");
    let found = parties.parties.into_iter().find(|party| party.name == name);
    found.unwrap()
}

/// A receipt about the purchase that differs from the good one, signed by its gateway.
pub(crate) fn other_receipt(change: impl FnOnce(&mut Receipt)) -> String {
    let gateway = party("gateway signing");
    let der = |text: &str| encoding::base64_decode(text).unwrap();
    let key = SoftwareKey::from_pkcs8(
        &der(&gateway.private_key_pkcs8),
        vec![der(&gateway.certificate).into()],
    );
    let good = Received::<Receipt>::read(&purchase().message_5.jws).unwrap();
    let mut receipt = good.unverified().clone();
    change(&mut receipt);
    key.unwrap().sign(&receipt).unwrap()
}

/// The receipt of a declined purchase.
pub(crate) fn declined() -> String {
    other_receipt(|receipt| {
        let code = Code::InsufficientFunds;
        receipt.decision = code.decision();
        receipt.code = code.digits().to_owned();
        receipt.reason = code.reason().to_owned();
        receipt.totals = Totals::default();
        receipt.authorization = None;
        receipt.capture_before = None;
    })
}

/// The receipt of a cancellation of the purchase.
pub(crate) fn withdrawn() -> String {
    other_receipt(|receipt| {
        receipt.action = Action::Cancellation;
        receipt.totals = Totals::default();
        receipt.authorization = None;
        receipt.capture_before = None;
    })
}

/// The receipt of a capture of so many minor units, the first thing after the authorization.
pub(crate) fn captured(value: u64) -> String {
    other_receipt(|receipt| {
        receipt.jti = Jti::from_bytes([1; 16]);
        receipt.action = Action::Capture;
        receipt.amount = Amount::new(value, receipt.amount.currency()).unwrap();
        receipt.totals.captured = value;
    })
}

/// The receipt of a refund out of what was captured.
pub(crate) fn refunded(captured: u64, value: u64) -> String {
    other_receipt(|receipt| {
        receipt.jti = Jti::from_bytes([2; 16]);
        receipt.action = Action::Refund;
        receipt.amount = Amount::new(value, receipt.amount.currency()).unwrap();
        receipt.totals.captured = captured;
        receipt.totals.refunded = value;
    })
}

/// A catalogue that has what the purchase has, at its prices.
pub(crate) fn catalogue() -> Catalogue {
    let order = purchase().order;
    let items: Vec<_> = order
        .items
        .iter()
        .map(|item| {
            serde_json::json!({
                "sku": item.sku, "name": item.name, "unit_price": item.unit_price,
            })
        })
        .collect();
    let catalogue = serde_json::json!({
        "merchant": "urn:twinseal:merchant:bookshop",
        "name": "The Corner Bookshop",
        "currency": order.total.currency(),
        "items": items,
    });
    serde_json::from_value(catalogue).unwrap()
}

/// One of the vectors' trusts, by its name.
pub(crate) fn trust(name: &str) -> Trust {
    let parties: Parties = read("parties");
    let files = &parties.trusts[name];
    let der = |text: &str| encoding::base64_decode(text).unwrap();
    let role = |name: &str| Role::ALL.into_iter().find(|role| role.as_str() == name);
    let source = TrustSource {
        root: der(&files.root).into(),
        root_crl: der(&files.root_crl).into(),
        anchors: files
            .issuing_cas
            .iter()
            .map(|ca| (role(&ca.role).unwrap(), der(&ca.certificate).into()))
            .collect(),
        crls: files.crls.iter().map(|crl| der(crl).into()).collect(),
    };
    Trust::load(source, NOW).unwrap()
}
