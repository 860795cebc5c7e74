//! P-256 keys that follow from their labels, and signatures that follow from key and message (RFC
//! 6979), so that what is made with them is the same each time. Written on another implementation
//! of the curve than the crate under test.

use p256::{
    SecretKey,
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    elliptic_curve::sec1::ToEncodedPoint as _,
    pkcs8::EncodePrivateKey as _,
};
use sha2::{Digest as _, Sha256};

/// A private key of a test: known to everybody who reads the vectors.
#[derive(Clone)]
pub struct Key {
    secret: SecretKey,
    public: [u8; 65],
}

impl Key {
    pub fn named(label: &str) -> Self {
        let secret = SecretKey::from_slice(&bytes::<32>(label)).unwrap();
        let point = secret.public_key().to_encoded_point(false);
        Self {
            public: point.as_bytes().try_into().unwrap(),
            secret,
        }
    }

    pub fn public(&self) -> &[u8; 65] {
        &self.public
    }

    pub fn scalar(&self) -> [u8; 32] {
        self.secret.to_bytes().into()
    }

    pub fn pkcs8(&self) -> Vec<u8> {
        self.secret.to_pkcs8_der().unwrap().as_bytes().to_vec()
    }

    /// ES256: SHA-256, r‖s.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signature(message).to_bytes().into()
    }

    /// The same signature with the other s that verifies as well: the one above half of the order.
    pub fn sign_with_high_s(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.signature(message);
        let low = signature.normalize_s().unwrap_or(signature);
        let (r, s) = low.split_scalars();
        Signature::from_scalars(r.to_bytes(), (-s).to_bytes())
            .unwrap()
            .to_bytes()
            .into()
    }

    /// The same signature as X.509 has it.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        self.signature(message).to_der().as_bytes().to_vec()
    }

    fn signature(&self, message: &[u8]) -> Signature {
        SigningKey::from(&self.secret).sign(message)
    }

    /// The x coordinate that two keys agree on.
    pub fn agree(&self, other: &Key) -> [u8; 32] {
        let secret = p256::ecdh::diffie_hellman(
            self.secret.to_nonzero_scalar(),
            other.secret.public_key().as_affine(),
        );
        (*secret.raw_secret_bytes()).into()
    }
}

impl rcgen::PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.sign_der(message))
    }
}

/// Bytes that follow from a label: up to 32 of its SHA-256.
pub fn bytes<const N: usize>(label: &str) -> [u8; N] {
    let digest = Sha256::digest(format!("twinseal test, version 1: {label}"));
    digest[..N].try_into().unwrap()
}
