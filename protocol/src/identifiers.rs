//! Identifiers, nonces and digests: fixed-length bytes that travel as canonical base64url.
//!
//! Each entity has a type of its own, so that a session id can't be passed for a transaction id.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{encoding, schema, time::Timestamp};

/// The system's random source failed; nothing may be made from what it left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// A text that is not the canonical base64url form of the wanted number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the canonical base64url form of {expected_bytes} bytes")]
pub struct NotAnIdentifier {
    /// How many bytes the text should stand for.
    pub expected_bytes: usize,
}

macro_rules! fixed_bytes {
    ($(#[doc = $doc:literal])* $name:ident, $bytes:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// How many bytes it has.
            pub const BYTES: usize = $bytes;

            /// Takes bytes that were made elsewhere, a database row for example.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The bytes behind the text.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAnIdentifier;
            fn from_str(text: &str) -> Result<Self, NotAnIdentifier> {
                let refusal = NotAnIdentifier { expected_bytes: $bytes };
                let bytes = encoding::base64url_decode(text).map_err(|_| refusal)?;
                bytes.try_into().map(Self).map_err(|_| refusal)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&encoding::base64url(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let description = concat!($($doc),*).trim();
                schema::text(schema::base64url_pattern($bytes), description).into()
            }
        }

        impl utoipa::ToSchema for $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&encoding::base64url(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

macro_rules! random_bytes {
    ($($name:ident),*) => { $(
        impl $name {
            /// Draws a new one from the operating system's random source.
            ///
            /// # Errors
            /// When the operating system gives no random bytes.
            pub fn random() -> Result<Self, NoRandomness> {
                let mut bytes = [0; Self::BYTES];
                SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
                Ok(Self(bytes))
            }
        }
    )* };
}

fixed_bytes!(
    /// A transaction: one signed purchase, chosen by the client (128 bits).
    Xid,
    16
);
fixed_bytes!(
    /// A client session at a merchant, chosen by the merchant (128 bits).
    Sid,
    16
);
fixed_bytes!(
    /// One signed message; for requests also the idempotency key (128 bits).
    Jti,
    16
);
fixed_bytes!(
    /// An order in a merchant's books (128 bits).
    OrderId,
    16
);
fixed_bytes!(
    /// What the gateway calls an approved authorization (128 bits).
    AuthorizationId,
    16
);
fixed_bytes!(
    /// Something that happened and that a merchant is told (128 bits); the `webhook-id`.
    EventId,
    16
);
fixed_bytes!(
    /// `nc`, the client's nonce (256 bits).
    ClientNonce,
    32
);
fixed_bytes!(
    /// `nm`, the merchant's nonce (256 bits).
    MerchantNonce,
    32
);
fixed_bytes!(
    /// A SHA-256 digest: of a compact token, of a disclosure, of a certificate (`x5t`).
    Digest,
    32
);
fixed_bytes!(
    /// One coordinate of a P-256 point, in a JWK (RFC 7518 section 6.2.1.2).
    Coordinate,
    32
);
random_bytes!(
    Xid,
    Sid,
    Jti,
    OrderId,
    AuthorizationId,
    ClientNonce,
    MerchantNonce
);

/// Identifiers that a store has an index of, for ever.
macro_rules! begin_with_a_time {
    ($($name:ident),*) => { $(
        impl $name {
            /// Draws a new one that begins with a time: the bytes of a UUID of version 7 (RFC 9562 section 5.7), 48 bits of
            /// time and 74 random ones. What is made at about the same time stands together in an index, so that a store
            /// with many millions of them is as fast as a small one. Nobody who takes one looks at the time.
            ///
            /// # Errors
            /// When the operating system gives no random bytes.
            pub fn at(now: Timestamp) -> Result<Self, NoRandomness> {
                let Self(mut bytes) = Self::random()?;
                let [_, _, milliseconds @ ..] = now.0.saturating_mul(1000).to_be_bytes();
                bytes[..6].copy_from_slice(&milliseconds);
                bytes[6] = 0x70 | bytes[6] & 0x0f;
                bytes[8] = 0x80 | bytes[8] & 0x3f;
                Ok(Self(bytes))
            }
        }
    )* };
}
begin_with_a_time!(Xid, Jti);

impl Digest {
    /// `h(x)`: SHA-256 over the bytes as they are.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_survives_its_text_form() {
        let xid = Xid::random().unwrap();
        assert_eq!(xid.to_string().len(), 22);
        assert_eq!(xid.to_string().parse::<Xid>().unwrap(), xid);
        assert_eq!(ClientNonce::random().unwrap().to_string().len(), 43);
    }

    #[test]
    fn a_transaction_begins_with_its_time_and_is_random_behind_it() {
        let at = |seconds| Xid::at(Timestamp(seconds)).unwrap();
        assert_ne!(at(1_800_000_000), at(1_800_000_000));
        assert!(at(1_800_000_000) < at(1_800_000_001));
        // The example of RFC 9562 appendix A.6, to the second.
        let bytes = *at(0x017F_22E2_79B0 / 1000).as_bytes();
        assert_eq!(bytes[..4], [0x01, 0x7f, 0x22, 0xe2]);
        assert_eq!((bytes[6] >> 4, bytes[8] >> 6), (7, 0b10));
    }

    #[test]
    fn padding_other_alphabets_other_lengths_and_loose_trailing_bits_are_refused() {
        let good = Xid::from_bytes([0xff; 16]).to_string();
        assert_eq!(good, "_____________________w");
        for bad in [
            "_____________________w==",
            "/////////////////////w",
            "_____________________x",
            "____________________",
            "_____________________w\n",
            "",
        ] {
            assert!(bad.parse::<Xid>().is_err(), "{bad:?}");
        }
    }
}
