//! Profiles, names, roles, dates and chains of leaf certificates.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use rustls_pki_types::CertificateDer;

use super::{problem, signing_problem};
use crate::{
    identifiers::Digest,
    names::Role,
    pki::{
        CHAIN_MAX, Usage,
        test_pki::{Issued, NOW, TestCa, TestPki, at, dns, profile, uri},
    },
    problem::Problem,
};

type Change = fn(&mut CertificateParams);

const USAGES: [Usage; 4] = [
    Usage::MessageSigning,
    Usage::Encryption,
    Usage::TlsServer,
    Usage::TlsClient,
];

fn merchants_signing(pki: &TestPki, change: impl FnOnce(&mut CertificateParams)) -> Issued {
    pki.ca(Role::Merchant)
        .issue(profile(Role::Merchant, Usage::MessageSigning), change)
}

#[test]
fn a_certificate_is_good_for_its_own_role_and_use_alone() {
    let pki = TestPki::new();
    let trust = pki.trust();
    for role in Role::ALL {
        for usage in USAGES {
            let issued = pki.issue(role, usage);
            let chain = std::slice::from_ref(&issued.der);
            for tried_role in Role::ALL {
                for tried_usage in USAGES {
                    let expected = ((tried_role, tried_usage) != (role, usage))
                        .then_some(Problem::RoleMismatch);
                    assert_eq!(
                        problem(&trust, chain, tried_role, tried_usage),
                        expected,
                        "{role} {usage:?} as {tried_role} {tried_usage:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_verified_certificate_tells_what_is_in_it() {
    let pki = TestPki::new();
    let issued = merchants_signing(&pki, |params| {
        params.subject_alt_names.push(dns("Shop.Example"));
    });
    let verified = pki
        .trust()
        .verify(
            std::slice::from_ref(&issued.der),
            Role::Merchant,
            Usage::MessageSigning,
            NOW,
        )
        .unwrap();
    assert_eq!(verified.name().as_str(), "urn:twinseal:merchant:test");
    assert_eq!(verified.role(), Role::Merchant);
    assert_eq!(verified.usage(), Usage::MessageSigning);
    assert_eq!(verified.thumbprint(), Digest::of(&issued.der));
    assert_eq!(
        verified.public_key().as_slice(),
        issued.key.public_key_raw()
    );
    assert_eq!(verified.dns_names(), ["shop.example"]);
    assert_eq!(verified.der(), issued.der.as_ref());
    assert_eq!(verified.not_after(), NOW.plus(30 * 86_400));
}

#[test]
fn a_tls_certificate_may_be_for_both_sides() {
    let pki = TestPki::new();
    let trust = pki.trust();
    let both = pki
        .ca(Role::Gateway)
        .issue(profile(Role::Gateway, Usage::TlsServer), |params| {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
            params.subject_alt_names.push(dns("gateway.example"));
            params
                .subject_alt_names
                .push(SanType::IpAddress([127, 0, 0, 1].into()));
        });
    for usage in [Usage::TlsServer, Usage::TlsClient] {
        let chain = std::slice::from_ref(&both.der);
        assert_eq!(problem(&trust, chain, Role::Gateway, usage), None);
    }
}

#[test]
fn a_leaf_of_no_profile_is_untrusted() {
    let pki = TestPki::new();
    let trust = pki.trust();
    let bad: [(&str, Change); 16] = [
        ("no key usage", |p| p.key_usages.clear()),
        ("another key usage", |p| {
            p.key_usages = vec![KeyUsagePurpose::ContentCommitment];
        }),
        ("one key usage too many", |p| {
            p.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }),
        ("digitalSignature and keyAgreement", |p| {
            p.key_usages.push(KeyUsagePurpose::KeyAgreement);
        }),
        ("no extended key usage", |p| p.extended_key_usages.clear()),
        ("keyAgreement with an extended key usage", |p| {
            p.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        }),
        ("document signing and TLS", |p| {
            p.extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        }),
        ("document signing twice over", |p| {
            p.extended_key_usages.push(ExtendedKeyUsagePurpose::Any);
        }),
        ("TLS and code signing", |p| {
            p.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::CodeSigning,
            ];
        }),
        ("another extended key usage", |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![
                1, 3, 6, 1, 5, 5, 7, 3, 99,
            ])];
        }),
        ("no subject alternative name", |p| {
            p.subject_alt_names.clear()
        }),
        ("no URI", |p| {
            p.subject_alt_names = vec![dns("shop.example")]
        }),
        ("two names", |p| {
            p.subject_alt_names.push(uri("urn:twinseal:merchant:other"));
        }),
        ("an IP address in a signing certificate", |p| {
            p.subject_alt_names
                .push(SanType::IpAddress([127, 0, 0, 1].into()));
        }),
        ("a wildcard", |p| p.subject_alt_names.push(dns("*.example"))),
        ("a mail address", |p| {
            p.subject_alt_names
                .push(SanType::Rfc822Name("a@shop.example".try_into().unwrap()));
        }),
    ];
    for (what, change) in bad {
        let issued = merchants_signing(&pki, change);
        assert_eq!(
            signing_problem(&trust, &issued),
            Some(Problem::CertificateUntrusted),
            "{what}"
        );
    }
}

#[test]
fn look_alikes_of_a_name_are_untrusted() {
    let pki = TestPki::new();
    let trust = pki.trust();
    for bad in [
        "URN:twinseal:merchant:test",
        "urn:twinseal:merchant:Test",
        "urn:Twinseal:merchant:test",
        "urn:twinseal:merchant:test ",
        "urn:twinseal:merchant:",
        "urn:twinseal:merchant:test:2",
        "urn:twinseal:shop:test",
        "https://twinseal/merchant/test",
    ] {
        let issued = merchants_signing(&pki, |params| params.subject_alt_names = vec![uri(bad)]);
        assert_eq!(
            signing_problem(&trust, &issued),
            Some(Problem::CertificateUntrusted),
            "{bad}"
        );
    }
    // With a Cyrillic letter, which no proper encoder puts into an IA5String.
    let issued = merchants_signing(&pki, |params| {
        let name = "urn:twinseal:merchant:tеst".as_bytes();
        let mut content = vec![0x30, name.len() as u8 + 2, 0x86, name.len() as u8];
        content.extend_from_slice(name);
        params.subject_alt_names.clear();
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[2, 5, 29, 17], content));
    });
    assert_eq!(
        signing_problem(&trust, &issued),
        Some(Problem::CertificateUntrusted)
    );
}

