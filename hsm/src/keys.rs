//! The keys, a type per use: what a key can't do, its type can't say.

use std::{sync::Arc, time::Instant};

use aws_lc_rs::{
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    rand::{SecureRandom as _, SystemRandom},
    signature::{self, ECDSA_P256_SHA256_FIXED},
};
use cryptoki::{
    mechanism::{
        Mechanism,
        aead::GcmParams,
        elliptic_curve::{EcKdf, Ecdh1DeriveParams},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::{
    error::{HsmError, StartError},
    point::P256Point,
    worker::{OperationError, OperationMetrics, Workers},
};

const GCM_NONCE_BYTES: usize = 12;
const GCM_TAG_BYTES: usize = 16;
const GCM_TAG_BITS: u64 = 128;

/// What all keys have.
#[derive(Clone)]
struct Key {
    workers: Workers,
    label: Arc<str>,
    handle: ObjectHandle,
    canary: OperationMetrics,
}

impl Key {
    fn new(workers: Workers, label: &str, handle: ObjectHandle) -> Self {
        Self {
            canary: OperationMetrics::new(label, "canary"),
            workers,
            label: label.into(),
            handle,
        }
    }

    fn start_error(&self, error: &OperationError) -> StartError {
        StartError::Canary {
            key: self.label.to_string(),
            reason: error.to_string(),
        }
    }
}

/// Signs digests with ECDSA on P-256 (CKM_ECDSA).
#[derive(Clone)]
pub struct SigningKey {
    key: Key,
    public: [u8; 65],
    sign: OperationMetrics,
}

impl SigningKey {
    pub(crate) fn new(
        workers: Workers,
        label: &str,
        handle: ObjectHandle,
        public: [u8; 65],
    ) -> Self {
        Self {
            sign: OperationMetrics::new(label, "sign"),
            key: Key::new(workers, label, handle),
            public,
        }
    }

    /// Signs a SHA-256 digest: r‖s.
    ///
    /// # Errors
    /// When the token is overloaded, late, or does not do it.
    pub async fn sign(&self, digest: [u8; 32], deadline: Instant) -> Result<[u8; 64], HsmError> {
        let handle = self.key.handle;
        self.key
            .workers
            .run(&self.sign, deadline, move |session| {
                sign(session, handle, &digest)
            })
            .await
    }

    /// The same, for a caller that can't wait otherwise than by blocking its thread.
    ///
    /// # Errors
    /// When the token is overloaded, late, or does not do it.
    pub fn sign_blocking(&self, digest: [u8; 32], deadline: Instant) -> Result<[u8; 64], HsmError> {
        let handle = self.key.handle;
        self.key
            .workers
            .run_blocking(&self.sign, deadline, move |session| {
                sign(session, handle, &digest)
            })
    }

    /// The public point, uncompressed.
    pub fn public(&self) -> &[u8; 65] {
        &self.public
    }

    /// What the key is called in the token.
    pub fn label(&self) -> &str {
        &self.key.label
    }

    /// Signs a nonce and verifies it in software.
    ///
    /// # Errors
    /// When the token does not do it, or wrongly.
    pub async fn canary(&self, deadline: Instant) -> Result<(), HsmError> {
        let (handle, public) = (self.key.handle, self.public);
        self.key
            .workers
            .run(&self.key.canary, deadline, move |session| {
                sign_canary(session, handle, &public)
            })
            .await
    }

    pub(crate) fn check(&self, session: &Session) -> Result<(), StartError> {
        sign_canary(session, self.key.handle, &self.public)
            .map_err(|error| self.key.start_error(&error))
    }
}

fn sign(
    session: &Session,
    handle: ObjectHandle,
    digest: &[u8; 32],
) -> Result<[u8; 64], OperationError> {
    session
        .sign(&Mechanism::Ecdsa, handle, digest)?
        .try_into()
        .map_err(|_| OperationError::WrongResult("the signature has not 64 bytes"))
}

fn sign_canary(
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

/// Agrees on secrets with ECDH on P-256 (CKM_ECDH1_DERIVE, CKD_NULL).
#[derive(Clone)]
pub struct AgreementKey {
    key: Key,
    public: [u8; 65],
    derive: OperationMetrics,
}

/// What two keys agree on: the x coordinate. It is wiped when dropped and has no Debug; only a key
/// derivation reads it.
#[derive(ZeroizeOnDrop)]
pub struct SharedSecret([u8; 32]);

impl SharedSecret {
    /// The 32 bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AgreementKey {
    pub(crate) fn new(
        workers: Workers,
        label: &str,
        handle: ObjectHandle,
        public: [u8; 65],
    ) -> Self {
        Self {
            derive: OperationMetrics::new(label, "derive"),
            key: Key::new(workers, label, handle),
            public,
        }
    }

    /// Agrees with the owner of a point.
    ///
    /// # Errors
    /// When the token is overloaded, late, or does not do it.
    pub async fn derive(
        &self,
        peer: &P256Point,
        deadline: Instant,
    ) -> Result<SharedSecret, HsmError> {
        let (handle, peer) = (self.key.handle, *peer);
        self.key
            .workers
            .run(&self.derive, deadline, move |session| {
                derive(session, handle, &peer)
            })
            .await
    }

    /// What the key is called in the token.
    pub fn label(&self) -> &str {
        &self.key.label
    }

    /// Agrees with a new key and compares what both sides have.
    ///
    /// # Errors
    /// When the token does not do it, or wrongly.
    pub async fn canary(&self, deadline: Instant) -> Result<(), HsmError> {
        let (handle, public) = (self.key.handle, self.public);
        self.key
            .workers
            .run(&self.key.canary, deadline, move |session| {
                derive_canary(session, handle, &public)
            })
            .await
    }

    pub(crate) fn check(&self, session: &Session) -> Result<(), StartError> {
        derive_canary(session, self.key.handle, &self.public)
            .map_err(|error| self.key.start_error(&error))
    }
}

fn derive(
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
        .map(SharedSecret)
        .map_err(|_| OperationError::WrongResult("the secret has not 32 bytes"));
    bytes.zeroize();
    shared
}

fn derive_canary(
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

/// Encrypts what is stored with AES-256-GCM (CKM_AES_GCM).
#[derive(Clone)]
pub struct DataKey {
    key: Key,
    encrypt: OperationMetrics,
    decrypt: OperationMetrics,
}

impl DataKey {
    pub(crate) fn new(workers: Workers, label: &str, handle: ObjectHandle) -> Self {
        Self {
            encrypt: OperationMetrics::new(label, "encrypt"),
            decrypt: OperationMetrics::new(label, "decrypt"),
            key: Key::new(workers, label, handle),
        }
    }

    /// Encrypts, bound to associated data: nonce (12 bytes), ciphertext, tag (16 bytes).
    ///
    /// # Errors
    /// When the token is overloaded, late, or does not do it.
    pub async fn encrypt(
        &self,
        aad: &[u8],
        plaintext: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, HsmError> {
        let handle = self.key.handle;
        let (aad, plaintext) = (aad.to_vec(), Zeroizing::new(plaintext.to_vec()));
        self.key
            .workers
            .run(&self.encrypt, deadline, move |session| {
                encrypt(session, handle, &aad, &plaintext)
            })
            .await
    }

    /// Decrypts what [`DataKey::encrypt`] made, with the same associated data.
    ///
    /// # Errors
    /// `InvalidInput` when it is too short; otherwise when the token is overloaded, late, or does not
    /// do it, a wrong tag included.
    pub async fn decrypt(
        &self,
        aad: &[u8],
        sealed: &[u8],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        if sealed.len() < GCM_NONCE_BYTES + GCM_TAG_BYTES {
            return Err(HsmError::InvalidInput);
        }
        let handle = self.key.handle;
        let (aad, sealed) = (aad.to_vec(), sealed.to_vec());
        self.key
            .workers
            .run(&self.decrypt, deadline, move |session| {
                decrypt(session, handle, &aad, &sealed)
            })
            .await
    }

    /// What the key is called in the token.
    pub fn label(&self) -> &str {
        &self.key.label
    }

    /// Encrypts a nonce and decrypts it.
    ///
    /// # Errors
    /// When the token does not do it, or wrongly.
    pub async fn canary(&self, deadline: Instant) -> Result<(), HsmError> {
        let handle = self.key.handle;
        self.key
            .workers
            .run(&self.key.canary, deadline, move |session| {
                encrypt_canary(session, handle)
            })
            .await
    }

    pub(crate) fn check(&self, session: &Session) -> Result<(), StartError> {
        encrypt_canary(session, self.key.handle).map_err(|error| self.key.start_error(&error))
    }
}

fn encrypt(
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

fn decrypt(
    session: &Session,
    handle: ObjectHandle,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OperationError> {
    let (nonce, ciphertext) = sealed.split_at(GCM_NONCE_BYTES);
    let mut nonce = nonce.to_vec();
    let parameters = GcmParams::new(&mut nonce, aad, GCM_TAG_BITS.into())?;
    let plaintext = session.decrypt(&Mechanism::AesGcm(parameters), handle, ciphertext)?;
    Ok(Zeroizing::new(plaintext))
}

fn encrypt_canary(session: &Session, handle: ObjectHandle) -> Result<(), OperationError> {
    let nonce: [u8; 32] = random()?;
    let sealed = encrypt(session, handle, b"canary", &nonce)?;
    if decrypt(session, handle, b"canary", &sealed)?.as_slice() == nonce {
        Ok(())
    } else {
        Err(OperationError::WrongResult(
            "what it encrypts it does not decrypt",
        ))
    }
}

/// Makes keyed look-ups with HMAC-SHA-256 (CKM_SHA256_HMAC).
#[derive(Clone)]
pub struct IndexKey {
    key: Key,
    mac: OperationMetrics,
}

impl IndexKey {
    pub(crate) fn new(workers: Workers, label: &str, handle: ObjectHandle) -> Self {
        Self {
            mac: OperationMetrics::new(label, "mac"),
            key: Key::new(workers, label, handle),
        }
    }

    /// The MAC of some data.
    ///
    /// # Errors
    /// When the token is overloaded, late, or does not do it.
    pub async fn mac(&self, data: &[u8], deadline: Instant) -> Result<[u8; 32], HsmError> {
        let handle = self.key.handle;
        let data = Zeroizing::new(data.to_vec());
        self.key
            .workers
            .run(&self.mac, deadline, move |session| {
                mac(session, handle, &data)
            })
            .await
    }

    /// What the key is called in the token.
    pub fn label(&self) -> &str {
        &self.key.label
    }

    /// MACs a nonce twice and another one once.
    ///
    /// # Errors
    /// When the token does not do it, or wrongly.
    pub async fn canary(&self, deadline: Instant) -> Result<(), HsmError> {
        let handle = self.key.handle;
        self.key
            .workers
            .run(&self.key.canary, deadline, move |session| {
                mac_canary(session, handle)
            })
            .await
    }

    pub(crate) fn check(&self, session: &Session) -> Result<(), StartError> {
        mac_canary(session, self.key.handle).map_err(|error| self.key.start_error(&error))
    }
}

fn mac(session: &Session, handle: ObjectHandle, data: &[u8]) -> Result<[u8; 32], OperationError> {
    session
        .sign(&Mechanism::Sha256Hmac, handle, data)?
        .try_into()
        .map_err(|_| OperationError::WrongResult("the MAC has not 32 bytes"))
}

fn mac_canary(session: &Session, handle: ObjectHandle) -> Result<(), OperationError> {
    let (one, other): ([u8; 32], [u8; 32]) = (random()?, random()?);
    let first = mac(session, handle, &one)?;
    if first == mac(session, handle, &one)? && first != mac(session, handle, &other)? {
        Ok(())
    } else {
        Err(OperationError::WrongResult(
            "its MACs do not tell data apart",
        ))
    }
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], OperationError> {
    let mut bytes = [0; BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| OperationError::WrongResult("the operating system gave no random bytes"))?;
    Ok(bytes)
}
