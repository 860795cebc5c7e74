//! `status`: what needs care is marked, and the exit code says that something does.

use std::fs;

use serde_json::Value;

use crate::directory::{Directory, openssl_says};

/// The rows of a part of the status that need care, by a member.
fn care(status: &Value, part: &str, member: &str) -> Vec<String> {
    status[part]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["well"] == false)
        .map(|row| row[member].as_str().unwrap().to_owned())
        .collect()
}

fn table(directory: &Directory) -> (Option<i32>, String) {
    let output = directory.run(&["status"]);
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn a_status_without_a_fault_lists_everything_and_exits_with_0() {
    let directory = Directory::provisioned();
    let (code, text) = table(&directory);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "TOKEN",
        "CERTIFICATE",
        "CRL",
        "as its policy",
        "pki/root.pem",
        "gateway/encryption.pem",
        "merchant/tls.pem",
        "client/signing.pem",
        "pki/gateway-ca.crl",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('!'), "{text}");
    let (code, status) = directory.status();
    assert_eq!((code, &status["well"]), (0, &Value::Bool(true)));
    let count = |part: &str| status[part].as_array().unwrap().len();
    assert_eq!(
        (count("keys"), count("certificates"), count("crls")),
        (9, 11, 4)
    );
}

#[test]
fn status_changes_nothing() {
    let directory = Directory::provisioned();
    let before = directory.files();
    directory.status();
    crate::directory::assert_same(&before, &directory.files());
}

#[test]
fn a_certificate_about_to_end_needs_care() {
    let directory = Directory::provisioned();
    let (key, csr) = (
        directory.text("merchant/tls.key"),
        directory.text("tls.csr"),
    );
    openssl_says(&["req", "-new", "-subj", "/CN=x", "-key", &key, "-out", &csr]);
    directory.remove("merchant/tls.pem");
    let out = directory.text("merchant/tls.pem");
    directory.done(&[
        "issue", "--csr", &csr, "--role", "merchant", "--usage", "tls", "--name", "bookshop",
        "--days", "1", "--out", &out,
    ]);
    let (code, status) = directory.status();
    assert_eq!(code, 3);
    assert_eq!(care(&status, "certificates", "file"), ["merchant/tls.pem"]);
    let (code, text) = table(&directory);
    assert_eq!(code, Some(3));
    assert!(text.contains("! merchant/tls.pem"), "{text}");
    assert!(text.contains("softhsm-setup issue"), "{text}");
}

#[test]
fn a_crl_about_to_end_needs_care_until_it_is_signed_anew() {
    let directory = Directory::provisioned();
    // Of another CA: a day is shorter than ours sign. Status reads it, it does not rely on it.
    let file = |name: &str| directory.text(&format!("other-ca/{name}"));
    fs::create_dir(directory.path("other-ca")).unwrap();
    crate::directory::new_key("P-256", &file("key.pem"));
    openssl_says(&[
        "req",
        "-x509",
        "-new",
        "-subj",
        "/CN=Twinseal client CA",
        "-key",
        &file("key.pem"),
        "-out",
        &file("ca.pem"),
    ]);
    fs::write(directory.path("other-ca/index.txt"), "").unwrap();
    fs::write(directory.path("other-ca/number"), "05\n").unwrap();
    let config = format!(
        "[ca]\ndefault_ca = other\n[other]\ndatabase = {}\ncrlnumber = {}\ndefault_md = sha256\n",
        file("index.txt"),
        file("number")
    );
    fs::write(directory.path("other-ca/ca.conf"), config).unwrap();
    openssl_says(&[
        "ca",
        "-gencrl",
        "-config",
        &file("ca.conf"),
        "-keyfile",
        &file("key.pem"),
        "-cert",
        &file("ca.pem"),
        "-crldays",
        "1",
        "-out",
        &directory.text("pki/client-ca.crl"),
    ]);
    let (code, status) = directory.status();
    assert_eq!(code, 3, "{status:#}");
    assert_eq!(care(&status, "crls", "file"), ["pki/client-ca.crl"]);
    directory.done(&["crl"]);
    let (code, status) = directory.status();
    assert_eq!(code, 0, "{status:#}");
    let text = directory.crl("client-ca");
    assert_eq!(crate::directory::crl_number(&text), 6, "{text}");
}