#[test]
fn a_name_of_another_role_under_the_right_ca_is_a_role_mismatch() {
    let pki = TestPki::new();
    let issued = merchants_signing(&pki, |params| {
        params.subject_alt_names = vec![uri("urn:twinseal:gateway:main")];
    });
    for role in [Role::Merchant, Role::Gateway] {
        assert_eq!(
            problem(
                &pki.trust(),
                std::slice::from_ref(&issued.der),
                role,
                Usage::MessageSigning
            ),
            Some(Problem::RoleMismatch)
        );
    }
}

#[test]
fn keys_of_other_kinds_are_untrusted() {
    let pki = TestPki::new();
    let trust = pki.trust();
    for key in [
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
    ] {
        let params = profile(Role::Merchant, Usage::MessageSigning);
        let issued = pki.ca(Role::Merchant).issue_to(key, params, |_| {});
        assert_eq!(
            signing_problem(&trust, &issued),
            Some(Problem::CertificateUntrusted)
        );
    }
}

#[test]
fn dates_are_judged_to_the_second_and_without_skew() {
    let pki = TestPki::new();
    let trust = pki.trust();
    let dated = |not_before, not_after| {
        merchants_signing(&pki, |params| {
            params.not_before = at(not_before);
            params.not_after = at(not_after);
        })
    };
    let good = dated(NOW, NOW);
    assert_eq!(signing_problem(&trust, &good), None);
    for bad in [
        dated(NOW.minus(100), NOW.minus(1)),
        dated(NOW.plus(1), NOW.plus(100)),
    ] {
        assert_eq!(
            signing_problem(&trust, &bad),
            Some(Problem::CertificateExpired)
        );
    }
    // The good one is remembered, and judged all the same.
    for then in [NOW.minus(1), NOW.plus(1)] {
        let refusal = trust
            .verify(
                std::slice::from_ref(&good.der),
                Role::Merchant,
                Usage::MessageSigning,
                then,
            )
            .unwrap_err();
        assert_eq!(refusal.problem, Problem::CertificateExpired);
    }
}

