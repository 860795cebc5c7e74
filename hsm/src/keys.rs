//! The keys, a type per use: what a key can't do, its type can't say.

use std::{sync::Arc, time::Instant};

use cryptoki::session::Session;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::{
    error::HsmError,
    key::{Held, Key},
    metering::OperationMetrics,
    operations::{self, GCM_NONCE_BYTES, GCM_TAG_BYTES, OperationError},
    point::P256Point,
    queue::WorkClass,
    sealed::{Opening, OpeningWay, Sealed},
    tokens::{Task, Tokens},
};

/// What all keys have.
#[derive(Clone)]
struct Shared {
    tokens: Tokens,
    key: Arc<Key>,
    canary: Use,
}

/// One thing that a key does.
#[derive(Clone)]
struct Use {
    class: WorkClass,
    metrics: Arc<[OperationMetrics]>,
}

impl Shared {
    fn new(tokens: Tokens, key: Arc<Key>) -> Self {
        Self {
            canary: Use {
                class: WorkClass::Canaries,
                metrics: tokens.metrics(WorkClass::Canaries, &key, "canary"),
            },
            tokens,
            key,
        }
    }

    fn used_to(&self, class: WorkClass, operation: &'static str) -> Use {
        Use {
            class,
            metrics: self.tokens.metrics(class, &self.key, operation),
        }
    }

    fn task<T>(
        &self,
        usage: &Use,
        operation: impl Fn(&Session, Held) -> Result<T, OperationError> + Send + Sync + 'static,
    ) -> Task<T> {
        Task {
            key: Arc::clone(&self.key),
            class: usage.class,
            metrics: Arc::clone(&usage.metrics),
            operation: Arc::new(operation),
        }
    }

    /// Uses the key once, on what only the right key gets right.
    async fn sing(&self, deadline: Instant) -> Result<(), HsmError> {
        let key = Arc::clone(&self.key);
        let task = self.task(&self.canary, move |session, held| key.canary(session, held));
        self.tokens.run(&task, deadline).await
    }
}

/// Signs digests with ECDSA on P-256 (CKM_ECDSA).
#[derive(Clone)]
pub struct SigningKey {
    shared: Shared,
    public: [u8; 65],
    sign: Use,
}

impl SigningKey {
    pub(crate) fn new(tokens: Tokens, key: Arc<Key>, public: [u8; 65], class: WorkClass) -> Self {
        let shared = Shared::new(tokens, key);
        Self {
            sign: shared.used_to(class, "sign"),
            shared,
            public,
        }
    }

    /// Signs a SHA-256 digest: r‖s.
    ///
    /// # Errors
    /// When the tokens are overloaded, late, or do not do it.
    pub async fn sign(&self, digest: [u8; 32], deadline: Instant) -> Result<[u8; 64], HsmError> {
        self.shared
            .tokens
            .run(&self.signing(digest), deadline)
            .await
    }

    /// The same, for a caller that can't wait otherwise than by blocking its thread.
    ///
    /// # Errors
    /// When the tokens are overloaded, late, or do not do it.
    pub fn sign_blocking(&self, digest: [u8; 32], deadline: Instant) -> Result<[u8; 64], HsmError> {
        self.shared
            .tokens
            .run_blocking(&self.signing(digest), deadline)
    }

    fn signing(&self, digest: [u8; 32]) -> Task<[u8; 64]> {
        self.shared.task(&self.sign, move |session, held| {
            operations::sign(session, held.handle, &digest)
        })
    }

    /// The public point, uncompressed.
    pub fn public(&self) -> &[u8; 65] {
        &self.public
    }

    /// What the key is called.
    pub fn label(&self) -> &str {
        self.shared.key.name()
    }

    /// Signs a nonce and verifies it in software.
    ///
    /// # Errors
    /// When no token does it rightly.
    pub async fn canary(&self, deadline: Instant) -> Result<(), HsmError> {
        self.shared.sing(deadline).await
    }
}

/// Agrees on secrets with ECDH on P-256 (CKM_ECDH1_DERIVE), and opens with them where the token can.
#[derive(Clone)]
pub struct AgreementKey {
    shared: Shared,
    derive: Use,
    open: Use,
}

/// What two keys agree on: the x coordinate. It is wiped when dropped and has no Debug; only a key
/// derivation reads it.
#[derive(ZeroizeOnDrop)]
pub struct SharedSecret([u8; 32]);

impl SharedSecret {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AgreementKey {
    pub(crate) fn new(tokens: Tokens, key: Arc<Key>) -> Self {
        let shared = Shared::new(tokens, key);
        Self {
            derive: shared.used_to(WorkClass::Opening, "derive"),
            open: shared.used_to(WorkClass::Opening, "open"),
            shared,
        }
    }

