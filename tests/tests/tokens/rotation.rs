//! A key takes the place of another while purchases go on.

use std::{fs, process::Command, sync::Arc, time::Duration};

use protocol::{names::Role, pki::Usage, problem::Problem};
use serde_json::Value;
use twinseal_tests::{
    parties::{Parties, authorize, euros, problem},
    place::Place,
    service::Service,
};

use crate::{Shopping, is_approved};

/// How long taking keys over may take.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(30);

/// Makes a key, has it certified, and activates it in the configuration.
fn replace(place: &Place, purpose: &str, label: &str, usage: Option<&str>) {
    let file = |ending: &str| place.text(&format!("gateway/{label}.{ending}"));
    let mut arguments = vec!["keys", "new", purpose, "--label", label];
    let (csr, certificate) = (file("csr"), format!("{label}.pem"));
    if usage.is_some() {
        arguments.extend(["--csr", &csr, "--certificate", &certificate]);
    }
    place.gateway_cli(&arguments);
    if let Some(usage) = usage {
        // Without a certificate it can't be activated, nor with another key's, and nothing changes.
        let before = configuration(place);
        let out = file("pem");
        for other in [None, Some(place.path(&format!("gateway/{usage}.pem")))] {
            if let Some(other) = &other {
                fs::copy(other, &out).unwrap();
            }
            let early = place
                .gateway_command(&["keys", "activate", label])
                .output()
                .unwrap();
            assert_eq!(early.status.code(), Some(1));
            let said = String::from_utf8_lossy(&early.stderr);
            let told = said.contains("is not the certificate of the key");
            assert_eq!(told, other.is_some(), "{said}");
            assert_eq!(configuration(place), before);
        }
        fs::remove_file(&out).unwrap();
        let mut issue = vec![
            "issue", "--csr", &csr, "--role", "gateway", "--name", "main",
        ];
        issue.extend(["--usage", usage, "--out", &out]);
        if usage == "tls" {
            issue.extend(["--dns", "localhost", "--ip", "127.0.0.1"]);
        }
        place.setup(&issue);
    }
    place.gateway_cli(&["keys", "activate", label]);
}

fn configuration(place: &Place) -> String {
    fs::read_to_string(place.path("gateway/gateway.toml")).unwrap()
}

/// Has the running gateway take over what is configured, and waits until it did so for the so manyth time.
fn take_over(service: &Service, times: usize) {
    let status = Command::new("kill")
        .args(["-HUP", &service.pid().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    let taken = std::cell::Cell::new(0);
    service.wait_for_log(RELOAD_TIME_MAX, |line| {
        if line["fields"]["message"] == "the configured keys are in use" {
            taken.set(taken.get() + 1);
        }
        taken.get() == times
    });
}

fn state_of(place: &Place, label: &str) -> String {
    let listed = place.gateway_cli(&["keys", "list", "--json"]).stdout;
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let key = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["key"] == label);
    key.unwrap()["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_but_the_index_s_is_replaced_under_load_and_no_purchase_fails() {
    let place = Place::new();
    let former = Arc::new(Parties::of(&place));
    let service = place.start_gateway();
    let to_gateway = former.to_gateway(&service);
    let shopping = Shopping::start(&former, former.to_gateway(&service));
    let mut times = 0;
    for (purpose, label, usage) in [
        ("encryption", "encryption-2", Some("encryption")),
        ("signing", "signing-2", Some("signing")),
        ("tls", "tls-2", Some("tls")),
        ("data", "data-2", None),
    ] {
        replace(&place, purpose, label, usage);
        times += 1;
        take_over(&service, times);
        assert_eq!(state_of(&place, label), "active");
        assert!(
            is_approved(&former, &former.to_gateway(&service)).await,
            "{label}"
        );
    }
    assert_eq!(state_of(&place, "encryption"), "decrypt-only");
    assert_eq!(state_of(&place, "signing"), "retired");

    // What is kept of payments is under the new data key, and the former one is not needed any more.
    place.gateway_cli(&["keys", "retire", "data"]);
    // What is sealed to the new key opens, and what is sealed to the former one, until that is retired.
    let mut parties = Parties::of(&place);
    parties.encryption_chain =
        mtls::pem::certificates(&place.path("gateway/encryption-2.pem")).unwrap();
    assert!(is_approved(&parties, &to_gateway).await);
    assert!(is_approved(&former, &to_gateway).await);
    assert_eq!(shopping.stop().await, [] as [String; 0]);
    place.gateway_cli(&["keys", "retire", "encryption"]);
    take_over(&service, times + 1);
    let purchase = former.purchase(euros(1), former.card.clone());
    let answer = authorize(&to_gateway, purchase.bytes()).await;
    assert_eq!(problem(&answer), Problem::GatewayMismatch);
    assert!(is_approved(&parties, &to_gateway).await);
    assert!(service.stop().0.success());

    // A restart finds the same.
    let service = place.start_gateway();
    assert!(is_approved(&parties, &parties.to_gateway(&service)).await);
    let report = place.gateway_cli(&["keys", "check", "--json"]).stdout;
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report.as_array().unwrap().len(), 5);
    assert!(service.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_not_taken_over_and_the_former_stays() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let service = place.start_gateway();
    place.edit("gateway/gateway.toml", |config| {
        // The certificate of another key.
        config["key"][2]["certificate"] = "signing.pem".into();
    });
    let status = Command::new("kill")
        .args(["-HUP", &service.pid().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    service.wait_for_log(RELOAD_TIME_MAX, |line| {
        let message = line["fields"]["message"].as_str();
        message.is_some_and(|message| message.ends_with("the keys stay as they were"))
    });
    assert!(is_approved(&parties, &parties.to_gateway(&service)).await);
    assert!(service.stop().0.success());
}

#[test]
fn the_index_key_and_a_label_that_is_taken_are_refused() {
    let place = Place::new();
    let service = place.start_gateway();
    assert!(service.stop().0.success());
    for (arguments, told) in [
        (
            &["keys", "new", "index", "--label", "index-2"][..],
            "can't be replaced",
        ),
        (
            &["keys", "new", "data", "--label", "data"],
            "there is a [[key]] data",
        ),
        (
            &["keys", "new", "tls", "--label", "tls-2"],
            "needs a certificate",
        ),
        (&["keys", "activate", "tls"], "only a pending one"),
        (&["keys", "retire", "tls"], "only one that was replaced"),
        (&["keys", "retire", "nothing"], "`keys list` shows all"),
    ] {
        let before = configuration(&place);
        let output = place.gateway_command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(told), "{said}");
        assert_eq!(configuration(&place), before);
    }
}

#[test]
fn a_signed_report_verifies_with_the_certificate_of_the_signing_key() {
    let place = Place::new();
    let signed = place.gateway_cli(&["keys", "check", "--sign"]).stdout;
    let signed: Value = serde_json::from_slice(&signed).unwrap();
    let report = signed["report"].as_str().unwrap();
    let reports: Value = serde_json::from_str(report).unwrap();
    assert_eq!(reports.as_array().unwrap().len(), 5);
    let signature =
        protocol::encoding::base64_decode(signed["signature"].as_str().unwrap()).unwrap();
    let chain = mtls::pem::certificates(&place.path("gateway/signing.pem")).unwrap();
    let certificate = Parties::of(&place)
        .trust
        .load()
        .verify(&chain, Role::Gateway, Usage::MessageSigning, mtls::now())
        .unwrap();
    aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED,
        certificate.public_key(),
    )
    .verify(report.as_bytes(), &signature)
    .unwrap();
}
