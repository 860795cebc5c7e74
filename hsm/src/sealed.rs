//! What is sealed to an agreement key (ECDH-ES, Concat KDF, AES-256-GCM: RFC 7518), and the two ways to open it: where
//! the module can, all of it happens in the token; elsewhere the token only agrees on the secret.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    digest,
    rand::{SecureRandom as _, SystemRandom},
};
use cryptoki::{object::ObjectHandle, session::Session};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    keys::SharedSecret,
    operations::{self, GCM_NONCE_BYTES},
    point::P256Point,
};

/// A ciphertext for an agreement key.
pub struct Sealed {
    /// The sender's ephemeral key.
    pub ephemeral: P256Point,
    /// OtherInfo of the Concat KDF (NIST SP 800-56A section 5.8.1).
    pub key_derivation_info: Vec<u8>,
    /// The nonce of AES-GCM.
    pub nonce: [u8; GCM_NONCE_BYTES],
    /// What AES-GCM authenticates beside it.
    pub additional_data: Vec<u8>,
    /// The ciphertext, and the tag after it.
    pub ciphertext_and_tag: Vec<u8>,
}

/// What a token gives to open something with.
pub enum Opening {
    /// The secret: key derivation and decryption are the caller's.
    Secret(SharedSecret),
    /// The plaintext: the key stayed in the token.
    Plaintext(Zeroizing<Vec<u8>>),
}

/// How a token opens what is sealed to its key. Which way it can is found out by doing it, when the key is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpeningWay {
    /// CKM_ECDH1_DERIVE with CKD_NULL; the shared secret is read once.
    SharedSecret,
    /// CKM_ECDH1_DERIVE with CKD_SHA256_KDF_SP800, then CKM_AES_GCM; no secret leaves the token.
    InToken,
}

impl OpeningWay {
    /// Finds out which way a key opens: in the token, if it does so rightly.
    pub(crate) fn probe(session: &Session, handle: ObjectHandle, public: &[u8; 65]) -> Self {
        match operations::open_inside_canary(session, handle, public) {
            Ok(()) => OpeningWay::InToken,
            Err(reason) => {
                tracing::debug!(%reason, "nothing is opened in this token");
                OpeningWay::SharedSecret
            }
        }
    }

    /// For people.
    pub fn description(self) -> &'static str {
        match self {
            OpeningWay::SharedSecret => "ECDH in the token, KDF and AES-GCM in this process",
            OpeningWay::InToken => "ECDH, KDF and AES-GCM in the token",
        }
    }
}

impl Sealed {
    /// Seals a text to a public key as a sender does; `None` when this process can't.
    pub(crate) fn canary(public: &[u8; 65], text: &[u8]) -> Option<Self> {
        const INFO: &[u8] = b"canary";
        let other = PrivateKey::generate(&ECDH_P256).ok()?;
        let ephemeral = other.compute_public_key().ok()?;
        let ephemeral = P256Point::from_uncompressed(ephemeral.as_ref().try_into().ok()?).ok()?;
        let peer = UnparsedPublicKey::new(&ECDH_P256, public);
        let key = agreement::agree(&other, peer, (), |secret| {
            let mut hash = digest::Context::new(&digest::SHA256);
            hash.update(&1u32.to_be_bytes());
            hash.update(secret);
            hash.update(INFO);
            UnboundKey::new(&AES_256_GCM, hash.finish().as_ref()).map_err(|_| ())
        })
        .map(LessSafeKey::new)
        .ok()?;
        let mut nonce = [0; GCM_NONCE_BYTES];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut ciphertext_and_tag = text.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(INFO),
            &mut ciphertext_and_tag,
        )
        .ok()?;
        Some(Self {
            ephemeral,
            key_derivation_info: INFO.to_vec(),
            nonce,
            additional_data: INFO.to_vec(),
            ciphertext_and_tag,
        })
    }
}
