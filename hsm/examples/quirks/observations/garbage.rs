//! What a token answers to what it should never see: our crate keeps it from them, another program may not.

use cryptoki::{
    mechanism::{
        Mechanism,
        aead::GcmParams,
        elliptic_curve::{EcKdf, Ecdh1DeriveParams},
    },
    object::{Attribute, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use hsm::policy::KeyUse;

use crate::observations::{
    Row,
    mechanisms::{Peer, derive},
    subject::{self, Observed, Subject, code},
};

pub(crate) fn observe(subject: &Subject<'_>) -> Observed<Vec<Row>> {
    let session = subject.session()?;
    let sign = subject::key(&session, KeyUse::Sign)?;
    let derivation = subject::key(&session, KeyUse::Derive)?;
    let encryption = subject::key(&session, KeyUse::Encrypt)?;
    let peer = Peer::new()?.public;
    let mut off_curve = peer.clone();
    if let Some(last) = off_curve.last_mut() {
        *last ^= 1;
    }
    let with_point = |point: &[u8]| {
        let parameters = Ecdh1DeriveParams::new(EcKdf::null(), point);
        code(derive(&session, derivation, parameters))
    };
    // Nobody made this one.
    let ciphertext = [7; 48];
    let after_decrypt = subject.session()?;
    Ok(vec![
        Row::new("point off the curve", with_point(&off_curve)),
        Row::new("point of 64 bytes", with_point(&peer[1..])),
        Row::new("point at infinity", with_point(&[0])),
        Row::new(
            "wrong GCM tag",
            code(decrypt(&after_decrypt, encryption, &ciphertext)),
        ),
        Row::new(
            "C_Sign on the same session afterwards",
            code(after_decrypt.sign(&Mechanism::Ecdsa, sign, &[7; 32])),
        ),
        Row::new(
            "ciphertext shorter than its tag",
            code(decrypt(&subject.session()?, encryption, &ciphertext[..10])),
        ),
        Row::new(
            "CKM_ECDSA of 31 bytes",
            code(session.sign(&Mechanism::Ecdsa, sign, &[7; 31])),
        ),
        Row::new(
            "CKM_ECDSA of no bytes",
            code(session.sign(&Mechanism::Ecdsa, sign, &[])),
        ),
        Row::new("C_SignInit while one is active", {
            let fresh = subject.session()?;
            fresh.sign_init(&Mechanism::Ecdsa, sign)?;
            code(fresh.sign_init(&Mechanism::Ecdsa, sign))
        }),
        Row::new("MAC with a key that was destroyed", {
            let key = passing_key(&session)?;
            subject.session()?.destroy_object(key)?;
            code(session.sign(&Mechanism::Sha256Hmac, key, b"data"))
        }),
    ])
}

fn decrypt(
    session: &Session,
    key: ObjectHandle,
    ciphertext: &[u8],
) -> Result<Vec<u8>, cryptoki::error::Error> {
    let mut nonce = [7; 12];
    let parameters = GcmParams::new(&mut nonce, b"aad", 128.into())?;
    session.decrypt(&Mechanism::AesGcm(parameters), key, ciphertext)
}

/// A key in the token that is there to be destroyed.
fn passing_key(session: &Session) -> Observed<ObjectHandle> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Label("quirks-mac".into()),
        Attribute::Sign(true),
        Attribute::ValueLen(32.into()),
    ];
    Ok(session.generate_key(&Mechanism::GenericSecretKeyGen, &template)?)
}