#[test]
fn what_no_issuing_ca_signed_is_untrusted() {
    let pki = TestPki::new();
    let trust = pki.trust();
    let params = || profile(Role::Merchant, Usage::MessageSigning);

    let key = KeyPair::generate().unwrap();
    let self_signed = params().self_signed(&key).unwrap().der().clone();
    let same_name_other_key = TestCa::root("Test merchant CA").issue(params(), |_| {});
    let by_the_root = pki.root.issue(params(), |_| {});
    let mut broken = pki
        .issue(Role::Merchant, Usage::MessageSigning)
        .der
        .to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let critical = merchants_signing(&pki, |params| {
        let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions.push(unknown);
    });
    let ca_as_leaf = merchants_signing(&pki, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    for (what, leaf) in [
        ("self-signed", self_signed),
        (
            "a CA of the same name with another key",
            same_name_other_key.der,
        ),
        ("the root itself", by_the_root.der),
        ("a signature with one bit changed", broken.into()),
        ("an unknown critical extension", critical.der),
        ("a CA certificate as leaf", ca_as_leaf.der),
        ("the anchor as leaf", pki.ca(Role::Merchant).der()),
        ("no certificate at all", CertificateDer::from(vec![0x30, 0])),
    ] {
        assert_eq!(
            problem(&trust, &[leaf], Role::Merchant, Usage::MessageSigning),
            Some(Problem::CertificateUntrusted),
            "{what}"
        );
    }
}

#[test]
fn a_chain_holds_its_path_and_nothing_else() {
    let pki = TestPki::new();
    let trust = pki.trust();
    let ca = pki.ca(Role::Merchant);
    let params = || profile(Role::Merchant, Usage::MessageSigning);
    let leaf = || pki.issue(Role::Merchant, Usage::MessageSigning).der;

    let own_ca = TestCa::root("Somebody's CA");
    let under_own_ca = own_ca.issue(params(), |_| {}).der;
    let no_ca = ca.issuing_ca("A shop", |params| {
        params.is_ca = IsCa::ExplicitNoCa;
    });
    let under_no_ca = no_ca.issue(params(), |_| {}).der;
    let narrow = ca.issuing_ca("No CA below", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let too_deep = narrow.issuing_ca("One below", |_| {});
    let under_too_deep = too_deep.issue(params(), |_| {}).der;
    for (what, chain) in [
        ("nothing", vec![]),
        ("two leaves", vec![leaf(), leaf()]),
        ("the anchor too", vec![leaf(), ca.der()]),
        (
            "the anchor and the root too",
            vec![leaf(), ca.der(), pki.root.der()],
        ),
        ("five", (0..=CHAIN_MAX).map(|_| leaf()).collect()),
        ("a CA of its own", vec![under_own_ca, own_ca.der()]),
        ("through a non-CA", vec![under_no_ca, no_ca.der()]),
        (
            "above the path length",
            vec![under_too_deep, too_deep.der(), narrow.der()],
        ),
    ] {
        assert_eq!(
            problem(&trust, &chain, Role::Merchant, Usage::MessageSigning),
            Some(Problem::CertificateUntrusted),
            "{what}"
        );
    }
}

#[test]
fn a_path_over_another_ca_has_no_crl_and_is_refused() {
    let pki = TestPki::new();
    let between = pki.ca(Role::Merchant).issuing_ca("Between", |_| {});
    let leaf = between.issue(profile(Role::Merchant, Usage::MessageSigning), |_| {});
    let chain = [leaf.der, between.der()];
    assert_eq!(
        problem(&pki.trust(), &chain, Role::Merchant, Usage::MessageSigning),
        Some(Problem::CertificateRevoked)
    );
}

#[test]
fn a_path_over_another_ca_is_untrusted_where_the_issuing_ca_allows_none() {
    let mut pki = TestPki::new();
    let strict = pki.root.issuing_ca("Allows none", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    pki.crls[1] = strict.crl(1, &[]);
    pki.issuing_cas[1] = (Role::Merchant, strict);
    let between = pki.ca(Role::Merchant).issuing_ca("Between", |_| {});
    let leaf = between.issue(profile(Role::Merchant, Usage::MessageSigning), |_| {});
    let refusal = pki
        .trust()
        .verify(
            &[leaf.der, between.der()],
            Role::Merchant,
            Usage::MessageSigning,
            NOW,
        )
        .unwrap_err();
    assert_eq!(refusal.problem, Problem::CertificateUntrusted);
    assert!(refusal.detail.contains("path length"), "{refusal}");
}
