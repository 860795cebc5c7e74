//! What a program refuses to start with: exit code 1, and a last line that says what to do.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
};

use twinseal_tests::place::Place;

use crate::{
    own_root::OwnRoot,
    scene::{Scene, buy_at},
};

/// Refuses to start, with all of this in its last line.
fn refuses(place: &Place, program: &str, config: &str, parts: &[&str]) {
    let (code, last) = place.refused_start(program, config);
    assert_eq!(code, Some(1), "{last}");
    assert!(!last.contains('\u{1b}'), "a file is no terminal: {last}");
    for part in parts {
        assert!(last.contains(part), "{part} is not in: {last}");
    }
}

fn gateway_refuses(place: &Place, parts: &[&str]) {
    refuses(place, "twinseal-gateway", "gateway/gateway.toml", parts);
}

fn merchant_refuses(place: &Place, parts: &[&str]) {
    refuses(place, "twinseal-merchant", "merchant/merchant.toml", parts);
}

#[test]
fn a_gateway_whose_certificates_are_another_s_does_not_start() {
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config.insert("name".into(), "urn:twinseal:gateway:other".into());
    });
    gateway_refuses(
        &place,
        &[
            ".pem",
            "urn:twinseal:gateway:main",
            "urn:twinseal:gateway:other",
            "correct one of the two",
        ],
    );
}

#[test]
fn a_gateway_without_a_crl_or_with_one_of_another_ca_does_not_start() {
    let place = Place::new();
    let crl = place.path("pki/gateway-ca.crl");
    let good = fs::read(&crl).unwrap();
    fs::remove_file(&crl).unwrap();
    gateway_refuses(&place, &["gateway-ca.crl"]);
    fs::copy(place.path("pki/client-ca.crl"), &crl).unwrap();
    gateway_refuses(&place, &["CRL"]);
    fs::write(&crl, "no CRL").unwrap();
    gateway_refuses(&place, &["gateway-ca.crl"]);
    fs::write(&crl, good).unwrap();
    assert!(place.start_gateway().stop().0.success());
}

#[test]
fn a_gateway_with_a_crl_past_its_time_does_not_start() {
    let place = Place::new();
    let root = OwnRoot::instead_of_the_provisioned(&place);
    root.sign_crl_until(2020);
    gateway_refuses(
        &place,
        &["tls.pem", "certificate-revoked", "CRL", "under [trust]"],
    );
    root.sign_crl_until(2049);
    assert!(place.start_gateway().stop().0.success());
}

#[test]
fn a_gateway_with_a_revoked_certificate_does_not_start() {
    let place = Place::new();
    place.setup(&["revoke", "--certificate", &place.text("gateway/tls.pem")]);
    gateway_refuses(&place, &["tls.pem", "certificate-revoked"]);
}

#[test]
fn a_misspelt_member_is_named_by_every_program() {
    let place = Place::new();
    for config in [
        "gateway/gateway.toml",
        "merchant/merchant.toml",
        "client/client.toml",
    ] {
        place.edit(config, |config| {
            config.insert("colour".into(), "red".into());
        });
    }
    gateway_refuses(&place, &["colour", "line", "gateway.sample.toml"]);
    merchant_refuses(&place, &["colour", "line", "merchant.sample.toml"]);
    let output = place.client(&["list"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let last = said.lines().last().unwrap();
    assert!(
        last.contains("colour") && last.contains("client.sample.toml"),
        "{last}"
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.edit("merchant/merchant.toml", |config| {
        config.insert("listen".into(), address.as_str().into());
    });
    place.edit("gateway/gateway.toml", |config| {
        config["listen"]["payers"] = address.as_str().into();
    });
    merchant_refuses(&place, &[&address, "in use"]);
    gateway_refuses(&place, &[&address, "in use"]);
}

#[test]
fn a_merchant_with_a_key_of_another_certificate_does_not_start() {
    let place = Place::new();
    place.setup(&["merchant", "--name", "rival", "--out", "rival"]);
    let key = place.path("merchant/signing.key");
    let good = fs::read(&key).unwrap();
    fs::copy(place.path("rival/signing.key"), &key).unwrap();
    merchant_refuses(&place, &["signing.key", "signing.pem"]);
    fs::write(&key, good).unwrap();
    fs::copy(place.path("rival/tls.key"), place.path("merchant/tls.key")).unwrap();
    merchant_refuses(&place, &["TLS", "certificate of this key"]);
}

#[test]
fn a_terminal_whose_key_or_cards_others_can_read_buys_nothing() {
    let scene = Scene::new();
    let shop = scene.merchant.url("payers");
    for file in ["client/signing.key", "client/instruments.toml"] {
        let path = scene.place.path(file);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let bought = buy_at(&scene.place, &shop, &[]);
        assert_eq!(bought.exit, 1, "{}", bought.said);
        let last = bought.said.lines().last().unwrap();
        assert!(last.contains("chmod 600"), "{last}");
        assert!(last.contains(path.to_str().unwrap()), "{last}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(buy_at(&scene.place, &shop, &[]).exit, 0);
}
