//! EST as it is on the wire: paths, media types, base64 (RFC 7030 section 3.2, RFC 8951 section 3).

use base64::{
    Engine as _,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};

use crate::label::Label;

/// What every path begins with.
pub const PREFIX: &str = "/.well-known/est/";

/// Of a request.
pub const PKCS10: &str = "application/pkcs10";

/// Of the CAs' certificates.
pub const CERTS_ONLY: &str = "application/pkcs7-mime";

/// Of an issued certificate.
pub const ISSUED: &str = "application/pkcs7-mime; smime-type=certs-only";

/// Of what a request should have.
pub const CSR_ATTRS: &str = "application/csrattrs";

/// How long the lines are that we write: OpenSSL's `base64 -d` reads them.
const LINE_CHARACTERS: usize = 64;

/// The operations of EST that there are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The certificates of the CAs.
    CaCerts,
    /// A first certificate.
    SimpleEnroll,
    /// Another one in the place of one that is shown.
    SimpleReenroll,
    /// What a request should have.
    CsrAttrs,
}

impl Operation {
    const ALL: [Operation; 4] = [
        Operation::CaCerts,
        Operation::SimpleEnroll,
        Operation::SimpleReenroll,
        Operation::CsrAttrs,
    ];

    /// As it stands in a path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::CaCerts => "cacerts",
            Operation::SimpleEnroll => "simpleenroll",
            Operation::SimpleReenroll => "simplereenroll",
            Operation::CsrAttrs => "csrattrs",
        }
    }

    /// The path of it for what is enrolled for.
    pub fn path(self, label: Label) -> String {
        format!("{PREFIX}{label}/{}", self.as_str())
    }
}

/// What a path asks for; a label that there is not makes it none.
pub fn operation_at(path: &str) -> Option<(Operation, Option<Label>)> {
    let rest = path.strip_prefix(PREFIX)?;
    let (label, name) = match rest.split_once('/') {
        Some((label, name)) => (Some(label.parse().ok()?), name),
        None => (None, rest),
    };
    let operation = Operation::ALL
        .into_iter()
        .find(|operation| operation.as_str() == name)?;
    Some((operation, label))
}

/// The body is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not base64")]
pub struct NotBase64;

/// A body of these bytes.
pub fn write(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / LINE_CHARACTERS + 1);
    for (at, character) in encoded.chars().enumerate() {
        if at > 0 && at % LINE_CHARACTERS == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push('\n');
    text
}

/// The bytes of a body, with white space or without.
///
/// # Errors
/// When it is not base64 with padding (RFC 4648 section 4).
pub fn read(body: &[u8]) -> Result<Vec<u8>, NotBase64> {
    const STRICT: GeneralPurpose =
        GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new());
    let text: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    STRICT.decode(text).map_err(|_| NotBase64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_an_operation_with_a_label_or_without() {
        let at = operation_at;
        assert_eq!(
            at("/.well-known/est/cacerts"),
            Some((Operation::CaCerts, None))
        );
        for label in Label::ALL {
            for operation in Operation::ALL {
                assert_eq!(at(&operation.path(label)), Some((operation, Some(label))));
            }
        }
        for path in [
            "/",
            "/.well-known/est/",
            "/.well-known/est/serverkeygen",
            "/.well-known/est//cacerts",
            "/.well-known/est/other/cacerts",
            "/.well-known/est/client/client/cacerts",
            "/.well-known/est/client/",
        ] {
            assert_eq!(at(path), None, "{path}");
        }
    }

    #[test]
    fn a_body_is_read_with_white_space_anywhere_and_nothing_else() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = write(&bytes);
        assert!(text.lines().all(|line| line.len() <= LINE_CHARACTERS));
        assert_eq!(read(text.as_bytes()), Ok(bytes.clone()));
        let spread: String = text
            .chars()
            .flat_map(|character| [character, '\r'])
            .collect();
        assert_eq!(read(spread.as_bytes()), Ok(bytes));
        for text in ["-----BEGIN", "AAA", "AAA=A", "AA==AA=="] {
            assert_eq!(read(text.as_bytes()), Err(NotBase64), "{text}");
        }
    }
}
