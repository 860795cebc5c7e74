//! CAs: which ones are taken at load, and their dates at use.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SerialNumber};

use super::signing_problem;
use crate::{
    names::Role,
    pki::{
        TrustError, TrustWarning, Usage,
        test_pki::{NOW, TestCa, TestPki, at},
    },
    problem::Problem,
};

/// The error of loading a PKI whose merchant CA was changed.
fn load_with_merchant_ca(change: impl FnOnce(&mut CertificateParams)) -> Option<TrustError> {
    let mut pki = TestPki::new();
    let changed = pki.root.issuing_ca("Changed CA", change);
    pki.crls[1] = changed.crl(1, &[]);
    pki.issuing_cas[1] = (Role::Merchant, changed);
    pki.load(NOW).err()
}

#[test]
fn an_issuing_ca_is_a_ca_for_certificates_and_crls() {
    assert!(load_with_merchant_ca(|_| {}).is_none());
    assert!(
        load_with_merchant_ca(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        })
        .is_none()
    );
    type Change = fn(&mut CertificateParams);
    let bad: [(&str, Change); 4] = [
        ("no CA", |p| p.is_ca = IsCa::ExplicitNoCa),
        ("no basic constraints", |p| p.is_ca = IsCa::NoCa),
        ("no keyCertSign", |p| {
            p.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        }),
        ("no key usage", |p| p.key_usages.clear()),
    ];
    for (what, change) in bad {
        assert!(
            matches!(
                load_with_merchant_ca(change),
                Some(TrustError::NotACa { ca, .. }) if ca == "CN=Changed CA"
            ),
            "{what}"
        );
    }
}

#[test]
fn an_issuing_ca_outside_its_dates_is_left_out_and_the_others_are_trusted() {
    for change in [
        |params: &mut CertificateParams| params.not_after = at(NOW.minus(1)),
        |params: &mut CertificateParams| params.not_before = at(NOW.plus(1)),
    ] {
        let mut pki = TestPki::new();
        let outside = pki.root.issuing_ca("Outside CA", change);
        pki.crls[1] = outside.crl(1, &[]);
        pki.issuing_cas[1] = (Role::Merchant, outside);
        assert_left_out(&pki, "CN=Outside CA");
    }
}

/// The merchants' CA is not trusted, which is told; all else is.
fn assert_left_out(pki: &TestPki, ca: &str) {
    let trust = pki.trust();
    let judged = |role| {
        let issued = pki.issue(role, Usage::MessageSigning);
        let chain = std::slice::from_ref(&issued.der);
        trust.verify(chain, role, Usage::MessageSigning, NOW)
    };
    assert_eq!(
        judged(Role::Merchant).unwrap_err().problem,
        Problem::CertificateUntrusted
    );
    judged(Role::Client).unwrap();
    let warnings = trust.warnings(NOW);
    let told = warnings
        .iter()
        .any(|warning| matches!(warning, TrustWarning::CaLeftOut { ca: told, .. } if told == ca));
    assert!(told, "{warnings:?}");
}

#[test]
fn an_issuing_ca_of_another_root_is_not_loaded() {
    let mut pki = TestPki::new();
    // Of the same name, so that only the signature tells them apart.
    let foreign = TestCa::root("Test root").issuing_ca("Test merchant CA", |_| {});
    pki.crls[1] = foreign.crl(1, &[]);
    pki.issuing_cas[1] = (Role::Merchant, foreign);
    assert!(matches!(
        pki.load(NOW),
        Err(TrustError::NotIssuedByRoot { .. })
    ));
}

#[test]
fn the_root_is_no_issuing_ca() {
    let mut pki = TestPki::new();
    let root = std::mem::replace(&mut pki.root, TestCa::root("Other"));
    pki.issuing_cas = vec![(Role::Merchant, root)];
    pki.crls.clear();
    // Once as another root's, once as its own.
    assert!(matches!(pki.load(NOW), Err(TrustError::ForeignCrl { .. })));
    pki.root_crl = pki.root.crl(1, &[]);
    assert!(matches!(
        pki.load(NOW),
        Err(TrustError::NotIssuedByRoot { .. })
    ));
}

