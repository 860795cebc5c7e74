//! base64url without padding and standard base64 with it, both canonical (RFC 4648 sections 3.5, 4, 5).

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};

/// Refuses trailing bits that are not zero and missing padding: one text per value.
const CANONICAL_STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The text is not canonical in its alphabet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical base64")]
pub struct NotCanonical;

/// Encodes as base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url without padding.
///
/// # Errors
/// For padding, white space, another alphabet or unused bits that are not zero.
pub fn base64url_decode(text: &str) -> Result<Vec<u8>, NotCanonical> {
    // `URL_SAFE_NO_PAD` refuses padding and trailing bits by its own configuration.
    general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| NotCanonical)
}

/// Encodes as standard base64 with padding, as `x5c` wants it (RFC 7515 section 4.1.6).
pub fn base64(bytes: &[u8]) -> String {
    CANONICAL_STANDARD.encode(bytes)
}

/// Decodes standard base64 with padding.
///
/// # Errors
/// For missing padding, white space, another alphabet or unused bits that are not zero.
pub fn base64_decode(text: &str) -> Result<Vec<u8>, NotCanonical> {
    CANONICAL_STANDARD.decode(text).map_err(|_| NotCanonical)
}
