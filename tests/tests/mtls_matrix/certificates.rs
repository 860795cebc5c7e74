//! How each certificate of the table is made.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use crate::{
    openssl,
    pki::{Ca, Pki, REVOKED, Shown, Wanted, ca, key, other, uri},
};

/// id-kp-documentSigning (RFC 9336).
const DOCUMENT_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 36];

const SECOND: Duration = Duration::SECOND;

/// One of the right CA for the right party, with something changed.
fn changed(pki: &Pki, wanted: &Wanted, change: impl FnOnce(&mut CertificateParams)) -> Shown {
    let mut params = wanted.params();
    change(&mut params);
    Shown::signed(params, key(), pki.ca(wanted.role))
}

pub(crate) fn valid(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |_| {})
}

pub(crate) fn for_both_sides(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
    })
}

pub(crate) fn without_key_identifier(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.use_authority_key_identifier_extension = false;
    })
}

pub(crate) fn begins_now(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.not_before = OffsetDateTime::now_utc();
    })
}

pub(crate) fn ends_in_a_minute(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.not_after = OffsetDateTime::now_utc() + 60 * SECOND;
    })
}

pub(crate) fn ended_a_second_ago(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.not_after = OffsetDateTime::now_utc() - SECOND;
    })
}

pub(crate) fn begins_in_a_minute(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.not_before = OffsetDateTime::now_utc() + 60 * SECOND;
    })
}

pub(crate) fn revoked(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.serial_number = Some(REVOKED.into());
    })
}

pub(crate) fn of_another_roles_ca(pki: &Pki, wanted: &Wanted) -> Shown {
    Shown::signed(wanted.params(), key(), pki.ca(other(wanted.role)))
}

pub(crate) fn self_signed(_: &Pki, wanted: &Wanted) -> Shown {
    let key = key();
    let certificate = wanted.params().self_signed(&key).unwrap();
    Shown {
        chain: vec![certificate.der().clone()],
        key,
    }
}

pub(crate) fn of_an_unknown_ca(_: &Pki, wanted: &Wanted) -> Shown {
    let unknown = Ca::self_signed(ca("Somebody's CA"), key()).unwrap();
    Shown::signed(wanted.params(), key(), &unknown).with(&unknown)
}

/// Of a CA that has the name of ours, and says that its key is ours.
pub(crate) fn of_a_namesake(pki: &Pki, wanted: &Wanted) -> Shown {
    let ours = pki.ca(wanted.role);
    let mut params = ca(&Pki::ca_name(wanted.role));
    let identifier = params.key_identifier(ours.key());
    params.key_identifier_method = KeyIdMethod::PreSpecified(identifier);
    let namesake = Ca::self_signed(params, key()).unwrap();
    Shown::signed(wanted.params(), key(), &namesake)
}

pub(crate) fn of_the_root(pki: &Pki, wanted: &Wanted) -> Shown {
    Shown::signed(wanted.params(), key(), &pki.root)
}

pub(crate) fn below_the_issuing_ca(pki: &Pki, wanted: &Wanted) -> Shown {
    let below = Ca::signed_by(ca("Below"), key(), pki.ca(wanted.role)).unwrap();
    Shown::signed(wanted.params(), key(), &below).with(&below)
}

/// Below a CA that allows no other one below itself there is one.
pub(crate) fn above_a_path_length(pki: &Pki, wanted: &Wanted) -> Shown {
    let mut params = ca("No other below");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let last = Ca::signed_by(params, key(), pki.ca(wanted.role)).unwrap();
    let below = Ca::signed_by(ca("Below"), key(), &last).unwrap();
    Shown::signed(wanted.params(), key(), &below)
        .with(&below)
        .with(&last)
}

/// A party of ours certifies another one.
pub(crate) fn below_a_party(pki: &Pki, wanted: &Wanted) -> Shown {
    let mut params = wanted.params();
    params.is_ca = IsCa::ExplicitNoCa;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "A party");
    let party = Ca::signed_by(params, key(), pki.ca(wanted.role)).unwrap();
    Shown::signed(wanted.params(), key(), &party).with(&party)
}

pub(crate) fn in_a_chain_of_five(pki: &Pki, wanted: &Wanted) -> Shown {
    let mut shown = valid(pki, wanted);
    for _ in 0..4 {
        shown = shown.with(pki.ca(wanted.role));
    }
    shown
}

pub(crate) fn with_the_anchor(pki: &Pki, wanted: &Wanted) -> Shown {
    valid(pki, wanted).with(pki.ca(wanted.role))
}

pub(crate) fn for_the_other_side(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.extended_key_usages = vec![match wanted.purpose {
            ExtendedKeyUsagePurpose::ServerAuth => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        }];
    })
}

pub(crate) fn for_messages(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING.to_vec())];
        params.subject_alt_names = vec![uri(&wanted.name)];
    })
}

pub(crate) fn with_a_further_purpose(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::CodeSigning);
    })
}

pub(crate) fn for_any_purpose(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    })
}

pub(crate) fn without_purpose(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| params.extended_key_usages.clear())
}

pub(crate) fn with_another_key_usage(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    })
}

pub(crate) fn with_a_further_key_usage(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    })
}

pub(crate) fn without_key_usage(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| params.key_usages.clear())
}

pub(crate) fn of_a_ca(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    })
}

pub(crate) fn with_another_roles_name(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        let name = format!("urn:twinseal:{}:main", other(wanted.role));
        params.subject_alt_names[0] = uri(&name);
    })
}

pub(crate) fn with_two_names(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        let name = format!("urn:twinseal:{}:second", wanted.role);
        params.subject_alt_names.push(uri(&name));
    })
}

pub(crate) fn without_urn(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| {
        params.subject_alt_names.remove(0);
    })
}

pub(crate) fn without_alternative_names(pki: &Pki, wanted: &Wanted) -> Shown {
    changed(pki, wanted, |params| params.subject_alt_names.clear())
}

pub(crate) fn of_rsa(pki: &Pki, wanted: &Wanted) -> Shown {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    Shown::signed(wanted.params(), key, pki.ca(wanted.role))
}

pub(crate) fn of_p384(pki: &Pki, wanted: &Wanted) -> Shown {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    Shown::signed(wanted.params(), key, pki.ca(wanted.role))
}

pub(crate) fn of_ed25519(pki: &Pki, wanted: &Wanted) -> Shown {
    // One made here would have its public key beside it (RFC 5958), which OpenSSL 3 does not read.
    let key = openssl::run(&["genpkey", "-algorithm", "ed25519"]);
    let key = KeyPair::from_pem(&key).unwrap();
    Shown::signed(wanted.params(), key, pki.ca(wanted.role))
}

pub(crate) fn without_its_key(pki: &Pki, wanted: &Wanted) -> Shown {
    Shown {
        key: key(),
        ..valid(pki, wanted)
    }
}

pub(crate) fn no_certificate(_: &Pki, _: &Wanted) -> Shown {
    Shown {
        chain: vec![CertificateDer::from(vec![0x30, 0])],
        key: key(),
    }
}