    /// Opens what is sealed to this key, in the way that the token can.
    ///
    /// # Errors
    /// `InvalidInput` when it does not open in the token; otherwise when the tokens are overloaded, late, or do not do
    /// it.
    pub async fn open(&self, sealed: Sealed, deadline: Instant) -> Result<Opening, HsmError> {
        let task = self
            .shared
            .task(&self.open, move |session, held| match held.opening {
                Some(OpeningWay::InToken) => {
                    operations::open_inside(session, held.handle, &sealed).map(Opening::Plaintext)
                }
                _ => {
                    operations::derive(session, held.handle, &sealed.ephemeral).map(Opening::Secret)
                }
            });
        self.shared.tokens.run(&task, deadline).await
    }

    /// Agrees with the owner of a point (CKD_NULL), for who derives keys by itself.
    ///
    /// # Errors
    /// When the tokens are overloaded, late, or do not do it.
    pub async fn derive(
        &self,
        peer: &P256Point,
        deadline: Instant,
    ) -> Result<SharedSecret, HsmError> {
        let peer = *peer;
        let task = self.shared.task(&self.derive, move |session, held| {
            operations::derive(session, held.handle, &peer)
        });
        self.shared.tokens.run(&task, deadline).await
    }

    /// What the key is called.
    pub fn label(&self) -> &str {
        self.shared.key.name()
    }

    /// Whether both are one pair.
    pub fn is(&self, other: &Self) -> bool {
        self.shared.key.is(&other.shared.key)
    }

    /// Agrees with a new key and compares what both sides have.
    ///
    /// # Errors
    /// When no token does it rightly.
    pub async fn canary(&self, deadline: Instant) -> Result<(), HsmError> {
        self.shared.sing(deadline).await
    }
}

/// Encrypts what is stored with AES-256-GCM (CKM_AES_GCM).
#[derive(Clone)]
pub struct DataKey {
    shared: Shared,
    encrypt: Use,
    decrypt: Use,
}

impl DataKey {
    pub(crate) fn new(tokens: Tokens, key: Arc<Key>) -> Self {
        let shared = Shared::new(tokens, key);
        Self {
            encrypt: shared.used_to(WorkClass::Storage, "encrypt"),
            decrypt: shared.used_to(WorkClass::Storage, "decrypt"),
            shared,
        }
    }

    /// Encrypts, bound to associated data: nonce (12 bytes), ciphertext, tag (16 bytes).
    ///
    /// # Errors
    /// When the tokens are overloaded, late, or do not do it.
    pub async fn encrypt(
        &self,
        aad: &[u8],
        plaintext: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, HsmError> {
        let (aad, plaintext) = (aad.to_vec(), Zeroizing::new(plaintext.to_vec()));
        let task = self.shared.task(&self.encrypt, move |session, held| {
            operations::encrypt(session, held.handle, &aad, &plaintext)
        });
        self.shared.tokens.run(&task, deadline).await
    }

    /// Decrypts what [`DataKey::encrypt`] made, with the same associated data.
    ///
    /// # Errors
    /// `InvalidInput` when it was changed or is another key's; otherwise when the tokens are overloaded, late, or do not
    /// do it.
    pub async fn decrypt(
        &self,
        aad: &[u8],
        sealed: &[u8],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        if sealed.len() < GCM_NONCE_BYTES + GCM_TAG_BYTES {
            return Err(HsmError::InvalidInput);
        }
        let (aad, sealed) = (aad.to_vec(), sealed.to_vec());
        let task = self.shared.task(&self.decrypt, move |session, held| {
            operations::decrypt(session, held.handle, &aad, &sealed)
        });
        self.shared.tokens.run(&task, deadline).await
    }

    /// What the key is called.
    pub fn label(&self) -> &str {
        self.shared.key.name()
    }

    /// Encrypts a text, and decrypts it and one that was encrypted before.
    ///
    /// # Errors
    /// When no token does it rightly.
    pub async fn canary(&self, deadline: Instant) -> Result<(), HsmError> {
        self.shared.sing(deadline).await
    }
}

/// Makes keyed look-ups with HMAC-SHA-256 (CKM_SHA256_HMAC).
#[derive(Clone)]
pub struct IndexKey {
    shared: Shared,
    mac: Use,
}

impl IndexKey {
    pub(crate) fn new(tokens: Tokens, key: Arc<Key>) -> Self {
        let shared = Shared::new(tokens, key);
        Self {
            mac: shared.used_to(WorkClass::Storage, "mac"),
            shared,
        }
    }

    /// The MAC of some data.
    ///
    /// # Errors
    /// When the tokens are overloaded, late, or do not do it.
    pub async fn mac(&self, data: &[u8], deadline: Instant) -> Result<[u8; 32], HsmError> {
        let data = Zeroizing::new(data.to_vec());
        let task = self.shared.task(&self.mac, move |session, held| {
            operations::mac(session, held.handle, &data)
        });
        self.shared.tokens.run(&task, deadline).await
    }

    /// What the key is called.
    pub fn label(&self) -> &str {
        self.shared.key.name()
    }

    /// MACs a known text and compares it with what that came to before.
    ///
    /// # Errors
    /// When no token does it rightly.
    pub async fn canary(&self, deadline: Instant) -> Result<(), HsmError> {
        self.shared.sing(deadline).await
    }
}
