//! An issuing CA takes another one's place: both are trusted meanwhile, by OpenSSL and in payments.

use std::fs;

use serde_json::Value;
use twinseal_tests::{
    parties::{Parties, authorize, card, euros, problem},
    place::Place,
    service::Service,
};

use crate::directory::{Directory, crl_number, openssl_says};

/// What a configuration lists.
fn listed(directory: &Directory, file: &str, member: &str) -> Vec<String> {
    let text = fs::read_to_string(directory.path(file)).unwrap();
    let config: toml::Table = toml::from_str(&text).unwrap();
    let list = config["trust"][member].as_array().unwrap();
    list.iter()
        .map(|path| path.as_str().unwrap().to_owned())
        .collect()
}

/// Issues a certificate to a client, in `file`.
fn issue(directory: &Directory, file: &str) {
    let csr = directory.request("anybody", "P-256", &[]);
    directory.done(&[
        "issue",
        "--csr",
        &csr,
        "--role",
        "client",
        "--usage",
        "signing",
        "--name",
        "chosen",
        "--out",
        &directory.text(file),
    ]);
    fs::remove_file(csr).unwrap();
}

#[test]
fn the_new_ca_issues_and_both_are_listed_and_sign_their_crls_until_the_former_one_is_retired() {
    let directory = Directory::provisioned();
    issue(&directory, "before.pem");
    let told = directory.done(&["ca", "replace", "--role", "client"]);
    assert!(told.contains("client-ca-2"), "{told}");
    issue(&directory, "after.pem");
    assert!(directory.verify("before.pem", "client-ca").status.success());
    assert!(
        directory
            .verify("after.pem", "client-ca-2")
            .status
            .success()
    );
    assert!(!directory.verify("after.pem", "client-ca").status.success());
    assert!(
        directory
            .certificate("pki/client-ca-2.pem")
            .replace(" = ", "=")
            .contains("CN=Twinseal client CA 2")
    );

    for file in [
        "gateway/gateway.toml",
        "merchant/merchant.toml",
        "client/client.toml",
    ] {
        let files =
            |ending: &str| ["", "-2"].map(|number| format!("../pki/client-ca{number}.{ending}"));
        assert_eq!(
            listed(&directory, file, "client_ca"),
            files("pem"),
            "{file}"
        );
        assert_eq!(
            listed(&directory, file, "client_crl"),
            files("crl"),
            "{file}"
        );
        assert_eq!(
            listed(&directory, file, "merchant_ca"),
            ["../pki/merchant-ca.pem"]
        );
    }
    // A party that is made later trusts both, and has its certificate of the new one.
    directory.done(&["client", "--out", "second"]);
    assert_eq!(
        listed(&directory, "second/client.toml", "client_ca").len(),
        2
    );
    assert!(
        directory
            .verify("second/signing.pem", "client-ca-2")
            .status
            .success()
    );

    directory.done(&["crl"]);
    for ca in [
        "root",
        "client-ca",
        "client-ca-2",
        "merchant-ca",
        "gateway-ca",
    ] {
        assert_eq!(crl_number(&directory.crl(ca)), 2, "{ca}");
    }
    directory.done(&["revoke", "--certificate", &directory.text("before.pem")]);
    assert_eq!(crl_number(&directory.crl("client-ca")), 3);
    assert_eq!(crl_number(&directory.crl("client-ca-2")), 2);
    let (code, status) = directory.status();
    assert_eq!(code, 0, "{status:#}");
    let has = |list: &str, member: &str, value: &str| {
        let list = status[list].as_array().unwrap();
        list.iter()
            .any(|row| row[member] == value && row["well"] == Value::Bool(true))
    };
    assert!(has("keys", "key", "client-ca") && has("keys", "key", "client-ca-2"));
    assert!(has("crls", "file", "pki/client-ca-2.crl"));
    assert!(has("certificates", "file", "pki/client-ca-2.pem"));

    let told = directory.refused(&["ca", "retire", "--role", "client"]);
    assert!(told.contains("client/signing.pem"), "{told}");
    assert!(!told.contains("before.pem"), "it is revoked: {told}");
    directory.done(&["ca", "retire", "--role", "client", "--although-in-use"]);
    for file in ["gateway/gateway.toml", "second/client.toml"] {
        assert_eq!(
            listed(&directory, file, "client_ca"),
            ["../pki/client-ca-2.pem"],
            "{file}"
        );
        assert_eq!(
            listed(&directory, file, "client_crl"),
            ["../pki/client-ca-2.crl"],
            "{file}"
        );
    }
    directory.done(&["client", "--out", "third"]);
    assert_eq!(
        listed(&directory, "third/client.toml", "client_ca"),
        ["../pki/client-ca-2.pem"]
    );
    assert!(directory.path("pki/retired/client-ca.pem").exists());
    assert!(directory.path("pki/retired/client-ca.crl").exists());
    let (code, status) = directory.status();
    assert_eq!(code, 0, "{status:#}");
    let keys = status["keys"].as_array().unwrap();
    let retired = keys.iter().find(|key| key["key"] == "client-ca").unwrap();
    assert_eq!(retired["verdict"], "of a retired CA");
    // There is one left, and a third one is called so.
    let told = directory.refused(&["ca", "retire", "--role", "client"]);
    assert!(told.contains("nobody would be certified"), "{told}");
    let told = directory.done(&["ca", "replace", "--role", "client"]);
    assert!(told.contains("client-ca-3, Twinseal client CA 3"), "{told}");
    // The root still knows the retired one, and says so when it is told to.
    directory.done(&[
        "revoke",
        "--certificate",
        &directory.text("pki/retired/client-ca.pem"),
    ]);
    assert_eq!(crl_number(&directory.crl("root")), 3);
}

