//! The JWE, step by step, so that each value of it can be written down: ECDH-ES with the Concat KDF,
//! A256GCM (RFC 7518 sections 4.6 and 5.3).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use protocol::{encoding, identifiers::Digest};
use serde_json::json;
use sha2::Digest as _;

use crate::parties::{
    Party,
    keys::{Key, bytes},
};

/// How a PI disclosure is sealed.
pub struct Sealing<'a> {
    /// Whose key it is sealed to.
    pub recipient: &'a Party,
    /// What goes into the KDF and the header as `apv`, when it is not the signature's digest.
    pub apv: Option<Digest>,
    /// What goes into the KDF alone, when it is not the header's `apv`.
    pub apv_of_kdf: Option<Digest>,
}

/// A JWE with everything that led to it.
pub struct Sealed {
    pub ephemeral_key: Key,
    pub shared_secret: [u8; 32],
    pub kdf_input: Vec<u8>,
    pub content_key: [u8; 32],
    pub header: String,
    pub compact: String,
}

impl<'a> Sealing<'a> {
    pub fn to(recipient: &'a Party) -> Self {
        Self {
            recipient,
            apv: None,
            apv_of_kdf: None,
        }
    }

    pub fn seal(
        &self,
        plaintext: &str,
        dual_signature: &str,
        label: &str,
        edit_header: impl FnOnce(String) -> String,
    ) -> Sealed {
        let ephemeral_key = Key::named(&format!("{label} ephemeral"));
        let point = ephemeral_key.public();
        let apv = self
            .apv
            .unwrap_or_else(|| Digest::of(dual_signature.as_bytes()));
        let header = json!({
            "alg": "ECDH-ES", "enc": "A256GCM", "typ": "twinseal-pi+jwe",
            "epk": {
                "kty": "EC", "crv": "P-256",
                "x": encoding::base64url(&point[1..33]), "y": encoding::base64url(&point[33..]),
            },
            "apv": apv, "x5t#S256": self.recipient.x5t(),
        });
        let header = edit_header(header.to_string());

        let shared_secret = ephemeral_key.agree(&self.recipient.key);
        let kdf_input = concat_kdf_input(&shared_secret, self.apv_of_kdf.unwrap_or(apv));
        let content_key: [u8; 32] = sha2::Sha256::digest(&kdf_input).into();

        let nonce: [u8; 12] = bytes(&format!("{label} nonce"));
        let header_text = encoding::base64url(header.as_bytes());
        let mut ciphertext = plaintext.as_bytes().to_vec();
        let tag = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &content_key).unwrap())
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(header_text.as_bytes()),
                &mut ciphertext,
            )
            .unwrap();
        let compact = format!(
            "{header_text}..{}.{}.{}",
            encoding::base64url(&nonce),
            encoding::base64url(&ciphertext),
            encoding::base64url(tag.as_ref())
        );
        Sealed {
            ephemeral_key,
            shared_secret,
            kdf_input,
            content_key,
            header,
            compact,
        }
    }
}

/// Counter 1, Z, AlgorithmID "A256GCM", no PartyUInfo, PartyVInfo, 256 bits.
fn concat_kdf_input(shared_secret: &[u8; 32], apv: Digest) -> Vec<u8> {
    [
        &1u32.to_be_bytes()[..],
        shared_secret,
        &7u32.to_be_bytes(),
        b"A256GCM",
        &0u32.to_be_bytes(),
        &32u32.to_be_bytes(),
        apv.as_bytes(),
        &256u32.to_be_bytes(),
    ]
    .concat()
}
