//! The gateway's own certificates, and what it trusts.

use std::{fs, sync::Arc};

use protocol::identifiers::Digest;
use twinseal_tests::{
    parties::{Parties, authorize, euros},
    place::Place,
    service::plain_get,
};

use crate::{Asking, certify_gateway, hang_up, replace, said};

#[tokio::test(flavor = "multi_thread")]
async fn every_certificate_of_the_gateway_is_renewed_under_load_and_no_request_fails() {
    let place = Place::new();
    let parties = Arc::new(Parties::of(&place));
    let gateway = place.start_gateway();
    let asking = Asking::start(&parties, &gateway);
    asking.more(10).await;
    for (times, usage) in ["tls", "signing", "encryption"].into_iter().enumerate() {
        let file = place.path(&format!("gateway/{usage}.pem"));
        let renewed = certify_gateway(&place, usage);
        assert_ne!(fs::read(&file).unwrap(), renewed);
        replace(&file, &renewed);
        said(&gateway, "the configured keys are in use", times + 1);
        asking.more(10).await;
    }
    assert_eq!(asking.stop().await, [] as [String; 0]);
    // The new ones are used: what is shown, what signs, what is offered.
    let now = Parties::of(&place);
    let merchant = now.to_gateway(&gateway);
    let purchase = now.purchase(euros(1), now.card.clone());
    let answer = authorize(&merchant, purchase.bytes()).await;
    let receipt = now.accept_receipt(&purchase, &answer.body);
    let thumbprint = |usage: &str| {
        let chain = mtls::pem::certificates(&place.path(&format!("gateway/{usage}.pem"))).unwrap();
        Digest::of(&chain[0])
    };
    assert_eq!(receipt.signer().thumbprint(), thumbprint("signing"));
    assert_ne!(now.encryption_chain, parties.encryption_chain);
    // And what was sealed to the former certificate of the same key opened all the time, and does.
    let late = parties.purchase(euros(1), parties.card.clone());
    let answer = authorize(&merchant, late.bytes()).await;
    parties.accept_receipt(&late, &answer.body);
    assert!(gateway.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_is_refused_loudly_and_the_former_stays_until_a_good_one_comes() {
    let place = Place::new();
    let parties = Arc::new(Parties::of(&place));
    let gateway = place.start_gateway();
    let asking = Asking::start(&parties, &gateway);
    let file = place.path("gateway/tls.pem");
    let good = fs::read(&file).unwrap();
    let bad = [
        b"no certificate".to_vec(),
        fs::read(place.path("gateway/signing.pem")).unwrap(),
        fs::read(place.path("merchant/tls.pem")).unwrap(),
    ];
    for (times, bad) in bad.iter().enumerate() {
        replace(&file, bad);
        said(&gateway, "the keys stay as they were", times + 1);
        asking.more(4).await;
    }
    replace(&file, &good);
    said(&gateway, "the configured keys are in use", 1);
    assert_eq!(asking.stop().await, [] as [String; 0]);
    let metrics = plain_get(gateway.address("admin"), "/metrics");
    assert!(
        metrics.contains("twinseal_reloads_total{set=\"keys\",outcome=\"taken\"} 1"),
        "{metrics}"
    );
    assert!(gateway.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_kubernetes_is_followed_when_its_link_is_turned() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let parties = Arc::new(Parties::of(&place));
    // tls.pem → ..data/tls.pem, ..data → a directory per version.
    let directory = place.path("gateway");
    let file = directory.join("tls.pem");
    fs::create_dir(directory.join("..1")).unwrap();
    fs::rename(&file, directory.join("..1/tls.pem")).unwrap();
    symlink("..1", directory.join("..data")).unwrap();
    symlink("..data/tls.pem", &file).unwrap();
    let gateway = place.start_gateway();
    let asking = Asking::start(&parties, &gateway);
    fs::create_dir(directory.join("..2")).unwrap();
    fs::write(
        directory.join("..2/tls.pem"),
        certify_gateway(&place, "tls"),
    )
    .unwrap();
    symlink("..2", directory.join("..data.next")).unwrap();
    fs::rename(directory.join("..data.next"), directory.join("..data")).unwrap();
    said(&gateway, "the configured keys are in use", 1);
    asking.more(4).await;
    assert_eq!(asking.stop().await, [] as [String; 0]);
    assert!(gateway.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn days_left_are_told_of_every_certificate_and_crl() {
    let place = Place::new();
    let gateway = place.start_gateway();
    let told = || {
        let metrics = plain_get(gateway.address("admin"), "/metrics");
        let lines = metrics.lines().map(str::to_owned);
        lines
            .filter(|line| line.starts_with("twinseal_days_left{"))
            .collect::<Vec<_>>()
    };
    hang_up(&gateway);
    said(&gateway, "the configured keys are in use", 1);
    let told = told();
    // Four CAs with a CRL each, and three certificates of the gateway's own.
    assert_eq!(told.len(), 11, "{told:?}");
    let days_of = |kind: &str, of: &str| -> f64 {
        let labels = format!("{{kind=\"{kind}\",of=\"{of}\"}} ");
        let line = told.iter().find(|line| line.contains(&labels)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!((396.0..=397.0).contains(&days_of("certificate", "tls")));
    assert!((29.0..=30.0).contains(&days_of("CRL", "CN=Twinseal merchant CA")));
    assert!(gateway.stop().0.success());
}