#[test]
fn a_replacement_that_was_interrupted_is_completed_and_not_made_twice() {
    let directory = Directory::provisioned();
    let before = fs::read(directory.path("merchant/merchant.toml")).unwrap();
    directory.done(&["ca", "replace", "--role", "merchant"]);
    let after = fs::read(directory.path("merchant/merchant.toml")).unwrap();
    // As if the power had gone before the last configuration was written.
    fs::write(directory.path("merchant/merchant.toml"), before).unwrap();
    let told = directory.done(&["ca", "replace", "--role", "merchant"]);
    assert!(told.contains("interrupted"), "{told}");
    assert_eq!(
        fs::read(directory.path("merchant/merchant.toml")).unwrap(),
        after
    );
    assert!(!directory.path("pki/merchant-ca-3.pem").exists());

    // The key and the CRL were made, and the certificate was not.
    directory.remove("pki/merchant-ca-2.pem");
    directory.done(&["ca", "replace", "--role", "merchant"]);
    assert!(directory.path("pki/merchant-ca-2.pem").exists());
    directory.done(&["crl"]);
    assert_eq!(directory.status().0, 0);
}

#[test]
fn a_ca_that_would_outlive_the_root_is_refused_before_a_key_is_made() {
    let directory = Directory::provisioned();
    let told = directory.refused(&["ca", "replace", "--role", "gateway", "--days", "3650"]);
    // Both were begun in the same minutes, so ten years are not less than the root has left.
    assert!(told.contains("the root CA ends on"), "{told}");
    let (_, status) = directory.status();
    let keys = status["keys"].as_array().unwrap();
    assert!(
        !keys.iter().any(|key| key["key"] == "gateway-ca-2"),
        "{status:#}"
    );
}

#[test]
fn the_root_certifies_issuing_cas_and_nothing_else() {
    let directory = Directory::provisioned();
    issue(&directory, "issued.pem");
    directory.done(&["ca", "replace", "--role", "client"]);
    directory.done(&["client", "--out", "second"]);
    directory.done(&["merchant", "--name", "second", "--out", "shop"]);
    let root = openssl_says(&[
        "x509",
        "-noout",
        "-subject",
        "-in",
        &directory.text("pki/root.pem"),
    ]);
    let root = root.trim().strip_prefix("subject=").unwrap();
    let mut by_root = Vec::new();
    for path in directory.files().into_keys() {
        if path.extension().is_none_or(|ending| ending != "pem") {
            continue;
        }
        let file = path
            .strip_prefix(directory.path(""))
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let said = directory.certificate(&file);
        let is_ca = said.contains("CA:TRUE");
        if said.contains(&format!("Issuer: {root}\n")) {
            assert!(is_ca, "{file}: {said}");
            by_root.push(file);
        } else {
            assert!(!is_ca, "{file}: {said}");
        }
    }
    assert_eq!(
        by_root,
        [
            "pki/client-ca-2.pem",
            "pki/client-ca.pem",
            "pki/gateway-ca.pem",
            "pki/merchant-ca.pem",
            "pki/root.pem"
        ]
    );
    // It can't be asked for anything else, either.
    let csr = directory.request("anybody", "P-256", &[]);
    let out = directory.text("by-root.pem");
    let asked = directory.run(&[
        "issue", "--csr", &csr, "--role", "root", "--usage", "signing", "--name", "x", "--out",
        &out,
    ]);
    assert_eq!(asked.status.code(), Some(2));
}

/// Whether a payer's purchase is approved.
async fn pays(parties: &Parties, gateway: &Service) -> bool {
    let purchase = parties.purchase(euros(100), parties.card.clone());
    let answer = authorize(&parties.to_gateway(gateway), purchase.bytes()).await;
    if answer.status == 200 {
        return true;
    }
    assert_eq!(problem(&answer).to_string(), "certificate-untrusted");
    false
}

#[tokio::test]
async fn payers_of_both_cas_pay_while_both_are_trusted_and_those_of_the_former_one_no_more_after_that()
 {
    let place = Place::new();
    place.setup(&["ca", "replace", "--role", "client"]);
    place.setup(&["client", "--out", "second"]);
    // A card belongs to one payer, so the further one gets another.
    let name = place.configured("second/client.toml", "", "name");
    let account = format!(
        "[[account]]\nlabel = \"second\"\nclient = \"{name}\"\ncertificate = \"../second/signing.pem\"\n\
         currency = \"EUR\"\nfunds = 50000\nstatus = \"active\"\n[[account.instrument]]\ntype = \"card\"\n\
         pan = \"4242424242424242\"\nexpiry = \"2031-12\"\nstatus = \"active\"\n"
    );
    fs::write(place.path("gateway/second.toml"), account).unwrap();
    place.gateway_cli(&[
        "accounts",
        "add",
        "--from",
        &place.text("gateway/second.toml"),
    ]);

    let gateway = place.start_gateway();
    let of_former = Parties::with(&place, "client", "merchant");
    let mut of_new = Parties::with(&place, "second", "merchant");
    of_new.card = card("4242424242424242", "2031-12");
    assert!(pays(&of_former, &gateway).await);
    assert!(pays(&of_new, &gateway).await);
    gateway.stop();

    place.setup(&["ca", "retire", "--role", "client", "--although-in-use"]);
    let gateway = place.start_gateway();
    assert!(!pays(&of_former, &gateway).await);
    assert!(pays(&of_new, &gateway).await);
}
