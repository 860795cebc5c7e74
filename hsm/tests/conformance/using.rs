//! Checks of using keys by the crate's public functions: what the token computes is what software computes,
//! and what software can find wrong never reaches it.

use std::time::{Duration, Instant};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    digest::{SHA256, digest},
    signature::{self, ECDSA_P256_SHA256_FIXED},
};
use cryptoki::{
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, KeyType, ObjectClass},
};
use hsm::{
    AgreementKey, DataKey, HsmError, IndexKey, P256Point, SigningKey, Tokens, WorkClass,
    provision::TokenAdmin, uri::Pkcs11Uri,
};

use crate::bench::{Bench, block_on};

/// A token with keys, as a program that serves has it.
struct Opened {
    admin: TokenAdmin,
    token: Tokens,
}

fn open(bench: &Bench) -> Opened {
    let admin = bench.token_with_keys();
    let token = bench.open();
    Opened { admin, token }
}

impl Opened {
    fn public(&self, label: &str) -> [u8; 65] {
        self.admin.find(label).unwrap().unwrap().public.unwrap()
    }

    fn signing(&self) -> SigningKey {
        let uri = Pkcs11Uri::for_key("signing");
        self.token
            .signing_key(&uri, self.public("signing"), WorkClass::Receipts)
            .unwrap()
    }

    fn encryption(&self) -> AgreementKey {
        let uri = Pkcs11Uri::for_key("encryption");
        self.token
            .agreement_key(&uri, self.public("encryption"))
            .unwrap()
    }

    fn data(&self) -> DataKey {
        self.token.data_key(&Pkcs11Uri::for_key("data")).unwrap()
    }

    fn index(&self) -> IndexKey {
        self.token.index_key(&Pkcs11Uri::for_key("index")).unwrap()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn new_peer() -> (PrivateKey, [u8; 65]) {
    let private = PrivateKey::generate(&ECDH_P256).unwrap();
    let public = private.compute_public_key().unwrap();
    let public = public.as_ref().try_into().unwrap();
    (private, public)
}

pub(crate) fn a_signature_verifies_in_software(bench: &Bench) {
    let opened = open(bench);
    let key = opened.signing();
    let public = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public());
    for message in [&b"one"[..], b"other", b""] {
        let hash = digest(&SHA256, message).as_ref().try_into().unwrap();
        for signature in [
            block_on(key.sign(hash, soon())).unwrap(),
            key.sign_blocking(hash, soon()).unwrap(),
            opened.admin.sign("signing", &hash).unwrap(),
        ] {
            assert!(public.verify(message, &signature).is_ok());
            assert!(public.verify(b"another", &signature).is_err());
        }
    }
    block_on(key.canary(soon())).unwrap();
}

pub(crate) fn a_shared_secret_is_what_software_agrees_on(bench: &Bench) {
    let opened = open(bench);
    let key = opened.encryption();
    for _ in 0..8 {
        let (private, public) = new_peer();
        let peer = P256Point::from_uncompressed(&public).unwrap();
        let secret = block_on(key.derive(&peer, soon())).unwrap();
        let theirs = UnparsedPublicKey::new(&ECDH_P256, opened.public("encryption"));
        agreement::agree(&private, theirs, (), |software| {
            assert!(software == secret.expose());
            Ok(())
        })
        .unwrap();
    }
    block_on(key.canary(soon())).unwrap();
}

pub(crate) fn a_point_off_the_curve_never_reaches_the_token(bench: &Bench) {
    // The only argument that a derivation takes is a point that was checked, so there is nothing to call.
    let _key = open(bench).encryption();
    let (_, public) = new_peer();
    let mut off_curve = public;
    off_curve[64] ^= 1;
    let mut compressed = public;
    compressed[0] = 2;
    for bytes in [off_curve, compressed, [0; 65], [0xff; 65]] {
        let outcome = P256Point::from_uncompressed(&bytes);
        assert_eq!(outcome.err(), Some(HsmError::InvalidInput));
    }
}

pub(crate) fn a_ciphertext_of_no_possible_length_never_reaches_the_token(bench: &Bench) {
    let key = open(bench).data();
    for length in [0, 1, 12, 27] {
        let outcome = block_on(key.decrypt(b"aad", &vec![0; length], soon()));
        assert_eq!(outcome.err(), Some(HsmError::InvalidInput));
    }
}

pub(crate) fn what_is_encrypted_is_decrypted_with_its_associated_data_alone(bench: &Bench) {
    let key = open(bench).data();
    for plaintext in [&b""[..], b"a", &[7; 16], &[7; 1000]] {
        let sealed = block_on(key.encrypt(b"aad", plaintext, soon())).unwrap();
        assert_eq!(sealed.len(), 12 + plaintext.len() + 16);
        let opened = block_on(key.decrypt(b"aad", &sealed, soon())).unwrap();
        assert_eq!(opened.as_slice(), plaintext);
        assert!(block_on(key.decrypt(b"other", &sealed, soon())).is_err());
        for position in [0, 11, 12, sealed.len() - 16, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            let outcome = block_on(key.decrypt(b"aad", &changed, soon()));
            assert_eq!(
                outcome.err(),
                Some(HsmError::InvalidInput),
                "byte {position}"
            );
        }
        let again = block_on(key.encrypt(b"aad", plaintext, soon())).unwrap();
        assert_ne!(again, sealed, "a nonce was used twice");
    }
}

pub(crate) fn what_software_encrypts_with_the_same_key_is_decrypted(bench: &Bench) {
    let _admin = bench.new_token();
    let session = bench.bare_session();
    // A key that software has too: it is of the session, and no key of ours.
    let key = session
        .create_object(&[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Value(vec![7; 32]),
        ])
        .unwrap();
    let software = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut nonce = [9; 12];
    let mut sealed = b"plaintext".to_vec();
    software
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(b"aad"),
            &mut sealed,
        )
        .unwrap();
    let parameters = GcmParams::new(&mut nonce, b"aad", 128.into()).unwrap();
    let mechanism = Mechanism::AesGcm(parameters);
    assert_eq!(
        session.decrypt(&mechanism, key, &sealed).unwrap(),
        b"plaintext"
    );
}

