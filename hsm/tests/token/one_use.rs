//! One key, one use: the token itself refuses every other.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use cryptoki::{
    error::Error,
    mechanism::{
        Mechanism,
        aead::GcmParams,
        elliptic_curve::{EcKdf, Ecdh1DeriveParams},
    },
    object::{Attribute, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};

use crate::directory::{GATEWAY_KEYS, TokenDirectory, in_a_new_directory, secret_part};

/// Something that a key could be used for.
type Attempt = fn(&Session, ObjectHandle) -> Result<(), Error>;

fn sign(session: &Session, key: ObjectHandle) -> Result<(), Error> {
    session.sign(&Mechanism::Ecdsa, key, &[7; 32]).map(drop)
}

fn mac(session: &Session, key: ObjectHandle) -> Result<(), Error> {
    session.sign(&Mechanism::Sha256Hmac, key, b"data").map(drop)
}

fn derive(session: &Session, key: ObjectHandle) -> Result<(), Error> {
    let peer = PrivateKey::generate(&ECDH_P256).unwrap();
    let peer = peer.compute_public_key().unwrap();
    let parameters = Ecdh1DeriveParams::new(EcKdf::null(), peer.as_ref());
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::ValueLen(32.into()),
    ];
    session
        .derive_key(&Mechanism::Ecdh1Derive(parameters), key, &template)
        .map(drop)
}

fn encrypt(session: &Session, key: ObjectHandle) -> Result<(), Error> {
    let mut nonce = [7; 12];
    let parameters = GcmParams::new(&mut nonce, b"", 128.into())?;
    session
        .encrypt(&Mechanism::AesGcm(parameters), key, b"data")
        .map(drop)
}

/// Only the start: what is decrypted is rubbish, and would be refused as that.
fn start_decryption(session: &Session, key: ObjectHandle) -> Result<(), Error> {
    let mut nonce = [7; 12];
    let parameters = GcmParams::new(&mut nonce, b"", 128.into())?;
    session.decrypt_init(&Mechanism::AesGcm(parameters), key)
}

fn unwrap(session: &Session, key: ObjectHandle) -> Result<(), Error> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
    ];
    session
        .unwrap_key(&Mechanism::AesKeyWrapPad, key, &[7; 40], &template)
        .map(drop)
}

fn wrap(session: &Session, key: ObjectHandle) -> Result<(), Error> {
    let template = [
        Attribute::Token(false),
        Attribute::Extractable(true),
        Attribute::ValueLen(32.into()),
    ];
    let leaving = session.generate_key(&Mechanism::AesKeyGen, &template)?;
    session
        .wrap_key(&Mechanism::AesKeyWrapPad, key, leaving)
        .map(drop)
}

const ATTEMPTS: [(&str, Attempt); 7] = [
    ("sign", sign),
    ("mac", mac),
    ("derive", derive),
    ("encrypt", encrypt),
    ("decrypt", start_decryption),
    ("unwrap", unwrap),
    ("wrap", wrap),
];

/// What the token lets a key do.
fn allowed(directory: &TokenDirectory, label: &str) -> Vec<&'static str> {
    ATTEMPTS
        .into_iter()
        .filter(|(_, attempt)| {
            // A session for each: an operation that was started stands in the way of the next.
            let session = directory.bare_session();
            attempt(&session, secret_part(&session, label)).is_ok()
        })
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn every_key_of_the_gateway_can_do_its_one_thing_and_nothing_else() {
    in_a_new_directory(|directory| {
        let _admin = directory.gateway_token();
        let found = GATEWAY_KEYS.map(|(label, _)| (label, allowed(directory, label)));
        let wanted = [
            ("tls", vec!["sign"]),
            ("signing", vec!["sign"]),
            ("encryption", vec!["derive"]),
            ("data", vec!["encrypt", "decrypt"]),
            ("index", vec!["mac"]),
        ];
        assert_eq!(found, wanted);
    });
}