#[test]
fn an_issuing_ca_that_the_root_revoked_is_left_out_and_the_others_are_trusted() {
    let mut pki = TestPki::new();
    let revoked = pki.root.issuing_ca("Revoked CA", |params| {
        params.serial_number = Some(SerialNumber::from(99));
    });
    // Its CRL stays in the configuration, and is no stranger's.
    pki.crls[1] = revoked.crl(1, &[]);
    pki.issuing_cas[1] = (Role::Merchant, revoked);
    pki.root_crl = pki.root.crl(2, &[99]);
    assert_left_out(&pki, "CN=Revoked CA");
}

#[test]
fn a_trust_is_not_followed_by_one_with_older_crls() {
    let mut pki = TestPki::new();
    let first = pki.trust();
    pki.crls[1] = pki.issuing_cas[1].1.crl(7, &[]);
    let second = pki.trust();
    second.check_follows(&first).unwrap();
    second.check_follows(&second).unwrap();
    let refused = first.check_follows(&second);
    assert!(matches!(refused, Err(TrustError::OlderCrl { .. })));
    // Nor by one with another list of the same number.
    pki.crls[1] = pki.issuing_cas[1].1.crl(7, &[5]);
    let other = pki.trust().check_follows(&second);
    assert!(matches!(other, Err(TrustError::OlderCrl { .. })));
    // Nor by one that has none any more.
    pki.crls.remove(1);
    let without = pki.trust().check_follows(&second);
    assert!(matches!(without, Err(TrustError::OlderCrl { .. })));
    // A CA of the same name and another key has CRLs of its own.
    let other = pki.root.issuing_ca("Test merchant CA", |_| {});
    pki.crls.push(other.crl(1, &[]));
    pki.issuing_cas[1] = (Role::Merchant, other);
    pki.trust().check_follows(&second).unwrap();
}

#[test]
fn what_ends_soon_is_told_before_it_ends() {
    let pki = TestPki::new();
    let trust = pki.trust();
    let ends = trust
        .terms()
        .filter(|term| term.kind == "CRL")
        .map(|term| term.end);
    let first_end = ends.min().unwrap();
    let told = |now| {
        trust
            .warnings(now)
            .iter()
            .any(|warning| matches!(warning, TrustWarning::EndsSoon(_)))
    };
    assert!(!told(NOW));
    assert!(told(first_end.minus(1)));
}

#[test]
fn an_issuing_ca_that_expires_takes_its_certificates_with_it() {
    let mut pki = TestPki::new();
    let short = pki.root.issuing_ca("Short CA", |params| {
        params.not_after = at(NOW.plus(10));
    });
    pki.crls[1] = short.crl(1, &[]);
    pki.issuing_cas[1] = (Role::Merchant, short);
    let trust = pki.trust();
    let issued = pki.issue(Role::Merchant, Usage::MessageSigning);
    let judged = |now| {
        trust
            .verify(
                std::slice::from_ref(&issued.der),
                Role::Merchant,
                Usage::MessageSigning,
                now,
            )
            .err()
            .map(|refusal| refusal.problem)
    };
    // A first verification after the end, one within, and one of the remembered certificate.
    assert_eq!(judged(NOW.plus(11)), Some(Problem::CertificateExpired));
    assert_eq!(judged(NOW.plus(10)), None);
    assert_eq!(judged(NOW.plus(11)), Some(Problem::CertificateExpired));
}

#[test]
fn while_a_ca_is_replaced_both_are_trusted_even_under_one_name() {
    let mut pki = TestPki::new();
    let new_key = pki.root.issuing_ca("Test merchant CA", |_| {});
    pki.crls.push(new_key.crl(1, &[]));
    pki.issuing_cas.push((Role::Merchant, new_key));
    let trust = pki.trust();
    assert!(trust.warnings(NOW).is_empty());
    for place in [1, 3] {
        let (role, ca) = &pki.issuing_cas[place];
        let params = crate::pki::test_pki::profile(*role, Usage::MessageSigning);
        assert_eq!(signing_problem(&trust, &ca.issue(params, |_| {})), None);
    }
}
