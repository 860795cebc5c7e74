//! A key of this process that a token's data key wraps: many small things are encrypted without asking the token for
//! each, and a new data key is a matter of wrapping a few keys anew.

use std::time::Instant;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{
    error::HsmError,
    keys::DataKey,
    operations::{GCM_NONCE_BYTES, GCM_TAG_BYTES},
};

/// AES-256-GCM with a key that is wiped when it is dropped, and nowhere in the clear but here.
pub struct StorageKey(LessSafeKey);

/// Identifies a storage key.
pub type StorageKeyId = [u8; 16];

const KEY_BYTES: usize = 32;

impl StorageKey {
    /// Makes one with a random id, and wraps it: the ciphertext opens with the same id only.
    ///
    /// # Errors
    /// When the token does not do its part.
    pub async fn new_under(
        data: &DataKey,
        deadline: Instant,
    ) -> Result<(StorageKeyId, Self, Vec<u8>), HsmError> {
        let mut id = [0; 16];
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let random = SystemRandom::new();
        random
            .fill(&mut id)
            .and_then(|()| random.fill(&mut *bytes))
            .map_err(|_| HsmError::Unavailable("no random bytes".to_owned()))?;
        let wrapped = data.encrypt(&id, &*bytes, deadline).await?;
        Ok((id, Self::of(&*bytes)?, wrapped))
    }

    /// Unwraps one.
    ///
    /// # Errors
    /// `InvalidInput` when it was changed or is another data key's; otherwise when the token does not do its part.
    pub async fn unwrapped(
        data: &DataKey,
        id: &StorageKeyId,
        wrapped: &[u8],
        deadline: Instant,
    ) -> Result<Self, HsmError> {
        let bytes = data.decrypt(id, wrapped, deadline).await?;
        Self::of(&bytes)
    }

    fn of(bytes: &[u8]) -> Result<Self, HsmError> {
        UnboundKey::new(&AES_256_GCM, bytes)
            .map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| HsmError::InvalidInput)
    }

    /// Encrypts, bound to associated data: nonce (12 bytes), ciphertext, tag (16 bytes). Nonces are random, so that one
    /// key is good for 2^32 times at most (NIST SP 800-38D section 8.3).
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, HsmError> {
        let failed = |_| HsmError::Unavailable("no random bytes".to_owned());
        let mut nonce = [0; GCM_NONCE_BYTES];
        SystemRandom::new().fill(&mut nonce).map_err(failed)?;
        let mut sealed = Vec::with_capacity(GCM_NONCE_BYTES + plaintext.len() + GCM_TAG_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                &mut sealed[GCM_NONCE_BYTES..],
            )
            .map_err(failed)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Decrypts what [`StorageKey::seal`] made, with the same associated data.
    ///
    /// # Errors
    /// `InvalidInput` when it was changed, or is another key's.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let (nonce, ciphertext) = sealed
            .split_first_chunk::<GCM_NONCE_BYTES>()
            .ok_or(HsmError::InvalidInput)?;
        let mut opened = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(aad),
                &mut opened,
            )
            .map_err(|_| HsmError::InvalidInput)?
            .len();
        opened.truncate(length);
        Ok(opened)
    }
}
