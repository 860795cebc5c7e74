//! A connection that is kept: each request is judged anew, by the trust of its moment.

use std::fs;

use mtls::pem;
use protocol::problem::Problem::CertificateRevoked;
use rcgen::KeyPair;
use twinseal_tests::place::Place;

use crate::{
    cases::Judged,
    peer::{Connection, PATIENCE, ask},
    pki::Shown,
    stage::{handshake_failure, told_nothing},
};

const PATH: &str = "/v1/certificates";

#[test]
fn a_revoked_merchant_hears_nothing_more_and_nobody_else_s_connection_ends() {
    let place = Place::new();
    place.setup(&["merchant", "--name", "rival", "--out", "rival"]);
    place.edit("gateway/gateway.toml", |config| {
        let rival: toml::Table =
            toml::from_str("name = \"urn:twinseal:merchant:rival\"\nactive = true").unwrap();
        let merchants = config["merchant"].as_array_mut().unwrap();
        merchants.push(rival.into());
    });
    let gateway = place.start_gateway();
    let server = gateway.address("merchants");
    let rivals = shown(&place, "rival");
    let mut rival = Connection::to(server, Some(&rivals));
    let mut bookshop = Connection::to(server, Some(&shown(&place, "merchant")));
    for connection in [&mut rival, &mut bookshop] {
        for _ in 0..2 {
            let heard = connection.get(PATH);
            assert!(heard.text.starts_with("HTTP/1.1 200 "), "{heard:?}");
        }
    }

    place.setup(&["revoke", "--certificate", &place.text("rival/tls.pem")]);
    gateway.wait_for_log(PATIENCE, |line| {
        line["fields"]["message"] == "the configured trust is in use"
    });

    let judged = Judged::Refused(
        CertificateRevoked,
        "the certificate of urn:twinseal:merchant:rival was revoked",
    );
    let heard = rival.get(PATH);
    assert_eq!((heard.text.as_str(), heard.alert), ("", None));
    let address = rival.address.to_string();
    let line = gateway.wait_for_log(PATIENCE, |line| {
        let fields = &line["fields"];
        fields["message"] == "a peer is no longer good" && fields["address"] == address
    });
    assert_eq!(line["level"], "INFO", "{line}");
    judged.check_log(line["fields"]["refusal"].as_str().unwrap());

    // Nor does it get another one, and nobody else's ends.
    let (again, heard) = ask(server, Some(&rivals), PATH);
    told_nothing(&heard, judged);
    judged.check_log(&handshake_failure(&gateway, again));
    let heard = bookshop.get(PATH);
    assert!(heard.text.starts_with("HTTP/1.1 200 "), "{heard:?}");
}

/// The provisioned TLS certificate of a merchant.
fn shown(place: &Place, directory: &str) -> Shown {
    let key = fs::read_to_string(place.path(&format!("{directory}/tls.key"))).unwrap();
    Shown {
        chain: pem::certificates(&place.path(&format!("{directory}/tls.pem"))).unwrap(),
        key: KeyPair::from_pem(&key).unwrap(),
    }
}
