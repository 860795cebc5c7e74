//! What is asked of a token, one PKCS#11 operation each, and the canaries: operations whose result is known.

use aws_lc_rs::{
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    rand::{SecureRandom as _, SystemRandom},
    signature::{self, ECDSA_P256_SHA256_FIXED},
};
use cryptoki::{
    error::Error,
    mechanism::{
        Mechanism,
        aead::GcmParams,
        elliptic_curve::{EcKdf, Ecdh1DeriveParams},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{keys::SharedSecret, point::P256Point, policy::SECRET_KEY_BYTES, sealed::Sealed};

pub(crate) const GCM_NONCE_BYTES: usize = 12;
pub(crate) const GCM_TAG_BYTES: usize = 16;
const GCM_TAG_BITS: u64 = 128;

/// What secret keys are known by.
const KNOWN_TEXT: [u8; 32] = *b"twinseal: by this a key is known";

/// An operation failed in the token, or gave what it can't have given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperationError {
    #[error("{0}")]
    Token(#[from] Error),
    #[error("{0}")]
    WrongResult(&'static str),
    /// What was to be decrypted may be rubbish.
    #[error("{0}")]
    Decryption(Error),
}

/// Signs a SHA-256 digest (CKM_ECDSA): r‖s.
pub(crate) fn sign(
    session: &Session,
    handle: ObjectHandle,
    digest: &[u8; 32],
) -> Result<[u8; 64], OperationError> {
    session
        .sign(&Mechanism::Ecdsa, handle, digest)?
        .try_into()
        .map_err(|_| OperationError::WrongResult("the signature has not 64 bytes"))
}

pub(crate) fn sign_canary(
    session: &Session,
    handle: ObjectHandle,
    public: &[u8; 65],
) -> Result<(), OperationError> {
    let nonce: [u8; 32] = random()?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &nonce);
    let digest = digest
        .as_ref()
        .try_into()
        .map_err(|_| OperationError::WrongResult("a digest has not 32 bytes"))?;
    let signature = sign(session, handle, digest)?;
    signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
        .verify(&nonce, &signature)
        .map_err(|_| OperationError::WrongResult("its signature is not its public key's"))
}

/// Agrees with the owner of a point (CKM_ECDH1_DERIVE, CKD_NULL).
pub(crate) fn derive(
    session: &Session,
    handle: ObjectHandle,
    peer: &P256Point,
) -> Result<SharedSecret, OperationError> {
    let parameters = Ecdh1DeriveParams::new(EcKdf::null(), peer.as_bytes());
    // A secret of this session, to be read once: the KDF is software, as few tokens have it.
    let secret = session.derive_key(
        &Mechanism::Ecdh1Derive(parameters),
        handle,
        &[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen(32.into()),
        ],
    )?;
    let read = session.get_attributes(secret, &[AttributeType::Value]);
    session.destroy_object(secret)?;
    let mut bytes = read?
        .into_iter()
        .find_map(|attribute| match attribute {
            Attribute::Value(bytes) => Some(Zeroizing::new(bytes)),
            _ => None,
        })
        .ok_or(OperationError::WrongResult("the secret can't be read"))?;
    let shared = bytes
        .as_slice()
        .try_into()
        .map(SharedSecret::new)
        .map_err(|_| OperationError::WrongResult("the secret has not 32 bytes"));
    bytes.zeroize();
    shared
}

/// Agrees with the owner of a point on an AES key that stays in the token (CKM_ECDH1_DERIVE, CKD_SHA256_KDF_SP800,
/// which is the Concat KDF), and decrypts with it there (CKM_AES_GCM).
pub(crate) fn open_inside(
    session: &Session,
    handle: ObjectHandle,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, OperationError> {
    let parameters = Ecdh1DeriveParams::new(
        EcKdf::sha256_sp800(&sealed.key_derivation_info),
        sealed.ephemeral.as_bytes(),
    );
    let key = session.derive_key(
        &Mechanism::Ecdh1Derive(parameters),
        handle,
        &[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(false),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(false),
            Attribute::Decrypt(true),
            Attribute::ValueLen(SECRET_KEY_BYTES.into()),
        ],
    )?;
    let mut nonce = sealed.nonce;
    let plaintext = GcmParams::new(&mut nonce, &sealed.additional_data, GCM_TAG_BITS.into())
        .and_then(|parameters| {
            session.decrypt(
                &Mechanism::AesGcm(parameters),
                key,
                &sealed.ciphertext_and_tag,
            )
        })
        .map(Zeroizing::new)
        .map_err(OperationError::Decryption);
    session.destroy_object(key)?;
    plaintext
}

/// Opens in the token what software sealed to its key.
pub(crate) fn open_inside_canary(
    session: &Session,
    handle: ObjectHandle,
    public: &[u8; 65],
) -> Result<(), OperationError> {
    const FAILED: OperationError = OperationError::WrongResult("the software's side failed");
    let sealed = Sealed::canary(public, &KNOWN_TEXT).ok_or(FAILED)?;
    if *open_inside(session, handle, &sealed)? == KNOWN_TEXT {
        Ok(())
    } else {
        Err(OperationError::WrongResult(
            "what is sealed to its public key it does not open",
        ))
    }
}

pub(crate) fn derive_canary(
    session: &Session,
    handle: ObjectHandle,
    public: &[u8; 65],
) -> Result<(), OperationError> {
    const FAILED: OperationError = OperationError::WrongResult("the software's side failed");
    let other = PrivateKey::generate(&ECDH_P256).map_err(|_| FAILED)?;
    let other_public = other.compute_public_key().map_err(|_| FAILED)?;
    let peer = other_public
        .as_ref()
        .try_into()
        .ok()
        .and_then(|bytes| P256Point::from_uncompressed(bytes).ok())
        .ok_or(FAILED)?;
    let ours = derive(session, handle, &peer)?;
    agreement::agree(
        &other,
        UnparsedPublicKey::new(&ECDH_P256, public),
        FAILED,
        |theirs| {
            if theirs == ours.expose() {
                Ok(())
            } else {
                Err(OperationError::WrongResult(
                    "its secret is not its public key's",
                ))
            }
        },
    )
}

/// Encrypts with AES-256-GCM (CKM_AES_GCM): nonce, ciphertext, tag.
pub(crate) fn encrypt(
    session: &Session,
    handle: ObjectHandle,
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, OperationError> {
    let mut nonce: [u8; GCM_NONCE_BYTES] = random()?;
    let used = nonce;
    let parameters = GcmParams::new(&mut nonce, aad, GCM_TAG_BITS.into())?;
    let ciphertext = session.encrypt(&Mechanism::AesGcm(parameters), handle, plaintext)?;
    Ok([&used[..], &ciphertext].concat())
}

pub(crate) fn decrypt(
    session: &Session,
    handle: ObjectHandle,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OperationError> {
    let (nonce, ciphertext) = sealed.split_at(GCM_NONCE_BYTES);
    let mut nonce = nonce.to_vec();
    let parameters = GcmParams::new(&mut nonce, aad, GCM_TAG_BITS.into())?;
    session
        .decrypt(&Mechanism::AesGcm(parameters), handle, ciphertext)
        .map(Zeroizing::new)
        .map_err(OperationError::Decryption)
}

/// Encrypts a text that [`open_canary`] knows.
pub(crate) fn encrypt_canary(
    session: &Session,
    handle: ObjectHandle,
) -> Result<Vec<u8>, OperationError> {
    let sealed = encrypt(session, handle, b"canary", &KNOWN_TEXT)?;
    open_canary(session, handle, &sealed)?;
    Ok(sealed)
}

/// Opens what [`encrypt_canary`] made with the same key.
pub(crate) fn open_canary(
    session: &Session,
    handle: ObjectHandle,
    sealed: &[u8],
) -> Result<(), OperationError> {
    if *decrypt(session, handle, b"canary", sealed)? == KNOWN_TEXT {
        Ok(())
    } else {
        Err(OperationError::WrongResult(
            "what it encrypts it does not decrypt",
        ))
    }
}

/// MACs with HMAC-SHA-256 (CKM_SHA256_HMAC).
pub(crate) fn mac(
    session: &Session,
    handle: ObjectHandle,
    data: &[u8],
) -> Result<[u8; 32], OperationError> {
    session
        .sign(&Mechanism::Sha256Hmac, handle, data)?
        .try_into()
        .map_err(|_| OperationError::WrongResult("the MAC has not 32 bytes"))
}

/// MACs a text that is always the same, and one that is new.
pub(crate) fn mac_canary(
    session: &Session,
    handle: ObjectHandle,
) -> Result<[u8; 32], OperationError> {
    let known = mac(session, handle, &KNOWN_TEXT)?;
    let other: [u8; 32] = random()?;
    if mac(session, handle, &other)? == known {
        return Err(OperationError::WrongResult(
            "its MACs do not tell data apart",
        ));
    }
    Ok(known)
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], OperationError> {
    let mut bytes = [0; BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| OperationError::WrongResult("the operating system gave no random bytes"))?;
    Ok(bytes)
}
