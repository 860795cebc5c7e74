//! Who gets as far as asking.

use std::time::Duration;

use hyper::HeaderMap;
use mtls::{
    client::{ClientError, HttpClient},
    identity::Identity,
};
use protocol::problem::Problem;
use twinseal_tests::{
    parties::{Parties, authorize, euros, problem},
    place::Place,
};

/// How long what was refused may take to be in the log.
const LOGGED: Duration = Duration::from_secs(10);

async fn certificates(client: &HttpClient) -> Result<u16, ClientError> {
    client
        .get("/v1/certificates", HeaderMap::new())
        .await
        .map(|answer| answer.status.as_u16())
}

fn identity(place: &Place, directory: &str) -> Identity {
    Identity::from_files(
        &place.path(&format!("{directory}/tls.pem")),
        &place.path(&format!("{directory}/tls.key")),
    )
    .unwrap()
}

#[tokio::test]
async fn a_merchant_that_is_not_configured_or_not_active_is_refused() {
    let place = Place::new();
    place.setup(&["merchant", "--name", "rival", "--out", "rival"]);
    place.setup(&["merchant", "--name", "idle", "--out", "idle"]);
    place.edit("gateway/gateway.toml", |config| {
        let idle: toml::Table =
            toml::from_str("name = \"urn:twinseal:merchant:idle\"\nactive = false").unwrap();
        config["merchant"].as_array_mut().unwrap().push(idle.into());
    });
    let gateway = place.start_gateway();
    for directory in ["rival", "idle"] {
        let parties = Parties::with(&place, "client", directory);
        let purchase = parties.purchase(euros(1250), parties.card.clone());
        let answer = authorize(&parties.to_gateway(&gateway), purchase.bytes()).await;
        assert_eq!(problem(&answer), Problem::MerchantMismatch, "{directory}");
    }
    assert_eq!(place.held("everyday"), 0);
}

#[tokio::test]
async fn a_merchant_can_t_ask_in_another_s_name() {
    let place = Place::new();
    place.setup(&["merchant", "--name", "rival", "--out", "rival"]);
    place.edit("gateway/gateway.toml", |config| {
        let rival: toml::Table =
            toml::from_str("name = \"urn:twinseal:merchant:rival\"\nactive = true").unwrap();
        config["merchant"]
            .as_array_mut()
            .unwrap()
            .push(rival.into());
    });
    let parties = Parties::of(&place);
    let rival = Parties::with(&place, "client", "rival");
    let gateway = place.start_gateway();
    let purchase = parties.purchase(euros(1250), parties.card.clone());

    // The bookshop's request over the rival's connection.
    let answer = authorize(&rival.to_gateway(&gateway), purchase.bytes()).await;
    assert_eq!(problem(&answer), Problem::MerchantMismatch);

    // The bookshop's purchase in a request of the rival's own.
    let mut request = purchase.request.clone();
    request.merchant = rival.merchant.clone();
    let body = rival.body(&request, &purchase.signed);
    let answer = authorize(
        &rival.to_gateway(&gateway),
        serde_json::to_vec(&body).unwrap(),
    )
    .await;
    assert_eq!(problem(&answer), Problem::MerchantMismatch);

    // The rival's signature under the bookshop's name, over the bookshop's connection.
    let body = rival.body(&purchase.request, &purchase.signed);
    let answer = authorize(
        &parties.to_gateway(&gateway),
        serde_json::to_vec(&body).unwrap(),
    )
    .await;
    assert_eq!(problem(&answer), Problem::MerchantMismatch);
    assert_eq!(place.held("everyday"), 0);
}

#[tokio::test]
async fn without_a_certificate_or_with_a_stranger_s_there_is_no_connection() {
    let place = Place::new();
    let strangers = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    for identity in [None, Some(identity(&strangers, "merchant"))] {
        let client = parties.client_of(&gateway, "merchants", identity);
        assert!(certificates(&client).await.is_err());
    }
    assert_eq!(
        certificates(&parties.to_gateway(&gateway)).await.unwrap(),
        200
    );
}

#[tokio::test]
async fn a_certificate_of_another_role_is_no_merchant_s() {
    let place = Place::new();
    place.setup(&["merchant", "--name", "other", "--out", "other"]);
    let csr = place.text("other.csr");
    let output = std::process::Command::new("openssl")
        .args(["req", "-new", "-subj", "/CN=anybody", "-key"])
        .arg(place.path("other/tls.key"))
        .args(["-out", &csr])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::remove_file(place.path("other/tls.pem")).unwrap();
    let out = place.text("other/tls.pem");
    place.setup(&[
        "issue", "--csr", &csr, "--role", "gateway", "--usage", "tls", "--name", "other", "--out",
        &out,
    ]);
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let client = parties.client_of(&gateway, "merchants", Some(identity(&place, "other")));
    assert!(certificates(&client).await.is_err());
    gateway.wait_for_log(LOGGED, |line| line.to_string().contains("role-mismatch"));
}

#[tokio::test]
async fn a_revoked_merchant_is_not_connected() {
    let place = Place::new();
    place.setup(&["revoke", "--certificate", &place.text("merchant/tls.pem")]);
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    assert!(certificates(&parties.to_gateway(&gateway)).await.is_err());
    gateway.wait_for_log(LOGGED, |line| {
        line.to_string().contains("certificate-revoked")
    });
}

#[tokio::test]
async fn the_payer_listener_has_receipts_and_certificates_and_nothing_else() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let listener = parties.to_payer_listener(&gateway);
    assert_eq!(certificates(&listener).await.unwrap(), 200);
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    let answer = authorize(&listener, purchase.bytes()).await;
    assert_eq!(answer.status, 404);
    assert_eq!(place.held("everyday"), 0);
}
