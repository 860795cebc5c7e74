//! The report on a key: all findings, and what a waiver changes of them.

use cryptoki::object::Attribute;
use hsm::{
    StartError, TokenConfig, Tokens,
    policy::KeyUse,
    provision::{ProvisionError, TokenAdmin},
    uri::Pkcs11Uri,
    waiver::{Verdict, Waiver, Waivers},
};
use serde_json::json;

use crate::{
    directory::{GATEWAY_KEYS, LABEL, in_a_new_directory, open},
    templates,
};

fn waiving(attribute: &str, reason: &str) -> Waivers {
    let waiver = Waiver {
        attribute: attribute.to_owned(),
        reason: reason.to_owned(),
    };
    vec![waiver].try_into().unwrap()
}

fn wrong(admin: &TokenAdmin, key: &str, waivers: &Waivers) -> Vec<&'static str> {
    let uri = Pkcs11Uri::for_key(key);
    let report = admin.report(&uri, KeyUse::Mac, waivers).unwrap();
    report.wrong().map(|finding| finding.attribute).collect()
}

#[test]
fn a_good_key_s_report_has_every_attribute_and_nothing_wrong() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        for (label, usage) in GATEWAY_KEYS {
            let uri = Pkcs11Uri::for_key(label);
            let report = admin.report(&uri, usage, &Waivers::default()).unwrap();
            assert_eq!((report.key.as_str(), report.usage), (label, usage));
            assert_eq!(report.module, directory.module());
            assert_eq!(report.token.label, LABEL);
            assert_eq!(report.wrong().count(), 0);
            let names = |finding: &hsm::policy::AttributeFinding| finding.name;
            let looked_at = admin.check(label, usage).unwrap();
            assert_eq!(
                looked_at.iter().map(names).collect::<Vec<_>>(),
                report
                    .findings
                    .iter()
                    .map(|finding| finding.attribute)
                    .collect::<Vec<_>>()
            );
        }
    });
}

#[test]
fn what_is_waived_stays_in_the_report_with_its_reason() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let session = directory.bare_session();
        let changes = [Attribute::Modifiable(true)];
        templates::make(&session, "index", KeyUse::Mac, &changes);
        assert_eq!(
            wrong(&admin, "index", &Waivers::default()),
            ["CKA_MODIFIABLE"]
        );

        let waivers = waiving("CKA_MODIFIABLE", "the vendor's tool made it so");
        assert!(wrong(&admin, "index", &waivers).is_empty());
        let report = admin
            .report(&Pkcs11Uri::for_key("index"), KeyUse::Mac, &waivers)
            .unwrap();
        let finding = report
            .findings
            .iter()
            .find(|finding| finding.attribute == "CKA_MODIFIABLE")
            .unwrap();
        assert_eq!(finding.found, "true");
        let reason = "the vendor's tool made it so".to_owned();
        assert_eq!(finding.verdict, Verdict::Waived { reason });
    });
}

#[test]
fn a_waiver_of_one_attribute_is_none_of_another() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let session = directory.bare_session();
        let changes = [Attribute::Modifiable(true), Attribute::Extractable(true)];
        templates::make(&session, "index", KeyUse::Mac, &changes);
        let waivers = waiving("CKA_MODIFIABLE", "the vendor's tool made it so");
        assert_eq!(
            wrong(&admin, "index", &waivers),
            ["CKA_EXTRACTABLE", "CKA_NEVER_EXTRACTABLE"]
        );
    });
}

#[test]
fn a_key_opens_with_a_waiver_and_not_without() {
    in_a_new_directory(|directory| {
        let _admin = directory.new_token();
        let session = directory.bare_session();
        let modifiable = [Attribute::Modifiable(true)];
        templates::make(&session, "index", KeyUse::Mac, &modifiable);
        let extractable = [Attribute::Modifiable(true), Attribute::Extractable(true)];
        templates::make(&session, "leaving", KeyUse::Mac, &extractable);
        let token = open(&directory.config()).unwrap();
        let refused = |token: &Tokens, label: &str| {
            let outcome = token.index_key(&Pkcs11Uri::for_key(label));
            match outcome.err().unwrap() {
                StartError::Policy { finding, .. } => finding.name,
                error => panic!("{error}"),
            }
        };
        assert_eq!(refused(&token, "index"), "CKA_MODIFIABLE");
        let waivers = waiving("CKA_MODIFIABLE", "the vendor's tool made it so");
        let token = open(&TokenConfig {
            waivers,
            ..directory.config()
        })
        .unwrap();
        assert!(token.index_key(&Pkcs11Uri::for_key("index")).is_ok());
        assert_eq!(refused(&token, "leaving"), "CKA_EXTRACTABLE");
    });
}

#[test]
fn a_report_is_read_by_programs() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let session = directory.bare_session();
        let changes = [Attribute::Modifiable(true), Attribute::Decrypt(true)];
        templates::make(&session, "index", KeyUse::Mac, &changes);
        let waivers = waiving("CKA_MODIFIABLE", "the vendor's tool made it so");
        let report = admin
            .report(&Pkcs11Uri::for_key("index"), KeyUse::Mac, &waivers)
            .unwrap();
        let report = serde_json::to_value(&report).unwrap();
        assert_eq!(report["key"], "index");
        assert_eq!(report["use"], "mac");
        assert_eq!(report["module"], directory.module().to_str().unwrap());
        assert_eq!(report["token"]["label"], LABEL);
        for finding in [
            json!({"attribute": "CKA_SENSITIVE", "expected": "true", "found": "true", "verdict": "ok"}),
            json!({
                "attribute": "CKA_MODIFIABLE", "expected": "false", "found": "true", "verdict": "waived",
                "reason": "the vendor's tool made it so"
            }),
            json!({"attribute": "CKA_DECRYPT", "expected": "false", "found": "true", "verdict": "wrong"}),
        ] {
            let findings = report["findings"].as_array().unwrap();
            assert!(findings.contains(&finding), "{finding} is not in {report}");
        }
    });
}

#[test]
fn a_key_that_is_missing_or_there_twice_has_no_report() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let session = directory.bare_session();
        let uri = Pkcs11Uri::for_key("index");
        let report = || admin.report(&uri, KeyUse::Mac, &Waivers::default());
        assert!(matches!(report(), Err(ProvisionError::Start(_))));
        for _ in 0..2 {
            templates::make(&session, "index", KeyUse::Mac, &[]);
        }
        assert!(matches!(report(), Err(ProvisionError::Start(_))));
    });
}
