//! The gateway's listener for merchants judges the certificates of its clients.

use protocol::names::Role;
use rcgen::ExtendedKeyUsagePurpose::ClientAuth;
use rustls::AlertDescription;

use crate::{
    cases::Case,
    peer::ask,
    stage::{Stage, handshake_failure, shown_to},
};

const PATH: &str = "/v1/certificates";

fn judges(case: &Case) {
    let stage = Stage::shared();
    let wanted = stage.wanted(Role::Merchant, ClientAuth);
    let shown = (case.make)(&stage.pki, &wanted);
    let good = stage.good(&wanted);
    shown_to(
        &stage.gateway,
        "merchants",
        &shown,
        case.judged,
        &good,
        PATH,
    );
}

every_certificate!(judges);

#[test]
fn who_shows_none_is_refused() {
    let stage = Stage::shared();
    let server = stage.gateway.address("merchants");
    let (address, heard) = ask(server, None, PATH);
    assert_eq!(heard.alert, Some(AlertDescription::CertificateRequired));
    assert_eq!(heard.text, "");
    let line = handshake_failure(&stage.gateway, address);
    assert_eq!(line, "not proven: peer sent no certificates");
}
