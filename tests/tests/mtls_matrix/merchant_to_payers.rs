//! The merchant's listener, where it takes certificates, judges those that payers show.

use protocol::names::Role;
use rcgen::ExtendedKeyUsagePurpose::ClientAuth;

use crate::{
    cases::Case,
    peer::ask,
    stage::{Stage, shown_to},
};

const PATH: &str = "/v1/catalogue";

fn judges(case: &Case) {
    let stage = Stage::shared();
    let wanted = stage.wanted(Role::Client, ClientAuth);
    let shown = (case.make)(&stage.pki, &wanted);
    let good = stage.good(&wanted);
    shown_to(&stage.merchant, "payers", &shown, case.judged, &good, PATH);
}

every_certificate!(judges);

#[test]
fn who_shows_none_is_served() {
    let stage = Stage::shared();
    let (_, heard) = ask(stage.merchant.address("payers"), None, PATH);
    assert!(heard.text.starts_with("HTTP/1.1 200 "), "{heard:?}");
}
