//! A signing key in software, for the components that have no token: the client and the merchant.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls_pki_types::CertificateDer;

use crate::{
    jws::{Message, Unsigned},
    problem::{Problem, Refusal},
};

/// A P-256 key with its certificate chain. It has no Debug: only [`SoftwareKey::sign`] reads it.
pub struct SoftwareKey {
    pair: EcdsaKeyPair,
    chain: Vec<CertificateDer<'static>>,
}

/// The bytes are no P-256 private key in PKCS#8, or not the key of the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTheKey {
    /// Not PKCS#8 with a P-256 key.
    #[error("not a P-256 private key in PKCS#8 form")]
    Form,
    /// No certificate given.
    #[error("no certificate beside the key")]
    NoCertificate,
}

impl SoftwareKey {
    /// Takes the key (PKCS#8, DER) and its certificate chain, leaf first, without the anchor.
    ///
    /// # Errors
    /// When the key has another form, or there is no certificate.
    pub fn from_pkcs8(der: &[u8], chain: Vec<CertificateDer<'static>>) -> Result<Self, NotTheKey> {
        if chain.is_empty() {
            return Err(NotTheKey::NoCertificate);
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map(|pair| Self { pair, chain })
            .map_err(|_| NotTheKey::Form)
    }

    /// The public point, uncompressed, to hold against the certificate's.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The certificate chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Signs a message.
    ///
    /// # Errors
    /// `internal`, when the system gives no random bytes.
    pub fn sign<T: Message>(&self, claims: &T) -> Result<String, Refusal> {
        let unsigned = Unsigned::new(claims, &self.chain)?;
        let signature = self
            .pair
            .sign(&SystemRandom::new(), unsigned.signing_input())
            .ok()
            .and_then(|signature| signature.as_ref().try_into().ok())
            .ok_or_else(|| Refusal::new(Problem::Internal, "signing failed"))?;
        Ok(unsigned.finish(&signature))
    }
}
