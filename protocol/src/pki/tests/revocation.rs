//! CRLs: which one counts, and what follows when none does.

use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, SerialNumber};

use super::signing_problem;
use crate::{
    names::Role,
    pki::{
        TrustError, TrustWarning, Usage,
        test_pki::{Issued, NOW, TestCa, TestPki, at, profile},
    },
    problem::Problem,
    time::Timestamp,
};

const SERIAL: u64 = 4711;

fn numbered(pki: &TestPki, serial: u64) -> Issued {
    pki.ca(Role::Merchant)
        .issue(profile(Role::Merchant, Usage::MessageSigning), |params| {
            params.serial_number = Some(SerialNumber::from(serial))
        })
}

/// A PKI whose merchant CA has these CRLs alone.
fn with_merchant_crls(make: impl FnOnce(&TestCa) -> Vec<Crl>) -> TestPki {
    let mut pki = TestPki::new();
    pki.crls.remove(1);
    let crls = make(pki.ca(Role::Merchant));
    pki.crls.extend(crls);
    pki
}

type Crl = rustls_pki_types::CertificateRevocationListDer<'static>;

#[test]
fn a_revoked_certificate_is_refused_and_its_neighbours_are_not() {
    let pki = with_merchant_crls(|ca| vec![ca.crl(1, &[SERIAL, 1])]);
    let trust = pki.trust();
    assert_eq!(
        signing_problem(&trust, &numbered(&pki, SERIAL)),
        Some(Problem::CertificateRevoked)
    );
    assert_eq!(signing_problem(&trust, &numbered(&pki, SERIAL + 1)), None);
}

#[test]
fn another_cas_crl_does_not_revoke() {
    let mut pki = TestPki::new();
    let gateways = pki.ca(Role::Gateway).crl(2, &[SERIAL]);
    pki.crls.push(gateways);
    assert_eq!(signing_problem(&pki.trust(), &numbered(&pki, SERIAL)), None);
}

#[test]
fn the_highest_number_counts_in_whatever_order() {
    for order in [[0, 1], [1, 0]] {
        // The newer one takes the revocation back, as the end of a hold does.
        let pki = with_merchant_crls(|ca| {
            let crls = [ca.crl(9, &[SERIAL]), ca.crl(10, &[])];
            order.map(|place| crls[place].clone()).to_vec()
        });
        assert_eq!(signing_problem(&pki.trust(), &numbered(&pki, SERIAL)), None);
        let pki = with_merchant_crls(|ca| {
            let crls = [ca.crl(255, &[]), ca.crl(256, &[SERIAL])];
            order.map(|place| crls[place].clone()).to_vec()
        });
        assert_eq!(
            signing_problem(&pki.trust(), &numbered(&pki, SERIAL)),
            Some(Problem::CertificateRevoked)
        );
    }
}

#[test]
fn a_stale_crl_with_the_highest_number_is_not_replaced_by_an_older_one() {
    let pki = with_merchant_crls(|ca| {
        vec![
            ca.crl(1, &[]),
            ca.crl_with(2, &[], |params| params.next_update = at(NOW)),
        ]
    });
    let trust = pki.trust();
    assert_eq!(
        signing_problem(&trust, &numbered(&pki, SERIAL)),
        Some(Problem::CertificateRevoked)
    );
    assert_eq!(
        trust.warnings(NOW),
        [TrustWarning::StaleCrl {
            ca: "CN=Test merchant CA".to_owned(),
            next_update: NOW
        }]
    );
}

#[test]
fn a_crl_is_good_until_the_second_before_its_next_update() {
    let pki = with_merchant_crls(|ca| {
        vec![ca.crl_with(1, &[], |params| params.next_update = at(NOW.plus(10)))]
    });
    let trust = pki.trust();
    let issued = numbered(&pki, SERIAL);
    let judged = |now: Timestamp| {
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
    assert_eq!(judged(NOW.plus(9)), None);
    // The certificate is remembered by now; the age of the CRL is judged all the same.
    assert_eq!(judged(NOW.plus(10)), Some(Problem::CertificateRevoked));
}

#[test]
fn without_a_crl_nothing_is_good() {
    let pki = with_merchant_crls(|_| vec![]);
    let trust = pki.trust();
    assert_eq!(
        signing_problem(&trust, &numbered(&pki, SERIAL)),
        Some(Problem::CertificateRevoked)
    );
    assert_eq!(
        trust.warnings(NOW),
        [TrustWarning::NoCrl {
            ca: "CN=Test merchant CA".to_owned()
        }]
    );
}

#[test]
fn a_crl_from_the_future_is_left_out() {
    let from_the_future =
        |ca: &TestCa| ca.crl_with(2, &[SERIAL], |params| params.this_update = at(NOW.plus(1)));
    let pki = with_merchant_crls(|ca| vec![ca.crl(1, &[]), from_the_future(ca)]);
    assert_eq!(signing_problem(&pki.trust(), &numbered(&pki, SERIAL)), None);
    let pki = with_merchant_crls(|ca| vec![from_the_future(ca)]);
    let trust = pki.trust();
    assert_eq!(
        signing_problem(&trust, &numbered(&pki, SERIAL + 1)),
        Some(Problem::CertificateRevoked)
    );
    assert!(
        trust
            .warnings(NOW)
            .contains(&TrustWarning::CrlFromTheFuture {
                ca: "CN=Test merchant CA".to_owned(),
                this_update: NOW.plus(1)
            })
    );
}

#[test]
fn a_crl_that_no_configured_ca_signed_is_refused_at_load() {
    let mut pki = TestPki::new();
    pki.crls.push(TestCa::root("Test merchant CA").crl(7, &[]));
    assert!(matches!(
        pki.load(NOW),
        Err(TrustError::ForeignCrl { issuing_ca }) if issuing_ca == "CN=Test merchant CA"
    ));
    let mut pki = TestPki::new();
    pki.root_crl = pki.ca(Role::Merchant).crl(1, &[]);
    assert!(matches!(pki.load(NOW), Err(TrustError::ForeignCrl { .. })));
}

#[test]
fn a_changed_crl_is_refused_at_load() {
    let mut pki = TestPki::new();
    let mut changed = pki.crls[1].to_vec();
    *changed.last_mut().unwrap() ^= 1;
    pki.crls[1] = changed.into();
    assert!(matches!(pki.load(NOW), Err(TrustError::ForeignCrl { .. })));
}

#[test]
fn a_crl_for_a_part_of_the_certificates_is_refused_at_load() {
    let pki = with_merchant_crls(|ca| {
        vec![ca.crl_with(2, &[], |params| {
            params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint {
                    uris: vec!["http://ca.example/crl".to_owned()],
                },
                scope: Some(CrlScope::UserCertsOnly),
            });
        })]
    });
    assert!(matches!(pki.load(NOW), Err(TrustError::Crl { .. })));
}

#[test]
fn a_stale_root_crl_refuses_everything_at_use_and_not_at_load() {
    let mut pki = TestPki::new();
    pki.root_crl = pki
        .root
        .crl_with(1, &[], |params| params.next_update = at(NOW));
    let trust = pki.trust();
    assert_eq!(
        signing_problem(&trust, &numbered(&pki, SERIAL)),
        Some(Problem::CertificateRevoked)
    );
    assert_eq!(
        trust.warnings(NOW),
        [TrustWarning::StaleCrl {
            ca: "CN=Test root".to_owned(),
            next_update: NOW
        }]
    );
}
