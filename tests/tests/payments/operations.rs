//! What operators see of the gateway: is it alive, is it ready, what does it count.

use std::{
    fs,
    io::Read as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use hyper::HeaderMap;
use protocol::problem::Problem;
use serde_json::Value;
use twinseal_tests::{
    parties::{Parties, authorize, euros, problem},
    place::Place,
    service::{Service, plain_get},
};

/// The status and the body of an answer on the operators' listener.
fn asked(gateway: &Service, path: &str) -> (u16, String) {
    let answer = plain_get(gateway.address("admin"), path);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn ready(gateway: &Service) -> (u16, Value) {
    let (status, body) = asked(gateway, "/ready");
    (status, serde_json::from_str(&body).unwrap())
}

#[test]
fn a_gateway_is_ready_when_each_key_and_the_store_have_just_worked() {
    let place = Place::new();
    let gateway = place.start_gateway();
    assert_eq!(asked(&gateway, "/health"), (200, "alive\n".to_owned()));
    let (status, said) = ready(&gateway);
    assert_eq!(status, 200, "{said}");
    assert_eq!(said["ready"], true);
    let parts = said["parts"].as_object().unwrap();
    for part in [
        "key tls",
        "key signing",
        "key encryption",
        "key data",
        "key index",
        "token twinseal-gateway",
        "store",
    ] {
        assert_eq!(parts[part], "ok", "{part}");
    }
    assert_eq!(parts.len(), 7);
    assert_eq!(asked(&gateway, "/v1/certificates").0, 404);
}

#[tokio::test]
async fn a_gateway_whose_token_is_gone_is_alive_not_ready_and_approves_nothing_until_it_is_back() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let merchant = parties.to_gateway(&gateway);
    let first = parties.purchase(euros(1250), parties.card.clone());
    assert_eq!(authorize(&merchant, first.bytes()).await.status, 200);
    assert_eq!(ready(&gateway).0, 200);

    let (here, away) = (place.path("gateway/tokens"), place.path("away"));
    fs::rename(&here, &away).unwrap();
    let (status, said) = ready(&gateway);
    assert_eq!(status, 503, "{said}");
    assert_eq!(said["ready"], false);
    assert_eq!(said["parts"]["store"], "ok");
    assert_ne!(said["parts"]["key signing"], "ok");
    assert_eq!(asked(&gateway, "/health").0, 200);
    let second = parties.purchase(euros(1000), parties.card.clone());
    let answer = authorize(&merchant, second.bytes()).await;
    assert_eq!(problem(&answer), Problem::HsmUnavailable);

    assert_eq!(place.held("everyday"), 1250);
    // The token comes back with other handles; nobody starts the gateway again.
    fs::rename(&away, &here).unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while ready(&gateway).0 != 200 {
        assert!(Instant::now() < end, "{}", ready(&gateway).1);
    }
    let answer = authorize(&merchant, second.bytes()).await;
    parties.accept_receipt(&second, &answer.body);
    assert_eq!(place.held("everyday"), 2250);
}

#[tokio::test]
async fn what_was_answered_is_counted_and_names_nobody() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let merchant = parties.to_gateway(&gateway);
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    assert_eq!(authorize(&merchant, purchase.bytes()).await.status, 200);
    assert_eq!(authorize(&merchant, "{}").await.status, 400);

    let (status, metrics) = asked(&gateway, "/metrics");
    assert_eq!(status, 200);
    let count = |name: &str, labels: &[&str]| {
        metrics
            .lines()
            .find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
            .and_then(|line| line.rsplit(' ').next())
            .unwrap_or_else(|| panic!("{name} {labels:?} is not in\n{metrics}"))
            .to_owned()
    };
    let merchants = r#"listener="merchants""#;
    let requests = "twinseal_requests_total";
    assert_eq!(count(requests, &[merchants, r#"status="200""#]), "1");
    assert_eq!(count(requests, &[merchants, r#"status="400""#]), "1");
    let malformed = r#"problem="malformed""#;
    assert_eq!(count("twinseal_problems_total", &[malformed]), "1");
    assert_eq!(count("twinseal_request_seconds_count", &[merchants]), "2");
    for secret in [
        "4111111111111111",
        parties.client.as_str(),
        &purchase.request.xid.to_string(),
    ] {
        assert!(!metrics.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_connection_above_the_share_of_its_address_is_closed_and_counted() {
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config["limits"]["handshakes_per_address"] = 1.into();
    });
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let silent = TcpStream::connect(gateway.address("merchants")).unwrap();
    let mut above = TcpStream::connect(gateway.address("merchants")).unwrap();
    assert_eq!(above.read(&mut [0; 1]).unwrap(), 0);
    // Each listener counts for itself.
    let payer = parties.to_payer_listener(&gateway);
    let answer = payer.get("/v1/certificates", HeaderMap::new()).await;
    assert_eq!(answer.unwrap().status, 200);
    drop(silent);

    let (_, metrics) = asked(&gateway, "/metrics");
    let counted = r#"twinseal_connections_closed_total{limit="handshakes_per_address"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}
