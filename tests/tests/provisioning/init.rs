//! `init`: what it makes, and that it makes it once.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use twinseal_tests::service::program;

use crate::directory::{Directory, assert_same};

#[test]
fn init_makes_everything_and_what_is_secret_is_its_owner_s() {
    let directory = Directory::provisioned();
    directory.is_complete();
    for (file, mode) in [
        ("gateway/user.pin", 0o600),
        ("gateway/so.pin", 0o600),
        ("ca/user.pin", 0o600),
        ("ca/so.pin", 0o600),
        ("gateway/bookshop.whsec", 0o600),
        ("merchant/gateway.whsec", 0o600),
        ("client/signing.key", 0o600),
        ("client/instruments.toml", 0o600),
        ("gateway/accounts.toml", 0o600),
        ("merchant/tls.key", 0o600),
        ("merchant/signing.key", 0o600),
        ("gateway/gateway.toml", 0o644),
        ("pki/root.pem", 0o644),
        ("pki/client-ca.crl", 0o644),
    ] {
        let found = fs::metadata(directory.path(file)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{file}");
    }
}

#[test]
fn pins_are_long_and_all_different() {
    let directory = Directory::provisioned();
    let mut pins: Vec<String> = ["gateway/user", "gateway/so", "ca/user", "ca/so"]
        .map(|file| fs::read_to_string(directory.path(&format!("{file}.pin"))).unwrap())
        .to_vec();
    assert!(pins.iter().all(|pin| pin.len() == 24), "{pins:?}");
    pins.sort();
    pins.dedup();
    assert_eq!(pins.len(), 4);
}

#[test]
fn a_second_init_changes_no_byte_and_makes_no_key() {
    let directory = Directory::provisioned();
    let (before, (_, keys)) = (directory.files(), directory.status());
    let told = directory.done(&["init"]);
    assert!(!told.contains("made "), "{told}");
    assert_eq!(told.matches("kept   key").count(), 9, "{told}");
    assert_eq!(told.matches("kept   token").count(), 2, "{told}");
    assert_same(&before, &directory.files());
    assert_eq!(directory.status().1["keys"], keys["keys"]);
}

#[test]
fn two_directories_have_nothing_secret_in_common() {
    let (one, other) = (Directory::provisioned(), Directory::provisioned());
    let publics = |directory: &Directory| -> Vec<String> {
        let (_, status) = directory.status();
        let keys = status["keys"].as_array().unwrap();
        keys.iter()
            .filter_map(|key| key["public"].as_str().map(str::to_owned))
            .collect()
    };
    let (one, other) = (publics(&one), publics(&other));
    assert_eq!(one.len(), 7);
    assert!(one.iter().all(|public| !other.contains(public)));
}

#[test]
fn a_name_that_was_asked_for_is_in_the_tls_certificates() {
    let directory = Directory::empty();
    directory.done(&["init", "--host", "pay.example"]);
    for file in [
        "gateway/tls.pem",
        "merchant/tls.pem",
        "merchant/signing.pem",
    ] {
        let text = directory.certificate(file);
        assert!(text.contains("DNS:localhost, DNS:pay.example"), "{text}");
    }
    for file in ["gateway/signing.pem", "client/signing.pem"] {
        let text = directory.certificate(file);
        assert!(!text.contains("DNS:"), "{text}");
    }
}

#[test]
fn a_key_whose_label_is_there_is_never_made_over() {
    let directory = Directory::empty();
    directory.init_gateway_token();
    directory.import_key("index");
    let objects = || -> Vec<_> {
        let files = directory.files().into_iter();
        files
            .filter(|(path, _)| path.starts_with(directory.path("gateway/tokens")))
            .filter(|(path, _)| {
                path.extension()
                    .is_some_and(|extension| extension == "object")
            })
            .collect()
    };
    let before = objects();
    assert_eq!(before.len(), 2);
    let told = directory.done(&["init"]);
    assert!(told.contains("kept   token twinseal-gateway"), "{told}");
    assert!(told.contains("kept   key index"), "{told}");
    let after = objects();
    assert!(before.iter().all(|object| after.contains(object)), "{told}");
    // The key has the label and not the use, and status says so.
    let (code, status) = directory.status();
    assert_eq!(code, 3, "{status:#}");
    let keys = status["keys"].as_array().unwrap();
    let index = keys.iter().find(|key| key["key"] == "index").unwrap();
    assert_eq!(index["well"], false, "{index:#}");
}

#[test]
fn a_certificate_that_is_not_of_the_key_in_the_token_is_refused_with_advice() {
    let directory = Directory::provisioned();
    let (tls, signing) = (
        directory.path("gateway/tls.pem"),
        directory.path("gateway/signing.pem"),
    );
    fs::copy(signing, &tls).unwrap();
    let told = directory.refused(&["init"]);
    assert!(
        told.contains("gateway/tls.pem is not the certificate of the key"),
        "{told}"
    );
    assert!(
        told.contains("move the file away and run init again"),
        "{told}"
    );
    fs::rename(&tls, directory.path("moved-away.pem")).unwrap();
    directory.done(&["init"]);
    directory.is_complete();
}

#[test]
fn a_token_whose_pin_file_is_gone_is_not_tried_with_a_made_up_pin() {
    let directory = Directory::provisioned();
    let pin = directory.path("gateway/user.pin");
    let away = directory.path("carried-away.pin");
    fs::rename(&pin, &away).unwrap();
    let told = directory.refused(&["init"]);
    assert!(
        told.contains("token twinseal-gateway is there, but not its PIN"),
        "{told}"
    );
    assert!(told.contains("gateway/user.pin"), "{told}");
    fs::rename(&away, &pin).unwrap();
    directory.done(&["init"]);
    directory.is_complete();
}

#[test]
fn a_module_can_be_named_and_a_wrong_one_is_refused_with_its_path() {
    let directory = Directory::provisioned();
    let config = fs::read_to_string(directory.path("gateway/gateway.toml")).unwrap();
    let module = config
        .lines()
        .find_map(|line| line.strip_prefix("module = "))
        .unwrap()
        .trim_matches('"');
    let named = Directory::empty();
    named.done(&["init", "--module", module]);
    named.is_complete();
    assert_eq!(
        named.run(&["status", "--module", module]).status.code(),
        Some(0)
    );

    for command in ["init", "status", "crl"] {
        let told = directory.refused(&[command, "--module", "/no/such/module.so"]);
        assert!(
            told.contains("can't load the PKCS#11 module /no/such/module.so"),
            "{told}"
        );
        assert!(told.contains("check the path"), "{told}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_only_made_by_init() {
    let directory = Directory::empty();
    for command in ["status", "crl"] {
        let output = Command::new(program("softhsm-setup"))
            .args([command, "--dir", &directory.text("nowhere")])
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("softhsm-setup init --dir"), "{told}");
    }
    assert!(!directory.path("nowhere").exists());
}
