//! The load balancer's configuration: HAProxy takes it, and real payments go through it.

use std::process::Command;

use serde_json::Value;
use test_postgres::Server;
use twinseal_tests::{
    parties::{Parties, authorize, euros},
    place::Place,
    service::Service,
};

use crate::{
    balancer::{Balancer, Replaced},
    files::{repository, succeeds},
};

/// Where the gateways of the configuration are; the second one may be missing.
fn gateways<'a>(first: &Service, second: Option<&Service>) -> Vec<Replaced<'a>> {
    let mut replaced = Vec::new();
    for (configured, gateway) in [("10.0.0.11", Some(first)), ("10.0.0.12", second)] {
        // Nobody listens on port 1.
        let address = |listener: &str| match gateway {
            Some(gateway) => gateway.address(listener).to_string(),
            None => "127.0.0.1:1".to_owned(),
        };
        let admin = gateway.map_or(1, |gateway| gateway.address("admin").port());
        for (port, listener) in [(8443, "merchants"), (8444, "payers")] {
            let to = format!("{} check port {admin}", address(listener));
            let from: &'static str = match (configured, port) {
                ("10.0.0.11", 8443) => "10.0.0.11:8443 check port 8445",
                ("10.0.0.11", _) => "10.0.0.11:8444 check port 8445",
                (_, 8443) => "10.0.0.12:8443 check port 8445",
                _ => "10.0.0.12:8444 check port 8445",
            };
            replaced.push((from, to));
        }
    }
    replaced
}

#[test]
fn haproxy_takes_the_configuration_as_it_is() {
    let file = repository("deploy/haproxy/haproxy.cfg");
    // -dW: a warning is a failure.
    succeeds(Command::new("haproxy").args(["-c", "-dW", "-f"]).arg(file));
}

#[test]
fn a_purchase_goes_through_haproxy_from_the_payer_to_the_shop_and_from_the_shop_to_the_gateway() {
    let place = Place::new();
    let gateway = place.start_gateway();
    let before_gateways = Balancer::start(&gateways(&gateway, None), &["bind :8443", "bind :8444"]);
    let at = |number: usize| {
        format!(
            "https://localhost:{}",
            before_gateways.addresses[number].port()
        )
    };
    place.edit("merchant/merchant.toml", |config| {
        config["gateway"]["url"] = at(0).into();
    });
    place.edit("client/client.toml", |config| {
        config["gateway"]["payer_url"] = at(1).into();
    });
    let merchant = place.start_merchant();
    let shop: Replaced<'_> = ("10.0.0.21:8543", merchant.address("payers").to_string());
    let before_shop = Balancer::start(&[shop], &["bind :8543"]);
    before_gateways.wait_until("gateways-for-merchants/gateway-1", "code: 200");
    before_gateways.wait_until("gateways-for-merchants/gateway-2", "DOWN");
    before_shop.wait_until("shop-1/merchant-1", "code: 200");

    let shop = format!("https://localhost:{}", before_shop.addresses[0].port());
    let bought = place.client(&[
        "--json", "buy", "--yes", "--shop", &shop, "--item", "book-1",
    ]);
    let said = String::from_utf8_lossy(&bought.stderr).into_owned();
    assert!(bought.status.success(), "{said}");
    let bought: Value = serde_json::from_slice(&bought.stdout).unwrap();
    let xid = bought["xid"].as_str().unwrap();
    let shown = place.client(&["show", xid, "--refresh"]);
    assert!(
        shown.status.success(),
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    assert_eq!(place.held("everyday"), 1250);
}

#[tokio::test]
async fn a_gateway_that_dies_behind_haproxy_is_followed_by_the_other_one() {
    let place = Place::new();
    let database = Server::shared().new_database();
    place.use_postgres(Server::shared(), &database);
    place.gateway_cli(&[
        "accounts",
        "add",
        "--from",
        &place.text("gateway/accounts.toml"),
    ]);
    let (first, second) = (place.start_gateway(), place.start_gateway());
    let balancer = Balancer::start(
        &gateways(&first, Some(&second)),
        &["bind :8443", "bind :8444"],
    );
    let parties = Parties::of(&place);
    let client = parties.client_at(balancer.addresses[0].port(), Some(parties.tls.clone()));
    let buy = async || {
        let purchase = parties.purchase(euros(100), parties.card.clone());
        let answer = authorize(&client, purchase.bytes()).await;
        parties.accept_receipt(&purchase, &answer.body);
    };
    buy().await;
    first.kill();
    balancer.wait_until("gateways-for-merchants/gateway-1", "DOWN");
    buy().await;
    second.kill();
}
