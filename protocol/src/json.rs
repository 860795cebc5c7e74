//! JSON as the messages want it: what serde_json lets pass and two readers could read differently
//! is refused before anything is looked at.
//!
//! serde_json itself refuses invalid UTF-8, a byte order mark, unpaired surrogates and trailing
//! text. Added here: duplicate member names at any depth, numbers other than integers within
//! 0..2^53-1, `null`, nesting deeper than 16, and an array where an object is wanted.

mod objects;

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use self::objects::ObjectsOnly;
use crate::{
    problem::{Problem, Refusal},
    schema,
};

/// How deep arrays and objects may nest.
pub const DEPTH_MAX: u32 = 16;

/// The largest integer that every JSON reader keeps exact: 2^53 − 1 (RFC 8259 section 6).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The `version` member: this text is about version 1 and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version;

impl Version {
    const NUMBER: u64 = 1;
}

impl PartialSchema for Version {
    fn schema() -> RefOr<Schema> {
        schema::integer(Self::NUMBER, Self::NUMBER, "The version of the protocol.").into()
    }
}

impl ToSchema for Version {}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            Self::NUMBER => Ok(Self),
            _ => Err(D::Error::custom("another version")),
        }
    }
}

/// Reads an object without a `version` of its own: a header, a disclosure.
///
/// # Errors
/// `malformed`.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    scan(bytes)?;
    typed(bytes)
}

/// Reads a message: its `version` is judged before its members are.
///
/// # Errors
/// `malformed`, `unsupported-version`.
pub fn read_message<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    match scan(bytes)? {
        VersionMember::Number(Version::NUMBER) => typed(bytes),
        VersionMember::Number(other) => Err(Refusal::new(
            Problem::UnsupportedVersion,
            format!("version {other}"),
        )),
        VersionMember::NotANumber => Err(malformed("version is not a number")),
        VersionMember::Absent => Err(malformed("no version")),
    }
}

fn typed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    // serde's own text may quote the input, which can be a card number: only the place is kept.
    // The scan saw that nothing follows the value.
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    T::deserialize(ObjectsOnly(&mut deserializer)).map_err(|error| {
        malformed(format!(
            "a member is unknown, missing or of another form, near byte {}",
            error.column()
        ))
    })
}

fn malformed(detail: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Problem::Malformed, detail)
}

/// What the top level says of its version.
#[derive(Clone, Copy)]
enum VersionMember {
    Absent,
    NotANumber,
    Number(u64),
}

fn scan(bytes: &[u8]) -> Result<VersionMember, Refusal> {
    let mut version = VersionMember::Absent;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Scan {
        depth: 0,
        top: Some(&mut version),
    }
    .deserialize(&mut deserializer)
    .and_then(|_| deserializer.end())
    .map_err(|error| malformed(format!("JSON refused near byte {}", error.column())))?;
    Ok(version)
}

/// Walks a value and keeps nothing of it but the top level's version.
struct Scan<'a> {
    depth: u32,
    top: Option<&'a mut VersionMember>,
}

/// What a value was, as far as its container wants to know.
enum Scanned {
    Integer(u64),
    Other,
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = Scanned;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scanned, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Scan<'_> {
    fn inner<E: serde::de::Error>(&self) -> Result<u32, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom("nested too deep"));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = Scanned;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a whole number, true, false, an array or an object")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scanned, E> {
        Ok(Scanned::Other)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Scanned, E> {
        if number > INTEGER_MAX {
            return Err(E::custom("number out of range"));
        }
        Ok(Scanned::Integer(number))
    }

    fn visit_str<E>(self, _: &str) -> Result<Scanned, E> {
        Ok(Scanned::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Scanned, A::Error> {
        let depth = self.inner()?;
        while array
            .next_element_seed(Scan { depth, top: None })?
            .is_some()
        {}
        Ok(Scanned::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Scanned, A::Error> {
        let depth = self.inner()?;
        let mut version = self.top;
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(Scan { depth, top: None })?;
            if name == "version"
                && let Some(version) = version.as_deref_mut()
            {
                *version = match value {
                    Scanned::Integer(number) => VersionMember::Number(number),
                    Scanned::Other => VersionMember::NotANumber,
                };
            }
            names.push(name);
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom("a member twice"));
        }
        Ok(Scanned::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Message {
        #[serde(rename = "version")]
        _version: Version,
        #[serde(rename = "a", default)]
        _a: Option<u64>,
    }

    fn problem(text: &[u8]) -> Option<Problem> {
        read_message::<Message>(text)
            .err()
            .map(|refusal| refusal.problem)
    }

    #[test]
    fn a_message_is_read_whatever_its_white_space_and_order() {
        assert_eq!(
            problem(b" { \"a\" : 9007199254740991 , \"version\" : 1 } "),
            None
        );
    }

    #[test]
    fn the_version_is_judged_before_unknown_members() {
        assert_eq!(
            problem(br#"{"version":2,"new":[1]}"#),
            Some(Problem::UnsupportedVersion)
        );
        assert_eq!(
            problem(br#"{"version":1,"new":[1]}"#),
            Some(Problem::Malformed)
        );
        assert_eq!(problem(br#"{"version":"1"}"#), Some(Problem::Malformed));
        assert_eq!(problem(b"{}"), Some(Problem::Malformed));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for bad in [
            &br#"{"version":1,"version":1}"#[..],
            br#"{"version":1,"a":1,"\u0061":1}"#,
            br#"{"version":1,"a":null}"#,
            br#"{"version":1,"a":1.0}"#,
            br#"{"version":1,"a":1e3}"#,
            br#"{"version":1,"a":-1}"#,
            br#"{"version":1,"a":-0}"#,
            br#"{"version":1,"a":9007199254740992}"#,
            br#"{"version":1,"a":18446744073709551616}"#,
            br#"{"version":1,"a":01}"#,
            br#"{"version":1} x"#,
            b"\xef\xbb\xbf{\"version\":1}",
            b"{\"version\":1,\"b\":\"\xff\"}",
            br#"{"version":1,"b":"\ud800"}"#,
            b"",
        ] {
            assert_eq!(
                problem(bad),
                Some(Problem::Malformed),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    #[test]
    fn an_array_of_an_object_s_values_is_no_object() {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outer {
            #[serde(rename = "inner")]
            _inner: Inner,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {
            #[serde(rename = "a")]
            _a: String,
        }
        assert!(read::<Outer>(br#"{"inner":{"a":"x"}}"#).is_ok());
        assert!(read::<Outer>(br#"{"inner":["x"]}"#).is_err());
        assert!(read::<Outer>(br#"[{"a":"x"}]"#).is_err());
        assert!(read::<Vec<Inner>>(br#"[{"a":"x"}]"#).is_ok());
        assert!(read::<Vec<Inner>>(br#"[["x"]]"#).is_err());
    }

    #[test]
    fn duplicates_are_found_at_any_depth() {
        assert!(read::<serde_json::Value>(br#"{"a":[{"b":{"c":1,"d":2,"c":3}}]}"#).is_err());
        assert!(read::<serde_json::Value>(br#"{"a":[{"b":{"c":1,"d":2}}]}"#).is_ok());
    }

    #[test]
    fn sixteen_levels_pass_and_seventeen_do_not() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(read::<serde_json::Value>(nested(16).as_bytes()).is_ok());
        assert!(read::<serde_json::Value>(nested(17).as_bytes()).is_err());
    }
}
