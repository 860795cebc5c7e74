//! Who may read what was decided.

use hyper::{HeaderMap, header::HeaderValue};
use mtls::client::{Answer, HttpClient};
use protocol::{
    identifiers::{Jti, Xid},
    inquiry::{Certificates, HEADER, Inquiry, Receipts},
    json::{self, Version},
    names::PartyName,
    problem::Problem,
    time::Timestamp,
};
use twinseal_tests::{
    parties::{Parties, authorize, euros, problem},
    place::Place,
};

fn proof(parties: &Parties, aud: &PartyName, xid: Xid, iat: Timestamp) -> String {
    let inquiry = Inquiry {
        version: Version,
        jti: Jti::random().unwrap(),
        iat,
        aud: aud.clone(),
        xid,
    };
    parties.client_key.sign(&inquiry).unwrap()
}

async fn receipts(listener: &HttpClient, xid: Xid, proof: Option<String>) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(proof) = proof {
        headers.insert(HEADER, HeaderValue::from_str(&proof).unwrap());
    }
    listener
        .get(&format!("/v1/receipts/{xid}"), headers)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_payer_reads_its_own_receipt_and_nobody_else_learns_that_there_is_one() {
    let place = Place::new();
    place.setup(&["client", "--out", "other"]);
    let parties = Parties::of(&place);
    let other = Parties::with(&place, "other", "merchant");
    let gateway = place.start_gateway();
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    let decided = authorize(&parties.to_gateway(&gateway), purchase.bytes()).await;
    let claims = parties
        .accept_receipt(&purchase, &decided.body)
        .claims()
        .clone();
    let xid = purchase.request.xid;
    let listener = parties.to_payer_listener(&gateway);
    let aud = parties.gateway.party();
    let now = mtls::now();

    let own = receipts(&listener, xid, Some(proof(&parties, aud, xid, now))).await;
    let found: Receipts = serde_json::from_slice(&own.body).unwrap();
    let body = serde_json::json!({ "receipt": found.receipts[0] }).to_string();
    assert_eq!(
        parties.accept_receipt(&purchase, body.as_bytes()).claims(),
        &claims
    );

    let unknown = Xid::random().unwrap();
    let merchant = parties.merchant.party();
    for (xid, proof) in [
        (xid, None),
        (xid, Some("x.y.z".to_owned())),
        (xid, Some(proof(&other, aud, xid, now))),
        (xid, Some(proof(&parties, merchant, xid, now))),
        (xid, Some(proof(&parties, aud, unknown, now))),
        (xid, Some(proof(&parties, aud, xid, now.minus(121)))),
        (unknown, Some(proof(&parties, aud, unknown, now))),
    ] {
        let answer = receipts(&listener, xid, proof).await;
        assert_eq!(problem(&answer), Problem::UnknownAuthorization);
    }
}

#[tokio::test]
async fn a_merchant_reads_its_own_transactions_only() {
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
    authorize(&parties.to_gateway(&gateway), purchase.bytes()).await;
    let path = format!("/v1/authorizations/{}", purchase.request.xid);

    let own = parties
        .to_gateway(&gateway)
        .get(&path, HeaderMap::new())
        .await
        .unwrap();
    let found: Receipts = serde_json::from_slice(&own.body).unwrap();
    assert_eq!(found.receipts.len(), 1);

    let other = rival
        .to_gateway(&gateway)
        .get(&path, HeaderMap::new())
        .await
        .unwrap();
    assert_eq!(problem(&other), Problem::UnknownAuthorization);
}

#[tokio::test]
async fn the_certificates_that_the_gateway_offers_are_those_in_its_token() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    for client in [
        parties.to_gateway(&gateway),
        parties.to_payer_listener(&gateway),
    ] {
        let answer = client
            .get("/v1/certificates", HeaderMap::new())
            .await
            .unwrap();
        let offered: Certificates = json::read_message(&answer.body).unwrap();
        let leaf = protocol::encoding::base64_decode(&offered.encryption[0][0]).unwrap();
        assert_eq!(leaf, parties.encryption_chain[0].as_ref());
        assert_eq!(offered.crls.len(), 3);
    }
}

#[tokio::test]
async fn a_payer_that_asks_too_often_is_told_to_wait_and_who_proves_nothing_costs_it_nothing() {
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config["limits"]["inquiries_per_minute"] = 2.into();
    });
    place.setup(&["client", "--out", "other"]);
    let parties = Parties::of(&place);
    let other = Parties::with(&place, "other", "merchant");
    let gateway = place.start_gateway();
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    authorize(&parties.to_gateway(&gateway), purchase.bytes()).await;
    let xid = purchase.request.xid;
    let listener = parties.to_payer_listener(&gateway);
    let aud = parties.gateway.party();
    let asked =
        async |by: &Parties| receipts(&listener, xid, Some(proof(by, aud, xid, mtls::now()))).await;

    for unproven in [None, Some("x.y.z".to_owned())] {
        let answer = receipts(&listener, xid, unproven).await;
        assert_eq!(problem(&answer), Problem::UnknownAuthorization);
    }
    assert_eq!(asked(&parties).await.status, 200);
    assert_eq!(asked(&parties).await.status, 200);
    let limited = asked(&parties).await;
    assert_eq!(problem(&limited), Problem::RateLimited);
    assert!(limited.headers.contains_key("retry-after"));
    // Another payer is not made to wait.
    assert_eq!(problem(&asked(&other).await), Problem::UnknownAuthorization);
}
