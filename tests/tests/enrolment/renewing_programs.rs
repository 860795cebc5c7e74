//! Our own programs renew: when they are told to, and by themselves once two thirds of a certificate's time are over.

use std::{
    cell::Cell,
    fs,
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use toml::Table;
use twinseal_tests::{
    place::Place,
    service::{Service, program},
    wire::Wire,
};

use crate::office::{Office, in_days, openssl, serve};

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn use_service(config: &mut Table, url: &str) {
    let mut enrolment = Table::new();
    enrolment.insert("server".to_owned(), url.into());
    config.insert("enrolment".to_owned(), enrolment.into());
}

fn serial(file: &str) -> String {
    openssl(&["x509", "-noout", "-serial", "-in", file])
}

fn public_key(file: &str) -> String {
    openssl(&["x509", "-noout", "-pubkey", "-in", file])
}

#[test]
fn who_renewed_goes_on_buying_and_selling() {
    let place = Place::new();
    let service = serve(&place.path(""), &[]);
    for config in ["client/client.toml", "merchant/merchant.toml"] {
        place.edit(config, |config| {
            use_service(config, &service.url("enrolment"))
        });
    }
    let _gateway = place.start_gateway();
    let merchant = place.start_merchant();
    let shop = merchant.url("payers");
    let buy = || place.client(&["buy", "--yes", "--shop", &shop, "--item", "book-1"]);
    let files = [
        "client/signing.pem",
        "merchant/signing.pem",
        "merchant/tls.pem",
    ];
    let before = files.map(|file| (serial(&place.text(file)), public_key(&place.text(file))));
    let output = place.client(&["renew"]);
    assert!(output.status.success(), "{}", told(&output));
    let output = Command::new(program("twinseal-merchant"))
        .arg("--config")
        .arg(place.path("merchant/merchant.toml"))
        .arg("renew")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    for (file, (serial_before, key_before)) in files.iter().zip(&before) {
        assert_ne!(serial(&place.text(file)), *serial_before, "{file}");
        // The payer's accounts belong to its key.
        let is_same = public_key(&place.text(file)) == *key_before;
        assert_eq!(is_same, file.starts_with("client"), "{file}");
    }

    // The running merchant shows what it renewed.
    taken_over(&merchant);
    let bought = buy();
    assert!(bought.status.success(), "{}", told(&bought));
    // With another key it is another payer for the card issuer.
    let output = place.client(&["renew", "--new-key"]);
    assert!(
        told(&output).contains("have your card issuer enter"),
        "{}",
        told(&output)
    );
    let declined = buy();
    assert_eq!(declined.status.code(), Some(3), "{}", told(&declined));
}

/// Waits until a running merchant uses what it was renewed.
fn taken_over(merchant: &Service) {
    merchant.wait_for_log(Duration::from_secs(60), |line: &Value| {
        line["fields"]["message"] == "the configured keys are in use"
    });
}

/// A payer that was enrolled for 30 days, with its configuration.
fn payer(office: &Office) {
    let secret = office.secret_file(&office.invite("client", "payer"));
    let output = office
        .enroll_command("twinseal-client", "payer", &secret, "payer")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    configure(
        office,
        "client/client.toml",
        "payer/client.toml",
        "client:payer",
    );
    let instruments = office.path("client/instruments.toml");
    fs::copy(instruments, office.path("payer/instruments.toml")).unwrap();
}

fn configure(office: &Office, sample: &str, to: &str, name: &str) {
    configure_at(office, &office.url(), sample, to, name);
}

/// Writes a configuration like one that is there, for another party and with an enrolment service.
fn configure_at(office: &Office, url: &str, sample: &str, to: &str, name: &str) {
    let text = fs::read_to_string(office.path(sample)).unwrap();
    let mut config: Table = toml::from_str(&text).unwrap();
    config.insert("name".to_owned(), format!("urn:twinseal:{name}").into());
    if config.contains_key("listen") {
        config.insert("listen".to_owned(), "127.0.0.1:0".into());
        config.remove("webhook");
    }
    use_service(&mut config, url);
    fs::write(office.path(to), toml::to_string(&config).unwrap()).unwrap();
}

#[test]
fn a_renewal_whose_answer_a_crash_lost_is_completed_with_the_certificate_that_was_issued() {
    let office = Office::open();
    payer(&office);
    let certificate = office.text("payer/signing.pem");
    let before = (serial(&certificate), public_key(&certificate));
    let wire = Wire::to(office.service.address("enrolment"));
    configure_at(
        &office,
        &wire.url(),
        "client/client.toml",
        "payer/client.toml",
        "client:payer",
    );
    let renew = || {
        let mut command = Command::new(program("twinseal-client"));
        command
            .arg("--config")
            .arg(office.path("payer/client.toml"))
            .args(["renew", "--new-key"]);
        command
    };
    wire.hold_answers();
    let mut crashing = renew().spawn().unwrap();
    wire.wait_for_held_answer();
    crashing.kill().unwrap();
    crashing.wait().unwrap();
    wire.release_answers();
    assert_eq!((serial(&certificate), public_key(&certificate)), before);
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 2);
    let output = renew().output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 2);
    assert_ne!(serial(&certificate), before.0);
    let public = openssl(&["pkey", "-pubout", "-in", &office.text("payer/signing.key")]);
    assert_eq!(public_key(&certificate), public);
}

