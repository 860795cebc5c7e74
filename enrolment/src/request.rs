//! A party's own key, and the PKCS#10 request (RFC 2986) that it signs: P-256, ecdsa-with-SHA256.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use protocol::names::PartyName;
use zeroize::Zeroizing;

use crate::der::{
    BIT_STRING, CONTEXT_0, INTEGER, OBJECT_IDENTIFIER, SEQUENCE, SET, UTF8_STRING, element,
    elements,
};

const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// Why there is no key or request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRequest {
    /// The operating system gave no random bytes.
    #[error("no key was made; try again")]
    NoRandomness,
    /// The key is of another form.
    #[error("the key is not a P-256 key in PKCS#8 form")]
    Key,
}

/// Makes a key, in PKCS#8 form (DER).
///
/// # Errors
/// When there is no randomness.
pub fn new_key() -> Result<Zeroizing<Vec<u8>>, NoRequest> {
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map(|document| Zeroizing::new(document.as_ref().to_vec()))
        .map_err(|_| NoRequest::NoRandomness)
}

/// A request for a key, in DER. Whoever certifies it takes the key alone of it: the name is for people.
///
/// # Errors
/// For a key of another form, or when there is no randomness.
pub fn request(key: &[u8], name: &PartyName) -> Result<Vec<u8>, NoRequest> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key)
        .map_err(|_| NoRequest::Key)?;
    let common_name = elements(
        SEQUENCE,
        &[
            &element(OBJECT_IDENTIFIER, COMMON_NAME),
            &element(
                UTF8_STRING,
                format!("{} {}", name.role(), name.id()).as_bytes(),
            ),
        ],
    );
    let subject = elements(SEQUENCE, &[&elements(SET, &[&common_name])]);
    let info = elements(
        SEQUENCE,
        &[
            &element(INTEGER, &[0]),
            &subject,
            &public_key_info(pair.public_key().as_ref()),
            &element(CONTEXT_0, &[]),
        ],
    );
    let signature = pair
        .sign(&SystemRandom::new(), &info)
        .map_err(|_| NoRequest::NoRandomness)?;
    Ok(elements(
        SEQUENCE,
        &[
            &info,
            &elements(SEQUENCE, &[&element(OBJECT_IDENTIFIER, ECDSA_WITH_SHA256)]),
            &element(BIT_STRING, &[&[0], signature.as_ref()].concat()),
        ],
    ))
}

/// The SubjectPublicKeyInfo (RFC 5480 section 2) of a key in PKCS#8 form, in DER.
///
/// # Errors
/// For a key of another form.
pub fn public_key_of(key: &[u8]) -> Result<Vec<u8>, NoRequest> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key)
        .map(|pair| public_key_info(pair.public_key().as_ref()))
        .map_err(|_| NoRequest::Key)
}

fn public_key_info(point: &[u8]) -> Vec<u8> {
    let algorithm = elements(
        SEQUENCE,
        &[
            &element(OBJECT_IDENTIFIER, EC_PUBLIC_KEY),
            &element(OBJECT_IDENTIFIER, PRIME256V1),
        ],
    );
    elements(
        SEQUENCE,
        &[&algorithm, &element(BIT_STRING, &[&[0], point].concat())],
    )
}

/// What a request should have (RFC 7030 section 4.5.2), in DER: a key on P-256, and ecdsa-with-SHA256.
pub fn attributes() -> Vec<u8> {
    let on_the_curve = elements(
        SEQUENCE,
        &[
            &element(OBJECT_IDENTIFIER, EC_PUBLIC_KEY),
            &elements(SET, &[&element(OBJECT_IDENTIFIER, PRIME256V1)]),
        ],
    );
    elements(
        SEQUENCE,
        &[
            &on_the_curve,
            &element(OBJECT_IDENTIFIER, ECDSA_WITH_SHA256),
        ],
    )
}

#[cfg(test)]
mod tests {
    use protocol::names::Role;
    use rcgen::{CertificateSigningRequestParams, PublicKeyData as _};

    use super::*;

    #[test]
    fn another_library_reads_the_request_and_takes_its_signature() {
        let key = new_key().unwrap();
        let name = PartyName::new(Role::Merchant, "bookshop").unwrap();
        let request = request(&key, &name).unwrap();
        let read = CertificateSigningRequestParams::from_der(&request.into()).unwrap();
        assert_eq!(
            read.public_key.subject_public_key_info(),
            public_key_of(&key).unwrap()
        );
    }

    #[test]
    fn what_is_no_key_makes_no_request() {
        let name = PartyName::new(Role::Client, "a").unwrap();
        assert_eq!(request(b"not a key", &name), Err(NoRequest::Key));
        assert_eq!(public_key_of(b""), Err(NoRequest::Key));
    }
}
