//! Disclosures of an SD-JWT (RFC 9901): the salted parts that a dual signature binds by digest.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, schema::ArrayBuilder},
};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    encoding,
    identifiers::{Digest, NoRandomness},
    json,
    problem::{Problem, Refusal},
    schema,
};

/// How many characters a salt may have; ours have 43 (256 bits).
pub const SALT_CHARACTERS: std::ops::RangeInclusive<usize> = 22..=86;

/// What a part of a payment is disclosed as.
pub trait DisclosedClaim: Serialize + serde::de::DeserializeOwned {
    /// The claim's name in the disclosure.
    const NAME: &'static str;
}

/// A disclosure: `base64url([salt, name, value])`, with what it says.
pub struct Disclosure<T> {
    text: Zeroizing<String>,
    value: T,
}

struct Salt;

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let salt = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let is_base64url = salt
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if SALT_CHARACTERS.contains(&salt.len()) && is_base64url {
            Ok(Self)
        } else {
            Err(D::Error::custom("salt"))
        }
    }
}

impl<T: DisclosedClaim> Disclosure<T> {
    /// Discloses a value under a new salt of 256 bits.
    ///
    /// # Errors
    /// `internal`, when the system gives no random bytes.
    pub fn new(value: T) -> Result<Self, Refusal> {
        let salt =
            random_salt().map_err(|error| Refusal::new(Problem::Internal, error.to_string()))?;
        let json = serde_json::to_vec(&(salt.as_str(), T::NAME, &value))
            .map(Zeroizing::new)
            .map_err(|error| Refusal::new(Problem::Internal, error.to_string()))?;
        Ok(Self {
            text: Zeroizing::new(encoding::base64url(&json)),
            value,
        })
    }

    /// Reads a disclosure of this claim.
    ///
    /// # Errors
    /// `malformed`.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let json = encoding::base64url_decode(text)
            .map(Zeroizing::new)
            .map_err(|_| Refusal::new(Problem::Malformed, "a disclosure is not base64url"))?;
        let (_, name, value): (Salt, String, T) = json::read(&json)?;
        if name != T::NAME {
            return Err(Refusal::new(
                Problem::Malformed,
                "a disclosure of another claim",
            ));
        }
        Ok(Self {
            text: Zeroizing::new(text.to_owned()),
            value,
        })
    }

    /// Its text, as it travels.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it discloses.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The digest that the signature holds: over the text, not over what it decodes to.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// Takes the two apart.
    pub fn into_parts(self) -> (Zeroizing<String>, T) {
        (self.text, self.value)
    }
}

fn random_salt() -> Result<Zeroizing<String>, NoRandomness> {
    // 32 random bytes, drawn as a nonce is.
    let mut bytes = *crate::identifiers::ClientNonce::random()?.as_bytes();
    let salt = Zeroizing::new(encoding::base64url(&bytes));
    bytes.zeroize();
    Ok(salt)
}

/// The two digests of a dual signature: different, and sorted as texts, so that their order says
/// nothing of which is which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TwoDigests([Digest; 2]);

impl TwoDigests {
    /// Sorts two digests.
    ///
    /// # Errors
    /// `malformed`, when they are the same.
    pub fn new(one: Digest, other: Digest) -> Result<Self, Refusal> {
        match one.to_string().cmp(&other.to_string()) {
            std::cmp::Ordering::Less => Ok(Self([one, other])),
            std::cmp::Ordering::Greater => Ok(Self([other, one])),
            std::cmp::Ordering::Equal => {
                Err(Refusal::new(Problem::Malformed, "the same digest twice"))
            }
        }
    }

    /// Whether it is one of the two.
    pub fn contains(&self, digest: Digest) -> bool {
        self.0.contains(&digest)
    }

    /// Whether these are the two, in whatever order.
    pub fn are(&self, one: Digest, other: Digest) -> bool {
        one != other && self.contains(one) && self.contains(other)
    }
}

impl PartialSchema for TwoDigests {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(schema::reference::<Digest>())
            .min_items(Some(2))
            .max_items(Some(2))
            .unique_items(true)
            .description(Some("Two different digests, sorted as texts."))
            .build()
            .into()
    }
}

impl ToSchema for TwoDigests {
    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        schema::components::<Digest>(found);
    }
}

impl<'de> Deserialize<'de> for TwoDigests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [first, second] = <[Digest; 2]>::deserialize(deserializer)?;
        let sorted = Self::new(first, second).map_err(D::Error::custom)?;
        if sorted.0 == [first, second] {
            Ok(sorted)
        } else {
            Err(D::Error::custom("the digests are not sorted"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note(String);

    impl DisclosedClaim for Note {
        const NAME: &'static str = "oi";
    }

    fn read(json: &str) -> Option<Note> {
        Disclosure::read(&encoding::base64url(json.as_bytes()))
            .ok()
            .map(|disclosure| disclosure.into_parts().1)
    }

    #[test]
    fn the_example_of_rfc_9901_has_the_digest_that_is_printed_there() {
        // RFC 9901 section 4.2.3.
        assert_eq!(
            Digest::of(b"WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0")
                .to_string(),
            "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"
        );
    }

    #[test]
    fn a_disclosure_is_salt_name_and_value_and_nothing_else() {
        let salt = "a".repeat(43);
        assert!(read(&format!(r#"["{salt}","oi","x"]"#)).is_some());
        assert!(read(&format!(r#"["{salt}", "oi", "x"]"#)).is_some());
        for bad in [
            format!(r#"["{salt}","pi","x"]"#),
            format!(r#"["{salt}","oi","x","y"]"#),
            format!(r#"["{salt}","oi"]"#),
            format!(r#"["{}","oi","x"]"#, "a".repeat(21)),
            format!(r#"["{}","oi","x"]"#, "a".repeat(87)),
            format!(r#"["{}","oi","x"]"#, "+".repeat(43)),
            format!(r#"{{"salt":"{salt}"}}"#),
        ] {
            assert!(read(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn two_disclosures_of_the_same_value_are_unlinkable() {
        let one = Disclosure::new(Note("x".into())).unwrap();
        let other = Disclosure::new(Note("x".into())).unwrap();
        assert_ne!(one.digest(), other.digest());
        assert_eq!(
            Disclosure::<Note>::read(one.text()).unwrap().value(),
            one.value()
        );
    }

    #[test]
    fn two_digests_are_distinct_sorted_and_two() {
        let one = Digest::of(b"1");
        let two = Digest::of(b"2");
        let sorted = serde_json::to_string(&TwoDigests::new(two, one).unwrap()).unwrap();
        let reversed = {
            let [a, b]: [String; 2] = serde_json::from_str(&sorted).unwrap();
            serde_json::to_string(&[b, a]).unwrap()
        };
        assert!(serde_json::from_str::<TwoDigests>(&sorted).is_ok());
        assert!(serde_json::from_str::<TwoDigests>(&reversed).is_err());
        assert!(TwoDigests::new(one, one).is_err());
        let three = serde_json::to_string(&[one, one, two]).unwrap();
        assert!(serde_json::from_str::<TwoDigests>(&three).is_err());
    }
}