/// A command of the payer's that shows its certificate, some days later.
fn ask_in(days: u32, office: &Office) -> Output {
    in_days(days, "twinseal-client")
        .arg("--config")
        .arg(office.path("payer/client.toml"))
        .args(["show", "AAAAAAAAAAAAAAAAAAAAAA", "--refresh"])
        .output()
        .unwrap()
}

#[test]
fn a_client_s_command_renews_when_two_thirds_are_over_and_not_before() {
    let office = Office::open_with(&["--days", "30"]);
    payer(&office);
    let certificate = office.text("payer/signing.pem");
    let (first, key) = (serial(&certificate), public_key(&certificate));
    let early = ask_in(19, &office);
    assert!(!told(&early).contains("renewed"), "{}", told(&early));
    assert_eq!(serial(&certificate), first);
    let due = ask_in(21, &office);
    assert!(
        told(&due).contains("the certificate was renewed"),
        "{}",
        told(&due)
    );
    assert_ne!(serial(&certificate), first);
    assert_eq!(public_key(&certificate), key);
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 2);
}

#[test]
fn a_client_whose_renewal_fails_is_warned_and_goes_on() {
    let office = Office::open_with(&["--days", "30"]);
    payer(&office);
    let certificate = office.text("payer/signing.pem");
    let first = serial(&certificate);
    office.setup(&["revoke", "--certificate", &certificate]);
    // Its own CRL is older: it finds out by being refused.
    let refused = ask_in(21, &office);
    assert!(
        told(&refused).contains("warning: the certificate is to be renewed"),
        "{}",
        told(&refused)
    );
    assert_eq!(serial(&certificate), first);
    // What it was asked to do is done, or fails, all the same.
    let last = told(&refused).lines().last().unwrap().to_owned();
    assert!(
        !last.contains("renewed") && last.contains("AAAAAAAAAAAAAAAAAAAAAA"),
        "{last}"
    );
}

#[test]
fn a_merchant_that_serves_renews_both_certificates_in_time() {
    let office = Office::open_with(&["--days", "30"]);
    let secret = office.secret_file(&office.invite("merchant", "shop"));
    let output = office
        .enroll_command("twinseal-merchant", "shop", &secret, "shop")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    configure(
        &office,
        "merchant/merchant.toml",
        "shop/merchant.toml",
        "merchant:shop",
    );
    let catalogue = office.path("merchant/catalogue.toml");
    fs::copy(catalogue, office.path("shop/catalogue.toml")).unwrap();
    let files = ["shop/signing.pem", "shop/tls.pem"].map(|file| office.text(file));
    let before = files.clone().map(|file| public_key(&file));
    let start = || {
        let mut command = in_days(21, "twinseal-merchant");
        command
            .args(["--log", "json", "--config"])
            .arg(office.path("shop/merchant.toml"))
            .arg("serve");
        Service::start_command(command, &[], &["payers"])
    };
    let merchant = start();
    let renewed = Cell::new(0);
    merchant.wait_for_log(Duration::from_secs(60), |line: &Value| {
        if line["fields"]["message"] == "renewed" {
            renewed.set(renewed.get() + 1);
        }
        renewed.get() == 2
    });
    taken_over(&merchant);
    for (file, before) in files.iter().zip(&before) {
        assert_ne!(public_key(file), *before, "{file}");
    }
    assert_eq!(office.issued_for("urn:twinseal:merchant:shop"), 4);
    drop(merchant);
    // What it wrote it can be started with.
    drop(start());
}

#[test]
fn an_expired_certificate_is_renewed_for_nobody() {
    let office = Office::open_with(&["--days", "1"]);
    let asked = office.request("payer");
    let certificate = office.enrolled("client", "payer", &asked);
    let office = office.reopened_in(2);
    let output = office
        .curl_command(
            "simplereenroll",
            &["--cert", &certificate, "--key", &asked.key, "--data", "x"],
        )
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    office.hears("certificate-expired");
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 1);
}
