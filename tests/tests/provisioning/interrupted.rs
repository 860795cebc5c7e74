//! A run that was not finished is completed by another.

use std::fs;

use crate::directory::{CAS, Directory, crl_number};

#[test]
fn what_is_missing_is_made_and_everything_else_stays() {
    let directory = Directory::provisioned();
    for missing in [
        &["gateway/tls.pem"][..],
        &["gateway/encryption.pem", "gateway/signing.pem"],
        &["gateway/gateway.toml"],
        &["gateway/softhsm2.conf"],
        &["merchant/merchant.toml", "merchant/catalogue.toml"],
        &["merchant/tls.pem"],
        &["merchant/tls.pem", "merchant/tls.key"],
        &["merchant/gateway.whsec"],
        &["gateway/bookshop.whsec"],
        &["client/client.toml"],
        &["client/signing.pem"],
        &["enrolment/tls.pem"],
        &["enrolment/tls.pem", "enrolment/tls.key"],
        &["client/instruments.toml"],
        &["pki/merchant-ca.pem"],
        &["pki/root.pem"],
    ] {
        let before = directory.files();
        for file in missing {
            directory.remove(file);
        }
        directory.done(&["init"]);
        directory.is_complete();
        let after = directory.files();
        for (path, content) in &before {
            let was_missing = missing.iter().any(|file| *path == directory.path(file));
            let only_grew = *path == directory.path("ca/journal.jsonl")
                && after[path].1.starts_with(&content.1);
            assert!(
                was_missing || only_grew || after.get(path) == Some(content),
                "{missing:?}: {path:?} changed"
            );
        }
        assert_eq!(before.len(), after.len(), "{missing:?}");
    }
}

#[test]
fn a_client_whose_configuration_is_lost_keeps_its_name() {
    let directory = Directory::provisioned();
    let name = || -> String {
        let text = fs::read_to_string(directory.path("client/client.toml")).unwrap();
        text.lines()
            .find(|line| line.starts_with("name = "))
            .unwrap()
            .to_owned()
    };
    let before = name();
    directory.remove("client/client.toml");
    directory.done(&["init"]);
    assert_eq!(name(), before);
}

#[test]
fn a_run_that_was_killed_is_completed_by_another() {
    for point in [
        "token twinseal-gateway",
        "key index",
        "token twinseal-ca",
        "CRL of the root-ca",
        "certificate of the root-ca",
        "CRL of the gateway-ca",
        "certificate of the gateway's key tls",
        "tls key and certificate of urn:twinseal:merchant",
        "signing key and certificate of urn:twinseal:client",
    ] {
        let directory = Directory::empty();
        let killed = directory.killed_init(point);
        let told = directory.done(&["init"]);
        directory.is_complete();
        // What was made is kept, not made again.
        for line in killed.iter().filter(|line| line.contains("made   key ")) {
            let kept = line.replacen("made", "kept", 1);
            assert!(told.contains(&kept), "{point}: {line}\n{told}");
        }
        for ca in CAS {
            let text = directory.crl(ca);
            assert_eq!(crl_number(&text), 1, "{point}: {text}");
        }
    }
}
