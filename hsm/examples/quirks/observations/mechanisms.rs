//! Which mechanisms a token has, and whether they compute what software computes.

use aws_lc_rs::{
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    digest::{SHA256, digest},
    hmac,
};
use cryptoki::{
    mechanism::{
        Mechanism, MechanismType,
        aead::GcmParams,
        elliptic_curve::{EcKdf, Ecdh1DeriveParams},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use hsm::policy::KeyUse;

use crate::observations::{
    Row,
    subject::{self, Observed, Subject, code},
};

/// The mechanisms that this crate uses.
const USED: [(&str, MechanismType); 7] = [
    ("CKM_EC_KEY_PAIR_GEN", MechanismType::ECC_KEY_PAIR_GEN),
    ("CKM_ECDSA", MechanismType::ECDSA),
    ("CKM_ECDH1_DERIVE", MechanismType::ECDH1_DERIVE),
    ("CKM_AES_KEY_GEN", MechanismType::AES_KEY_GEN),
    ("CKM_AES_GCM", MechanismType::AES_GCM),
    (
        "CKM_GENERIC_SECRET_KEY_GEN",
        MechanismType::GENERIC_SECRET_KEY_GEN,
    ),
    ("CKM_SHA256_HMAC", MechanismType::SHA256_HMAC),
];

pub(crate) fn observe(subject: &Subject<'_>) -> Observed<Vec<Row>> {
    let info = subject.module.get_library_info()?;
    let listed = subject.module.get_mechanism_list(subject.slot)?;
    let missing: Vec<&str> = USED
        .into_iter()
        .filter(|(_, mechanism)| !listed.contains(mechanism))
        .map(|(name, _)| name)
        .collect();
    let session = subject.session()?;
    let key = subject::key(&session, KeyUse::Derive)?;
    let peer = Peer::new()?;
    let bare = peer.public.clone();
    let wrapped = [&[0x04, 65], &bare[..]].concat();
    let secret = peer.secret(&session)?;
    let hashed = digest(&SHA256, &[&secret[..], &[0, 0, 0, 1]].concat());
    let counted = digest(&SHA256, &[&[0, 0, 0, 1], &secret[..]].concat());
    let derived = |kdf, point: &[u8], expected: &[u8]| {
        derived(&session, key, Ecdh1DeriveParams::new(kdf, point), expected)
    };
    Ok(vec![
        Row::new("C_GetInfo", {
            let (library, cryptoki) = (info.library_version(), info.cryptoki_version());
            format!(
                "{}, {} {}.{}, PKCS#11 {}.{}",
                info.manufacturer_id().trim(),
                info.library_description().trim(),
                library.major(),
                library.minor(),
                cryptoki.major(),
                cryptoki.minor()
            )
        }),
        Row::new(
            "mechanisms of ours that it does not list",
            none_or(&missing, ", "),
        ),
        Row::new(
            "CKM_ECDH1_DERIVE with CKD_NULL, the point bare",
            derived(EcKdf::null(), &bare, &secret)?,
        ),
        Row::new(
            "the same, the point in a DER OCTET STRING",
            derived(EcKdf::null(), &wrapped, &secret)?,
        ),
        Row::new(
            "CKM_ECDH1_DERIVE with CKD_SHA256_KDF",
            derived(EcKdf::sha256(&[]), &bare, hashed.as_ref())?,
        ),
        Row::new(
            "the same with CKD_SHA256_KDF_SP800",
            derived(EcKdf::sha256_sp800(&[]), &bare, counted.as_ref())?,
        ),
        Row::new("C_Encrypt with CKM_AES_GCM", {
            let mut nonce = [7; 12];
            let parameters = GcmParams::new(&mut nonce, b"aad", 128.into())?;
            let key = subject::key(&session, KeyUse::Encrypt)?;
            let fresh = subject.session()?;
            code(fresh.encrypt(&Mechanism::AesGcm(parameters), key, &[7; 32]))
        }),
        Row::new(
            "CKM_SHA256_HMAC with an imported generic secret",
            mac_of_known_key(&session)?,
        ),
    ])
}

/// A list, or that it is empty.
pub(crate) fn none_or<T: AsRef<str>>(list: &[T], between: &str) -> String {
    if list.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<&str> = list.iter().map(AsRef::as_ref).collect();
    texts.join(between)
}

/// A key pair of software's.
pub(crate) struct Peer {
    private: PrivateKey,
    pub(crate) public: Vec<u8>,
}

impl Peer {
    pub(crate) fn new() -> Observed<Self> {
        let private = PrivateKey::generate(&ECDH_P256)?;
        let public = private.compute_public_key()?.as_ref().to_vec();
        Ok(Self { private, public })
    }

    /// What software agrees on with the token's key.
    fn secret(&self, session: &Session) -> Observed<Vec<u8>> {
        let object = subject::object(session, KeyUse::Derive, ObjectClass::PUBLIC_KEY)?;
        let attributes = session.get_attributes(object, &[AttributeType::EcPoint])?;
        let Some(Attribute::EcPoint(point)) = attributes.first() else {
            return Err("the public key has no CKA_EC_POINT".into());
        };
        let start = point.len().checked_sub(65).ok_or("CKA_EC_POINT is short")?;
        let theirs = UnparsedPublicKey::new(&ECDH_P256, &point[start..]);
        let failed = "software can't agree with the token's key";
        Ok(agreement::agree(&self.private, theirs, failed, |secret| {
            Ok(secret.to_vec())
        })?)
    }
}

/// Derives a secret that can be read; gives its handle.
pub(crate) fn derive(
    session: &Session,
    key: ObjectHandle,
    parameters: Ecdh1DeriveParams<'_>,
) -> Result<ObjectHandle, cryptoki::error::Error> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::ValueLen(32.into()),
    ];
    session.derive_key(&Mechanism::Ecdh1Derive(parameters), key, &template)
}

fn derived(
    session: &Session,
    key: ObjectHandle,
    parameters: Ecdh1DeriveParams<'_>,
    expected: &[u8],
) -> Observed<String> {
    let secret = match derive(session, key, parameters) {
        Ok(secret) => secret,
        error => return Ok(code(error)),
    };
    let value = session.get_attributes(secret, &[AttributeType::Value])?;
    session.destroy_object(secret)?;
    Ok(match &value[..] {
        [Attribute::Value(value)] if value == expected => "as software".to_owned(),
        [Attribute::Value(_)] => "another secret than software".to_owned(),
        _ => "can't be read".to_owned(),
    })
}

fn mac_of_known_key(session: &Session) -> Observed<String> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sign(true),
        Attribute::Value(vec![7; 32]),
    ];
    let key = match session.create_object(&template) {
        Ok(key) => key,
        error => return Ok(format!("C_CreateObject: {}", code(error))),
    };
    let mac = session.sign(&Mechanism::Sha256Hmac, key, b"data");
    session.destroy_object(key)?;
    let software = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), b"data");
    Ok(match mac {
        Ok(mac) if mac == software.as_ref() => "as software".to_owned(),
        Ok(_) => "another MAC than software".to_owned(),
        error => code(error),
    })
}
