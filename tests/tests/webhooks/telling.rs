//! Expiry, withdrawal and settlement reach the merchant: at once, later, after a crash, and whatever another merchant
//! does.

use std::net::TcpListener;

use hyper::{HeaderMap, StatusCode};
use mtls::client::HttpClient;
use protocol::{
    identifiers::Jti,
    json::Version,
    lifecycle::{BatchRequest, LifecycleBody},
};
use serde_json::Value;
use twinseal_tests::{
    parties::{Parties, currency},
    service::plain_get,
};

use crate::stage::{Stage, gateway, heard, told};

#[tokio::test]
async fn a_merchant_learns_of_a_withdrawal_an_expiry_and_a_settlement_without_asking() {
    let stage = Stage::new();
    // The merchant knows the gateway's certificate; the next purchase does not reach the gateway.
    let captured = stage.bought();
    let to_gateway = stage.place.wire(&stage.gateway);
    let Stage {
        place,
        parties,
        gateway,
        hook,
        merchant,
    } = stage;
    assert!(merchant.stop().0.success());
    let merchant = place.start_merchant();
    hook.lead_to(merchant.address("payers"));
    let stage = Stage {
        place,
        parties,
        gateway,
        hook,
        merchant,
    };
    let expiring = stage.bought();
    to_gateway.cut();
    let (exit, bought) = stage.buy();
    assert_eq!(exit, Some(4), "{bought}");
    let withdrawn = bought["xid"].as_str().unwrap().to_owned();

    let cancelled = stage.place.client(&["cancel", &withdrawn, "--yes"]);
    assert!(cancelled.status.success(), "{cancelled:?}");
    let said = stage.wait_until_told("payment.cancelled");
    assert_eq!(said["xid"], withdrawn.as_str());
    stage.let_hold_end(&expiring);
    let said = stage.wait_until_told("payment.expired");
    assert_eq!(said["xid"], expiring.as_str());
    to_gateway.lead_to(stage.gateway.address("merchants"));
    stage.desk(&["capture", &captured]);
    let batch = stage.desk(&["batch", "close", "--currency", "EUR"]);
    stage.wait_until_told("batch.closed");

    let shown = stage.desk(&["show", &expiring]);
    assert_eq!(shown["told"][0]["type"], "payment.expired");
    assert_eq!(shown["told"][0]["data"]["released"]["value"], 1250);
    let shown = stage.place.merchant_cli(&["show", &expiring]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("12.50 EUR released, the gateway told"),
        "{shown}"
    );
    let shown = stage.place.merchant_cli(&["show", &withdrawn]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("by its payer, the gateway told"), "{shown}");
    let known = stage.desk(&["events"]);
    assert_eq!(known.as_array().unwrap().len(), 3);
    let of_batch: Vec<_> = known
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "batch.closed")
        .collect();
    assert_eq!(of_batch[0]["data"]["batch"], batch["batch"]);
    assert_eq!(of_batch[0]["data"]["totals"]["payable"], 1250);

    // The gateway keeps that all were taken; nobody's card is in any. What it has sent is answered before it ends.
    let (status, log) = stage.gateway.stop();
    assert!(status.success());
    assert_eq!(log.matches("merchant told").count(), 3, "{log}");
    let listed = gateway_events(&stage.place, &["--state", "delivered"]);
    assert_eq!(listed.len(), 3);
    for event in listed {
        assert_eq!(event["tries"], 1);
        let body = event["body"].as_str().unwrap();
        for secret in ["1111", "pan", "instrument", "last_four", "4111"] {
            assert!(!body.contains(secret), "{body}");
        }
    }
}

fn gateway_events(place: &twinseal_tests::place::Place, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["webhooks", "list", "--json"];
    all.extend(arguments);
    serde_json::from_slice(&gateway(place, &all).stdout).unwrap()
}

