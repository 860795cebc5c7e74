//! Points of P-256: held against the curve in software, because tokens differ in what they accept and in
//! what they say of it.

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};

use crate::error::HsmError;

/// A point that is on the curve, uncompressed (SEC 1 section 2.3.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct P256Point([u8; 65]);

impl P256Point {
    /// Takes an uncompressed point.
    ///
    /// # Errors
    /// `InvalidInput` when it is not uncompressed, or not on the curve.
    pub fn from_uncompressed(bytes: &[u8; 65]) -> Result<Self, HsmError> {
        const UNCOMPRESSED: u8 = 4;
        if bytes[0] != UNCOMPRESSED {
            return Err(HsmError::InvalidInput);
        }
        ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, bytes))
            .map(|_| Self(*bytes))
            .map_err(|_| HsmError::InvalidInput)
    }

    /// The bytes: 4, x, y.
    pub fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    /// Reads CKA_EC_POINT, which is the point in a DER OCTET STRING by the standard and bare in some
    /// modules.
    pub(crate) fn from_attribute(value: &[u8]) -> Result<Self, HsmError> {
        const OCTET_STRING_OF_65: [u8; 2] = [0x04, 65];
        let bytes = match value.len() {
            65 => value,
            67 if value.starts_with(&OCTET_STRING_OF_65) => &value[2..],
            _ => return Err(HsmError::InvalidInput),
        };
        let bytes = bytes.try_into().map_err(|_| HsmError::InvalidInput)?;
        Self::from_uncompressed(bytes)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::agreement::PrivateKey;

    use super::*;

    fn point() -> [u8; 65] {
        let public = PrivateKey::generate(&ECDH_P256)
            .unwrap()
            .compute_public_key()
            .unwrap();
        public.as_ref().try_into().unwrap()
    }

    #[test]
    fn a_point_off_the_curve_is_refused() {
        let mut bytes = point();
        assert!(P256Point::from_uncompressed(&bytes).is_ok());
        bytes[64] ^= 1;
        assert!(P256Point::from_uncompressed(&bytes).is_err());
        assert!(P256Point::from_uncompressed(&[0; 65]).is_err());
    }

    #[test]
    fn a_token_s_point_is_read_bare_and_wrapped() {
        let bytes = point();
        assert!(P256Point::from_attribute(&bytes).unwrap().as_bytes() == &bytes);
        let wrapped = [&[0x04, 65], &bytes[..]].concat();
        assert!(P256Point::from_attribute(&wrapped).unwrap().as_bytes() == &bytes);
        assert!(P256Point::from_attribute(&bytes[..33]).is_err());
    }
}
