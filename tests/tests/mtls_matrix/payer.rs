//! The payer's terminal judges the certificate of the shop that it is sent to.

use protocol::{names::Role, problem::Problem::CertificateUntrusted};
use rcgen::{ExtendedKeyUsagePurpose::ServerAuth, SanType};
use serde_json::Value;

use crate::{
    cases::{Case, Judged},
    peer::Impostor,
    pki::Shown,
    stage::{Stage, told_nothing},
};

/// A shop that sells nothing.
const NOTHING: &str =
    r#"{"merchant":"urn:twinseal:merchant:bookshop","name":"A shop","currency":"EUR","items":[]}"#;

/// The terminal's exit code when it stopped because of what it was shown, and when something did not work.
const STOPPED: i32 = 5;
const FAILED: i32 = 1;

fn judges(case: &Case) {
    let stage = Stage::shared();
    let wanted = stage.wanted(Role::Merchant, ServerAuth);
    shown(&stage, &(case.make)(&stage.pki, &wanted), case.judged);
}

every_certificate!(judges);

#[test]
fn one_for_another_host_is_refused() {
    let stage = Stage::shared();
    let mut params = stage.wanted(Role::Merchant, ServerAuth).params();
    params.subject_alt_names[1] = SanType::DnsName("shop.example".try_into().unwrap());
    let other_host = Shown::signed(params, crate::pki::key(), stage.pki.ca(Role::Merchant));
    let judged = Judged::Refused(CertificateUntrusted, "the certificate is not for localhost");
    shown(&stage, &other_host, judged);
}

fn shown(stage: &Stage, shown: &Shown, judged: Judged) {
    let impostor = Impostor::start(shown, NOTHING);
    let output = stage.catalogue(&impostor.url());
    let said = String::from_utf8_lossy(&output.stderr);
    let heard = impostor.heard();
    if matches!(judged, Judged::Taken) {
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(heard.text.starts_with("GET /v1/catalogue "), "{heard:?}");
        return;
    }
    told_nothing(&heard, judged);
    judged.check_log(&said);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    if let Judged::Refused(problem, _) = judged {
        assert_eq!(output.status.code(), Some(STOPPED), "{said}");
        assert_eq!(object["problem"], problem.name());
    } else {
        assert_eq!(output.status.code(), Some(FAILED), "{said}");
        assert_eq!(object["problem"], Value::Null);
    }
    let real = stage.catalogue(&stage.merchant.url("payers"));
    assert_eq!(real.status.code(), Some(0), "{real:?}");
}
