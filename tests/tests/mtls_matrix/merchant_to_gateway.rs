//! The merchant, as a client of its gateway, judges the certificate that it is shown there.

use protocol::{
    names::Role,
    problem::Problem::{self, CertificateUntrusted, Overloaded},
};
use rcgen::{ExtendedKeyUsagePurpose::ServerAuth, SanType};
use serde_json::Value;
use twinseal_tests::{parties::problem, service::Service};

use crate::{
    cases::{Case, Judged},
    peer::{Impostor, PATIENCE},
    pki::Shown,
    stage::{Stage, told_nothing},
};

/// A gateway that is good and has no encryption certificate.
const NONE: &str =
    r#"{"version":1,"gateway":"urn:twinseal:gateway:main","encryption":[],"signing":[],"crls":[]}"#;

fn judges(case: &Case) {
    let stage = Stage::shared();
    let wanted = stage.wanted(Role::Gateway, ServerAuth);
    shown(
        &stage,
        case.name,
        &(case.make)(&stage.pki, &wanted),
        case.judged,
    );
}

every_certificate!(judges);

#[test]
fn one_for_another_host_is_refused() {
    let stage = Stage::shared();
    let wanted = stage.wanted(Role::Gateway, ServerAuth);
    let mut params = wanted.params();
    params.subject_alt_names[1] = SanType::DnsName("gateway.example".try_into().unwrap());
    let other_host = Shown::signed(params, crate::pki::key(), stage.pki.ca(Role::Gateway));
    let judged = Judged::Refused(CertificateUntrusted, "the certificate is not for localhost");
    shown(&stage, "one_for_another_host", &other_host, judged);
}

#[test]
fn another_gateway_s_is_refused() {
    let stage = Stage::shared();
    let mut wanted = stage.wanted(Role::Gateway, ServerAuth);
    wanted.name = "urn:twinseal:gateway:other".to_owned();
    let judged = Judged::Refused(
        CertificateUntrusted,
        "urn:twinseal:gateway:other answers where urn:twinseal:gateway:main is wanted",
    );
    shown(&stage, "another_gateway_s", &stage.good(&wanted), judged);
}

/// A merchant is shown this by its gateway; it is judged as it is to be, and then the real gateway is asked.
fn shown(stage: &Stage, name: &str, shown: &Shown, judged: Judged) {
    let impostor = Impostor::start(shown, NONE);
    let (merchant, wire) = stage.merchant_with_gateway_at(name, impostor.address);
    let answer = stage.session(&merchant);
    // The payer is told that it is not now, and nothing of why.
    assert_eq!(problem(&answer), Overloaded);
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    let mut members: Vec<_> = told.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["request_id", "retry", "status", "type"]);

    let heard = impostor.heard();
    let detail = why_not(&merchant, told["request_id"].as_str().unwrap());
    if matches!(judged, Judged::Taken) {
        assert!(heard.text.starts_with("GET /v1/certificates "), "{heard:?}");
        assert!(detail.ends_with("it offers none"), "{detail}");
    } else {
        told_nothing(&heard, judged);
        judged.check_log(&detail);
        assert!(detail.contains(wire.url().strip_prefix("https://").unwrap()));
    }
    wire.lead_to(stage.gateway.address("merchants"));
    assert_eq!(stage.session(&merchant).status, 200);
}

/// What the merchant logged of a request that it could not answer.
pub(crate) fn why_not(merchant: &Service, request_id: &str) -> String {
    let line = merchant.wait_for_log(PATIENCE, |line| {
        line["fields"]["problem"] == Problem::Overloaded.name()
            && line["span"]["request_id"] == request_id
    });
    assert_eq!(line["level"], "WARN");
    line["fields"]["detail"].as_str().unwrap().to_owned()
}