#[test]
fn a_missing_certificate_or_crl_needs_care() {
    let directory = Directory::provisioned();
    for file in ["gateway/signing.pem", "pki/client-ca.pem", "pki/root.crl"] {
        directory.remove(file);
    }
    let (code, status) = directory.status();
    assert_eq!(code, 3, "{status:#}");
    assert_eq!(
        care(&status, "certificates", "file"),
        ["pki/client-ca.pem", "gateway/signing.pem"]
    );
    assert_eq!(care(&status, "crls", "file"), ["pki/root.crl"]);
    let (_, text) = table(&directory);
    assert_eq!(text.matches("missing ").count(), 2 + 1, "{text}");
    assert!(text.contains("made by `softhsm-setup init`"), "{text}");
    assert!(text.contains("a lost CRL comes from a backup"), "{text}");
}

#[test]
fn a_missing_key_needs_care() {
    let directory = Directory::empty();
    directory.init_gateway_token();
    let (code, status) = directory.status();
    assert_eq!(code, 3, "{status:#}");
    let missing = care(&status, "keys", "key");
    assert_eq!(missing, ["tls", "signing", "encryption", "data", "index"]);
    let verdict = &status["keys"][0]["verdict"];
    assert_eq!(verdict, "missing; run `softhsm-setup init`");
    directory.done(&["init"]);
    directory.is_complete();
}

#[test]
fn a_key_that_is_there_twice_needs_care_and_the_others_are_still_shown() {
    let directory = Directory::provisioned();
    directory.import_key("signing");
    let (code, status) = directory.status();
    assert_eq!(code, 3, "{status:#}");
    assert_eq!(care(&status, "keys", "key"), ["signing", "signing"]);
    let (_, text) = table(&directory);
    assert!(
        text.contains("2 private keys have this label, one is wanted"),
        "{text}"
    );
    assert!(text.contains("index"), "{text}");
}

#[test]
fn a_key_that_nobody_knows_is_shown_and_no_fault() {
    let directory = Directory::provisioned();
    directory.import_key("somebody-s");
    let (code, text) = table(&directory);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("somebody-s") && text.contains("not one of ours"),
        "{text}"
    );
}

#[test]
fn a_revoked_and_a_damaged_certificate_need_care_and_the_others_are_still_shown() {
    let directory = Directory::provisioned();
    let revoked = directory.text("client/signing.pem");
    directory.done(&["revoke", "--certificate", &revoked]);
    fs::write(directory.path("merchant/tls.pem"), "garbage").unwrap();
    let (code, status) = directory.status();
    assert_eq!(code, 3, "{status:#}");
    assert_eq!(
        care(&status, "certificates", "file"),
        ["client/signing.pem", "merchant/tls.pem"]
    );
    let (_, text) = table(&directory);
    assert!(text.contains("REVOKED"), "{text}");
    assert!(text.contains("not a certificate"), "{text}");
    assert!(text.contains("gateway/encryption.pem"), "{text}");
}

#[test]
fn a_ca_whose_token_was_carried_away_is_not_made_again() {
    let directory = Directory::provisioned();
    let elsewhere = directory.path("elsewhere");
    fs::rename(directory.path("ca"), &elsewhere).unwrap();
    let told = directory.refused(&["init"]);
    assert!(told.contains("bring it back"), "{told}");
    assert!(!directory.path("ca").exists());
    assert_eq!(directory.status().0, 0);

    // Nor is another token taken for it.
    let other = Directory::provisioned();
    fs::rename(other.path("ca"), directory.path("ca")).unwrap();
    let conf = directory.path("ca/softhsm2.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(
        &conf,
        text.replace(&other.text("ca"), &directory.text("ca")),
    )
    .unwrap();
    let told = directory.refused(&["crl"]);
    assert!(told.contains("carried away"), "{told}");
    let (code, status) = directory.status();
    assert_eq!(code, 3, "{status:#}");
    assert_eq!(care(&status, "keys", "key").len(), 4);
}
