//! CRLs that are replaced, and CAs.

use std::{fs, sync::Arc, time::Instant};

use hyper::{HeaderMap, StatusCode};
use mtls::client::ClientError;
use twinseal_tests::{
    parties::{Parties, euros},
    place::Place,
    shopper::{Shopper, accept},
};

use crate::{Asking, SEEN, certify_gateway, hang_up, replace, said};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_merchant_is_cut_off_on_the_connection_that_it_has() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    // One connection, made before, and kept.
    let merchant = parties.to_gateway(&gateway);
    let ask = || {
        let purchase = parties.purchase(euros(1), parties.card.clone());
        merchant.post_json(
            "/v1/authorizations",
            purchase.bytes().into(),
            HeaderMap::new(),
        )
    };
    assert_eq!(ask().await.unwrap().status, StatusCode::OK);
    place.setup(&["revoke", "--certificate", &place.text("merchant/tls.pem")]);
    let revoked = Instant::now();
    // Until then every request is answered; then the connection ends without an answer, and no new one is made.
    let refused = loop {
        match ask().await {
            Ok(answer) => assert_eq!(answer.status, StatusCode::OK),
            Err(error) => break error,
        }
        assert!(revoked.elapsed() < SEEN, "it is still served");
    };
    println!("cut off {:?} after the CRL was there", revoked.elapsed());
    assert!(matches!(refused, ClientError::Tls { .. }), "{refused}");
    let (status, log) = gateway.stop();
    assert!(status.success());
    let cut_off = log
        .lines()
        .any(|line| line.contains("was revoked") && line.contains("a peer is no longer good"));
    assert!(cut_off, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crl_that_is_rubbish_or_older_than_the_one_in_use_is_refused_and_nothing_is_forgotten() {
    let place = Place::new();
    let parties = Arc::new(Parties::of(&place));
    let gateway = place.start_gateway();
    let asking = Asking::start(&parties, &gateway);
    let file = place.path("pki/merchant-ca.crl");
    let first = fs::read(&file).unwrap();
    place.setup(&["crl"]);
    said(&gateway, "the configured trust is in use", 1);
    for (times, bad) in [b"no CRL".to_vec(), first].iter().enumerate() {
        replace(&file, bad);
        said(&gateway, "what is trusted stays as it was", times + 1);
        asking.more(4).await;
    }
    // A CRL with the next number is taken again.
    place.setup(&["crl"]);
    assert_eq!(asking.stop().await, [] as [String; 0]);
    assert!(gateway.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuing_ca_takes_the_place_of_another_under_load_and_no_purchase_fails() {
    let place = Place::new();
    let parties = Arc::new(Parties::of(&place));
    let gateway = place.start_gateway();
    let merchant = place.start_merchant();
    let asking = Asking::start(&parties, &gateway);
    let mut taken = 0;
    for role in ["merchant", "gateway", "client"] {
        place.setup(&["ca", "replace", "--role", role]);
        // Which files there are says the configuration.
        for service in [&gateway, &merchant] {
            hang_up(service);
        }
        taken += 1;
        said(&gateway, "the configured keys are in use", taken);
        said(&merchant, "the configured keys are in use", taken);
        asking.more(4).await;
    }
    // Once everybody trusts both, what the new CAs issue is good everywhere.
    let now = Parties::of(&place);
    parties.trust.store(now.trust.load_full());
    let renewed = certify_gateway(&place, "tls");
    replace(&place.path("gateway/tls.pem"), &renewed);
    said(&gateway, "the configured keys are in use", taken + 1);
    asking.more(4).await;
    let new = Shopper::at(&now, &merchant);
    let signed = new.shop(&now).await.sign(&now);
    let answer = new.send(&signed.request).await;
    accept(&now, &signed, &answer);
    let failures = asking.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert!(merchant.stop().0.success());
    assert!(gateway.stop().0.success());
}
