//! What the merchant's `/webhooks` makes of what is not the gateway's: nothing is kept, and nothing can be learned.

use std::sync::Arc;

use hyper::{HeaderMap, Method, StatusCode, body::Bytes, header::HeaderValue};
use mtls::client::{Answer, HttpClient, Limits, Server};
use protocol::{
    identifiers::Xid,
    names::{ClientName, Role},
    notice::{self, Happened, PaymentCancelled},
    problem::Problem,
    time::Timestamp,
    webhook::{self, Secret},
};
use twinseal_tests::parties::{euros, problem};

use crate::stage::Stage;

/// Somebody who knows a secret, the right one or another.
struct Sender {
    to: HttpClient,
    secrets: Vec<Secret>,
}

impl Sender {
    fn of(stage: &Stage) -> Self {
        let text = std::fs::read_to_string(stage.place.path("gateway/bookshop.whsec")).unwrap();
        let server = Server {
            url: stage.merchant.url("payers"),
            role: Role::Merchant,
            name: None,
            trust: Arc::clone(&stage.parties.trust),
            identity: None,
        };
        Self {
            to: HttpClient::new(server, Limits::default()).unwrap(),
            secrets: vec![Secret::read(&text).unwrap()],
        }
    }

    fn headers(&self, id: &str, sent: Timestamp, body: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let signature = webhook::sign(&self.secrets, id, sent, body.as_bytes());
        for (name, value) in [
            (webhook::ID, id),
            (webhook::TIMESTAMP, &sent.0.to_string()),
            (webhook::SIGNATURE, &signature),
        ] {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    async fn post(&self, headers: HeaderMap, body: &str) -> Answer {
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.to.post_json("/webhooks", body, headers).await.unwrap()
    }

    async fn send(&self, id: &str, sent: Timestamp, body: &str) -> Answer {
        self.post(self.headers(id, sent, body), body).await
    }
}

fn cancelled(xid: Xid, client: &ClientName) -> String {
    let cancelled = PaymentCancelled {
        xid,
        client: client.clone(),
        amount: euros(1250),
    };
    notice::write(&Happened::PaymentCancelled(cancelled), mtls::now()).unwrap()
}

#[tokio::test]
async fn the_gateway_s_is_taken_once_and_everybody_else_s_is_one_refusal() {
    let stage = Stage::new();
    let sender = Sender::of(&stage);
    let now = mtls::now();
    let body = cancelled(Xid::random().unwrap(), &stage.parties.client);

    // Forged, old, from the future, for another body, and without headers: one name.
    let forger = Sender {
        secrets: vec![Secret::random().unwrap()],
        ..Sender::of(&stage)
    };
    let good = sender.headers("one", now, &body);
    let mut refused = vec![
        forger.send("one", now, &body).await,
        sender.send("one", now.minus(400), &body).await,
        sender.send("one", now.plus(400), &body).await,
        sender.post(good.clone(), &format!("{body} ")).await,
        sender.post(HeaderMap::new(), &body).await,
    ];
    let mut renamed = good.clone();
    renamed.insert(webhook::ID, HeaderValue::from_static("two"));
    refused.push(sender.post(renamed, &body).await);
    for answer in &refused {
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(problem(answer), Problem::SignatureInvalid);
    }
    assert!(stage.desk(&["events"]).as_array().unwrap().is_empty());

    // The same again is the same.
    for _ in 0..2 {
        let taken = sender.post(good.clone(), &body).await;
        assert_eq!(taken.status, StatusCode::NO_CONTENT);
        assert!(taken.body.is_empty());
    }
    assert_eq!(stage.desk(&["events"]).as_array().unwrap().len(), 1);

    // Too large, of another media type, by another method.
    let large = "x".repeat(65 * 1024);
    assert_eq!(
        problem(&sender.send("large", now, &large).await),
        Problem::TooLarge
    );
    let asked = sender.to.get("/webhooks", HeaderMap::new()).await.unwrap();
    assert_eq!(
        asked.status,
        StatusCode::METHOD_NOT_ALLOWED,
        "{}",
        Method::GET
    );

    // Damaged, and signed all the same.
    assert_eq!(
        problem(&sender.send("damaged", now, "{}").await),
        Problem::Malformed
    );
    // What a newer gateway tells is kept out of harm's way.
    let newer = r#"{"type":"payment.sung","timestamp":"2027-01-15T08:00:22Z","data":{"x":1}}"#;
    let taken = sender.send("newer", now, newer).await;
    assert_eq!(taken.status, StatusCode::NO_CONTENT);
    let known = stage.desk(&["events"]);
    assert_eq!(known.as_array().unwrap().len(), 2);
    let listed = stage.place.merchant_cli(&["events"]).stdout;
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.contains("payment.sung"), "{listed}");
    assert!(listed.contains("not known to this version"), "{listed}");
}

#[tokio::test]
async fn another_payer_s_withdrawal_of_the_same_xid_is_not_shown_as_the_payer_s() {
    let stage = Stage::new();
    let xid = stage.bought();
    let sender = Sender::of(&stage);
    let stranger = ClientName::new("stranger").unwrap();
    let body = cancelled(xid.parse().unwrap(), &stranger);
    let taken = sender.send("stranger", mtls::now(), &body).await;
    assert_eq!(taken.status, StatusCode::NO_CONTENT);
    let shown = stage.desk(&["show", &xid]);
    assert_eq!(shown["told"].as_array().unwrap().len(), 0);
    assert_eq!(shown["state"], "approved");
    assert_eq!(stage.desk(&["events"]).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_merchant_without_a_secret_has_no_such_place() {
    let mut stage = Stage::new();
    let body = cancelled(Xid::random().unwrap(), &stage.parties.client);
    stage.place.edit("merchant/merchant.toml", |config| {
        config.remove("webhook");
    });
    stage.merchant = stage.place.start_merchant();
    let answer = Sender::of(&stage).send("one", mtls::now(), &body).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
