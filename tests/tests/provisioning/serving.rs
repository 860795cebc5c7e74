//! What was provisioned serves: with the CAs carried away, and not with a key that breaks its policy.

use std::{fs, process::Command};

use twinseal_tests::{
    parties::{Parties, authorize, euros},
    place::Place,
    service::program,
};

use crate::directory::Directory;

#[tokio::test]
async fn the_gateway_serves_while_the_cas_are_carried_away_and_issue_says_what_is_missing() {
    let place = Place::new();
    fs::rename(place.path("ca"), place.path("carried-away")).unwrap();
    let gateway = place.start_gateway();
    let parties = Parties::of(&place);
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    let answer = authorize(&parties.to_gateway(&gateway), purchase.bytes()).await;
    assert_eq!(answer.status, 200);
    parties.accept_receipt(&purchase, &answer.body);

    let status = String::from_utf8(place.setup(&["status"]).stdout).unwrap();
    assert!(status.contains("twinseal-gateway"), "{status}");
    assert!(!status.contains("twinseal-ca"), "{status}");

    fs::rename(place.path("carried-away"), place.path("ca")).unwrap();
    assert!(place.setup(&["crl"]).status.success());
}

#[test]
fn without_the_cas_nothing_is_issued_or_revoked_and_the_missing_file_is_named() {
    let directory = Directory::provisioned();
    let csr = directory.request("anybody", "P-256", &[]);
    fs::rename(directory.path("ca"), directory.path("carried-away")).unwrap();
    let (out, certificate) = (
        directory.text("issued.pem"),
        directory.text("client/signing.pem"),
    );
    for command in [
        &[
            "issue", "--csr", &csr, "--role", "client", "--usage", "signing", "--name", "chosen",
            "--out", &out,
        ][..],
        &["revoke", "--certificate", &certificate],
        &["crl"],
        &["client", "--out", "second"],
        &["merchant", "--name", "second", "--out", "second"],
    ] {
        let told = directory.refused(command);
        assert!(told.contains("token twinseal-ca"), "{command:?}: {told}");
        assert!(told.contains("ca/user.pin"), "{command:?}: {told}");
    }
}

/// What the gateway says when it must not start.
fn refusal(directory: &Directory) -> String {
    let output = Command::new(program("twinseal-gateway"))
        .arg("--config")
        .arg(directory.path("gateway/gateway.toml"))
        .arg("serve")
        .env("SOFTHSM2_CONF", directory.path("gateway/softhsm2.conf"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn configure(directory: &Directory, from: &str, to: &str) {
    let path = directory.path("gateway/gateway.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).unwrap();
}

#[test]
fn a_key_that_breaks_its_policy_keeps_the_gateway_from_starting() {
    let directory = Directory::provisioned();
    directory.import_key("brought");
    configure(&directory, "pkcs11:object=signing", "pkcs11:object=brought");
    let told = refusal(&directory);
    assert!(told.contains("key brought: CKA_"), "{told}");
    assert!(
        told.contains("make a new key with `softhsm-setup init`"),
        "{told}"
    );
}

#[test]
fn a_key_of_another_use_keeps_the_gateway_from_starting() {
    let directory = Directory::provisioned();
    // The two change places: one that is there twice is refused before.
    for (from, to) in [
        ("encryption", "x"),
        ("signing", "encryption"),
        ("x", "signing"),
    ] {
        let uri = |label| format!("\"pkcs11:object={label}\"");
        configure(&directory, &uri(from), &uri(to));
    }
    let told = refusal(&directory);
    assert!(
        told.contains("key encryption: CKA_SIGN is false, it must be true"),
        "{told}"
    );
}

#[test]
fn a_key_that_is_there_twice_keeps_the_gateway_from_starting() {
    let directory = Directory::provisioned();
    directory.import_key("signing");
    let told = refusal(&directory);
    assert!(
        told.contains("2 private keys match pkcs11:object=signing"),
        "{told}"
    );
}

#[test]
fn a_certificate_of_another_key_keeps_the_gateway_from_starting() {
    let directory = Directory::provisioned();
    let signing = "gateway/signing.pem";
    directory.remove(signing);
    // A good certificate for signing, of a key that is not in the token.
    let csr = directory.request("other", "P-256", &[]);
    let out = directory.text(signing);
    directory.done(&[
        "issue", "--csr", &csr, "--role", "gateway", "--usage", "signing", "--name", "main",
        "--out", &out,
    ]);
    let told = refusal(&directory);
    assert!(
        told.contains("key signing is not the key of its certificate"),
        "{told}"
    );
}
