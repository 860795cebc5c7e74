//! The gateway, as a client of a merchant that it has something to tell, judges the certificate that it is shown there:
//! the table's rows of one kind each, since it tries again by the clock.

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
};

use protocol::{
    names::Role,
    problem::Problem::{
        CertificateExpired, CertificateRevoked, CertificateUntrusted, RoleMismatch,
    },
};
use rcgen::{ExtendedKeyUsagePurpose::ServerAuth, SanType};
use serde_json::Value;
use toml::Table;
use twinseal_tests::wire::Wire;

use crate::{
    cases::Judged,
    certificates::{
        ended_a_second_ago, for_the_other_side, of_a_namesake, of_another_roles_ca, of_p384,
        revoked, valid, without_its_key,
    },
    peer::{Impostor, PATIENCE},
    pki::{Pki, Shown, Wanted},
    stage::{Stage, told_nothing},
};

type Make = fn(&Pki, &Wanted) -> Shown;

const TABLE: [(&str, Make, Judged); 9] = [
    (
        "it ended a second ago",
        ended_a_second_ago,
        Judged::Refused(CertificateExpired, "CertExpired"),
    ),
    (
        "it was revoked",
        revoked,
        Judged::Refused(CertificateRevoked, "was revoked"),
    ),
    (
        "it is of another role's CA",
        of_another_roles_ca,
        Judged::Refused(RoleMismatch, "issued by a "),
    ),
    (
        "it is for the other side of TLS",
        for_the_other_side,
        Judged::Refused(RoleMismatch, "used for Tls"),
    ),
    (
        "its CA has our CA's name",
        of_a_namesake,
        Judged::Refused(CertificateUntrusted, "InvalidSignatureForPublicKey"),
    ),
    (
        "its key is one of P-384",
        of_p384,
        Judged::Refused(CertificateUntrusted, "not one of P-256"),
    ),
    (
        "somebody else has its key",
        without_its_key,
        Judged::NotProven,
    ),
    (
        "it is for another host",
        for_another_host,
        Judged::Refused(CertificateUntrusted, "the certificate is not for localhost"),
    ),
    (
        "it is another merchant's",
        another_merchants,
        Judged::Refused(
            CertificateUntrusted,
            "urn:twinseal:merchant:other answers where urn:twinseal:merchant:bookshop is wanted",
        ),
    ),
];

fn for_another_host(pki: &Pki, wanted: &Wanted) -> Shown {
    let mut params = wanted.params();
    params.subject_alt_names[1] = SanType::DnsName("shop.example".try_into().unwrap());
    Shown::signed(params, crate::pki::key(), pki.ca(wanted.role))
}

fn another_merchants(pki: &Pki, wanted: &Wanted) -> Shown {
    let other = Wanted {
        name: "urn:twinseal:merchant:other".to_owned(),
        ..wanted.clone()
    };
    valid(pki, &other)
}

#[test]
fn nobody_but_the_merchant_is_told_what_it_is_to_be_told() {
    // It leads nowhere at first.
    let wire = Wire::to(SocketAddr::from(([127, 0, 0, 1], 1)));
    wire.cut();
    let stage = Stage::with(|place| {
        place.edit("gateway/gateway.toml", |config| {
            let webhook = format!(
                "url = \"{}/webhooks\"\nsecret_files = [\"bookshop.whsec\"]",
                wire.url()
            );
            let webhook: Table = toml::from_str(&webhook).unwrap();
            let merchant = config["merchant"][0].as_table_mut().unwrap();
            merchant.insert("webhook".into(), webhook.into());
            config["webhooks"]["retry_seconds"] = vec![1; 600].into();
        });
    });
    let wanted = stage.wanted(Role::Merchant, ServerAuth);
    close_a_batch(&stage);
    let failed: Vec<_> = TABLE
        .into_iter()
        .filter(|(_, make, judged)| {
            let shown = make(&stage.pki, &wanted);
            catch_unwind(AssertUnwindSafe(|| {
                shown_to(&stage, &wire, &shown, *judged)
            }))
            .is_err()
        })
        .map(|(what, ..)| what)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    wire.lead_to(stage.merchant.address("payers"));
    stage.gateway.wait_for_log(PATIENCE, |line| {
        line["fields"]["message"] == "merchant told"
    });
}

/// The gateway is shown this where it expects the merchant; it is judged as the table says.
fn shown_to(stage: &Stage, wire: &Wire, shown: &Shown, judged: Judged) {
    let impostor = Impostor::start(shown, "{}");
    wire.lead_to(impostor.address);
    told_nothing(&impostor.heard(), judged);
    let line = stage.gateway.wait_for_log(PATIENCE, |line| {
        let why = line["fields"]["why"].as_str();
        why.is_some_and(|why| judged.reason().is_some_and(|reason| why.contains(reason)))
    });
    assert_eq!(line["level"], "WARN");
    judged.check_log(line["fields"]["why"].as_str().unwrap());
}

/// Something that a merchant is told of.
fn close_a_batch(stage: &Stage) {
    let shop = stage.merchant.url("payers");
    let output = stage.place.client(&[
        "--json", "buy", "--yes", "--shop", &shop, "--item", "book-1",
    ]);
    let bought: Value = serde_json::from_slice(&output.stdout).unwrap();
    let xid = bought["xid"].as_str().unwrap();
    stage.place.merchant_cli(&["capture", xid]);
    stage
        .place
        .merchant_cli(&["batch", "close", "--currency", "EUR"]);
}
