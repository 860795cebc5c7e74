//! ES256 signatures by the key of a verified certificate.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm,
    },
};

use crate::{
    names::Role,
    pki::{
        Usage, VerifiedCertificate,
        test_pki::{Issued, NOW, TestPki},
    },
    problem::Problem,
};

const MESSAGE: &[u8] = b"header.payload";

/// The order of P-256 (FIPS 186-5, SP 800-186 section 3.2.1.3).
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn signer() -> (Issued, VerifiedCertificate) {
    let pki = TestPki::new();
    let issued = pki.issue(Role::Client, Usage::MessageSigning);
    let verified = pki
        .trust()
        .verify(
            std::slice::from_ref(&issued.der),
            Role::Client,
            Usage::MessageSigning,
            NOW,
        )
        .unwrap();
    (issued, verified)
}

fn sign(issued: &Issued, algorithm: &'static EcdsaSigningAlgorithm) -> Vec<u8> {
    EcdsaKeyPair::from_pkcs8(algorithm, issued.key.serialized_der())
        .unwrap()
        .sign(&SystemRandom::new(), MESSAGE)
        .unwrap()
        .as_ref()
        .to_vec()
}

/// n − s, big-endian.
fn negated(s: &[u8]) -> [u8; 32] {
    let mut difference = [0; 32];
    let mut borrow = false;
    for place in (0..32).rev() {
        let (low, under) = N[place].overflowing_sub(s[place]);
        let (low, under_again) = low.overflowing_sub(u8::from(borrow));
        difference[place] = low;
        borrow = under || under_again;
    }
    difference
}

#[test]
fn both_forms_of_a_signature_are_good() {
    let (issued, verified) = signer();
    let mut signature = sign(&issued, &ECDSA_P256_SHA256_FIXED_SIGNING);
    verified.verify_signature(MESSAGE, &signature).unwrap();
    let other_form = negated(&signature[32..]);
    signature[32..].copy_from_slice(&other_form);
    verified.verify_signature(MESSAGE, &signature).unwrap();
}

#[test]
fn anything_else_is_no_signature() {
    let (issued, verified) = signer();
    let good = sign(&issued, &ECDSA_P256_SHA256_FIXED_SIGNING);
    let with = |range: std::ops::Range<usize>, bytes: [u8; 32]| {
        let mut signature = good.clone();
        signature[range].copy_from_slice(&bytes);
        signature
    };
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    for (what, bad) in [
        ("empty", vec![]),
        ("truncated", good[..63].to_vec()),
        ("one byte more", [&good[..], &[0]].concat()),
        ("DER", sign(&issued, &ECDSA_P256_SHA256_ASN1_SIGNING)),
        ("r is 0", with(0..32, [0; 32])),
        ("s is 0", with(32..64, [0; 32])),
        ("r is n", with(0..32, N)),
        ("s is n", with(32..64, N)),
        ("r is above n", with(0..32, [0xff; 32])),
        ("s is above n", with(32..64, [0xff; 32])),
        ("one bit changed", flipped),
    ] {
        let refusal = verified.verify_signature(MESSAGE, &bad).unwrap_err();
        assert_eq!(refusal.problem, Problem::SignatureInvalid, "{what}");
    }
    assert!(
        verified
            .verify_signature(b"another message", &good)
            .is_err()
    );
    let (_, stranger) = signer();
    assert!(stranger.verify_signature(MESSAGE, &good).is_err());
}