#[tokio::test]
async fn a_merchant_that_was_away_is_told_once_it_is_back_and_payments_go_on_meanwhile() {
    let mut stage = Stage::new();
    let first = stage.bought();
    stage.hook.cut();
    stage.let_hold_end(&first);
    let failed = stage.wait_for_gateway("merchant not told, tried again");
    assert!(failed["why"].as_str().is_some());
    stage.bought();
    let pending = stage.events(&["--state", "pending"]);
    assert_eq!(pending[0]["type"], "payment.expired");
    assert!(pending[0]["last_failure"].is_string(), "{pending:?}");
    // It crashes, too, and comes back elsewhere.
    stage.merchant.kill();
    stage.merchant = stage.place.start_merchant();
    stage.hook.lead_to(stage.merchant.address("payers"));
    let said = stage.wait_until_told("payment.expired");
    assert_eq!(said["xid"], first.as_str());
    let delivered = stage.wait_for_gateway("merchant told");
    assert!(delivered["tries"].as_u64().unwrap() > 1);
    let metrics = plain_get(stage.gateway.address("admin"), "/metrics");
    for line in [
        r#"twinseal_webhook_tries_total{merchant="urn:twinseal:merchant:bookshop",outcome="delivered"} 1"#,
        r#"twinseal_webhooks_pending{merchant="urn:twinseal:merchant:bookshop"}"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_gateway_that_crashes_between_commit_and_delivery_tells_after_its_restart() {
    let mut stage = Stage::new();
    let xid = stage.bought();
    stage.hook.cut();
    stage.let_hold_end(&xid);
    stage.wait_for_gateway("hold ended");
    stage.gateway.kill();
    assert_eq!(
        gateway_events(&stage.place, &["--state", "pending"]).len(),
        1
    );
    stage.hook.lead_to(stage.merchant.address("payers"));
    stage.gateway = stage.place.start_gateway();
    assert_eq!(
        stage.wait_until_told("payment.expired")["xid"],
        xid.as_str()
    );
    stage.wait_for_gateway("merchant told");
    assert_eq!(stage.desk(&["events"]).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_gateway_that_crashes_before_it_heard_the_answer_tells_again_and_the_merchant_knows() {
    let mut stage = Stage::with(|config| {
        config["webhooks"]["timeout_seconds"] = 1.into();
    });
    let xid = stage.bought();
    stage.hook.hold_answers();
    stage.let_hold_end(&xid);
    stage.wait_until_told("payment.expired");
    stage.gateway.kill();
    stage.hook.lead_to(stage.merchant.address("payers"));
    stage.hook.release_answers();
    stage.gateway = stage.place.start_gateway();
    // Once the dead one's time with it is over.
    told(&stage.merchant, "told again", "payment.expired");
    stage.wait_for_gateway("merchant told");
    assert_eq!(stage.desk(&["events"]).as_array().unwrap().len(), 1);
}

/// Has a merchant close an empty batch.
async fn close_batch(parties: &Parties, to_gateway: &HttpClient) {
    let request = BatchRequest {
        version: Version,
        jti: Jti::random().unwrap(),
        iat: mtls::now(),
        merchant: parties.merchant.clone(),
        gateway: parties.gateway.clone(),
        currency: currency("EUR"),
    };
    let body = LifecycleBody {
        request: parties.merchant_key.sign(&request).unwrap(),
    };
    let body = serde_json::to_vec(&body).unwrap().into();
    let answer = to_gateway
        .post_json("/v1/batches", body, HeaderMap::new())
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_merchant_that_never_answers_delays_neither_another_nor_the_gateway_s_end() {
    // It takes connections, and says nothing on them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut stage = Stage::new();
    let name = ["--name", "rival"];
    stage
        .place
        .setup(&[&["merchant", "--out", "rival"][..], &name].concat());
    stage.place.edit("gateway/gateway.toml", |config| {
        let webhook = format!(
            "[[merchant]]\nname = \"urn:twinseal:merchant:rival\"\nactive = true\n\
             webhook = {{ url = \"https://localhost:{port}/\", secret_files = [\"../rival/gateway.whsec\"] }}"
        );
        let rival: toml::Table = toml::from_str(&webhook).unwrap();
        let rival = rival["merchant"][0].clone();
        config["merchant"].as_array_mut().unwrap().push(rival);
    });
    assert!(stage.gateway.stop().0.success());
    stage.gateway = stage.place.start_gateway();
    assert!(stage.merchant.stop().0.success());
    stage.merchant = stage.place.start_merchant();
    stage.hook.lead_to(stage.merchant.address("payers"));

    let rival = Parties::with(&stage.place, "client", "rival");
    let to_gateway = rival.to_gateway(&stage.gateway);
    for _ in 0..8 {
        close_batch(&rival, &to_gateway).await;
    }
    // As many as it has places for are on their way to the rival, and stay there.
    let xid = stage.bought();
    stage.let_hold_end(&xid);
    assert_eq!(
        stage.wait_until_told("payment.expired")["xid"],
        xid.as_str()
    );
    let rivals = stage.events(&["--merchant", "urn:twinseal:merchant:rival"]);
    assert_eq!(rivals.len(), 8);
    assert!(rivals.iter().all(|event| event["state"] == "pending"));
    heard(&stage.gateway, "merchant told");
    let (status, log) = stage.gateway.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("drained and stopped"), "{log}");
}