pub(crate) fn a_mac_is_the_same_for_the_same_data_alone(bench: &Bench) {
    let key = open(bench).index();
    let mac = |data: &[u8]| block_on(key.mac(data, soon())).unwrap();
    for data in [&b""[..], b"a", &[7; 64], &[7; 1000]] {
        assert_eq!(mac(data), mac(data));
        assert_ne!(mac(data), mac(b"other"));
    }
    block_on(key.canary(soon())).unwrap();
}

pub(crate) fn a_refused_decryption_spoils_no_operation_after_it(bench: &Bench) {
    let opened = open(bench);
    let (data, signing) = (opened.data(), opened.signing());
    let sealed = block_on(data.encrypt(b"aad", b"plaintext", soon())).unwrap();
    for _ in 0..20 {
        assert!(block_on(data.decrypt(b"other", &sealed, soon())).is_err());
        assert!(block_on(signing.sign([7; 32], soon())).is_ok());
        assert!(block_on(data.decrypt(b"aad", &sealed, soon())).is_ok());
    }
    block_on(data.canary(soon())).unwrap();
}

pub(crate) fn many_operations_at_once_are_all_right(bench: &Bench) {
    let opened = open(bench);
    let (signing, index) = (opened.signing(), opened.index());
    let expected = block_on(index.mac(b"data", soon())).unwrap();
    let public = *signing.public();
    let hash: [u8; 32] = digest(&SHA256, b"data").as_ref().try_into().unwrap();
    block_on(async {
        let mut running = Vec::new();
        for _ in 0..32 {
            let (signing, index) = (signing.clone(), index.clone());
            running.push(tokio::spawn(async move {
                let signature = signing.sign(hash, soon()).await?;
                Ok::<_, HsmError>((signature, index.mac(b"data", soon()).await?))
            }));
        }
        for task in running {
            let (signature, mac) = task.await.unwrap().unwrap();
            let key = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public);
            assert!(key.verify(b"data", &signature).is_ok());
            assert_eq!(mac, expected);
        }
    });
}
