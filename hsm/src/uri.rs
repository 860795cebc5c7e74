//! PKCS#11 URIs (RFC 7512), as far as they name a token or a key in it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};

/// What a `pkcs11:` URI says. A PIN in it (`pin-value`) is refused: configurations get copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pkcs11Uri {
    text: String,
    token: Option<String>,
    serial: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    object: Option<String>,
    id: Option<Vec<u8>>,
}

/// A text that is no PKCS#11 URI that can be used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It does not begin with `pkcs11:`.
    #[error("not a PKCS#11 URI: it must begin with pkcs11: (RFC 7512)")]
    Scheme,
    /// A part is not `name=value`, or its percent-encoding is broken.
    #[error("{0} is not name=value with valid percent-encoding")]
    Attribute(String),
    /// An attribute that this program does not know, so that it can't silently match too much.
    #[error(
        "the attribute {0} is not supported; use token, serial, manufacturer, model, object, id, type"
    )]
    Unsupported(String),
    /// The same attribute twice.
    #[error("the attribute {0} stands twice")]
    Twice(String),
    /// A PIN in the URI.
    #[error("a PIN must not stand in a URI; configure a file, an environment variable or a prompt")]
    PinInUri,
}

impl Pkcs11Uri {
    /// A token by its label.
    pub fn for_token(label: &str) -> Self {
        Self {
            text: format!("pkcs11:token={}", percent_encoded(label)),
            token: Some(label.to_owned()),
            ..Self::default()
        }
    }

    /// A key by its label.
    pub fn for_key(label: &str) -> Self {
        Self {
            text: format!("pkcs11:object={}", percent_encoded(label)),
            object: Some(label.to_owned()),
            ..Self::default()
        }
    }

    /// The token's label (CK_TOKEN_INFO).
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The token's serial number.
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// The token's manufacturer.
    pub fn manufacturer(&self) -> Option<&str> {
        self.manufacturer.as_deref()
    }

    /// The token's model.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The key's label (CKA_LABEL).
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The key's id (CKA_ID).
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// How the key is called in messages: its label, or the whole URI.
    pub fn key_name(&self) -> &str {
        self.object.as_deref().unwrap_or(&self.text)
    }
}

impl FromStr for Pkcs11Uri {
    type Err = UriError;
    fn from_str(text: &str) -> Result<Self, UriError> {
        let rest = text.strip_prefix("pkcs11:").ok_or(UriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if query
            .split('&')
            .any(|attribute| attribute.starts_with("pin-value"))
        {
            return Err(UriError::PinInUri);
        }
        if let Some(name) = query.split('&').find(|attribute| !attribute.is_empty()) {
            return Err(UriError::Unsupported(name.to_owned()));
        }
        let mut uri = Self {
            text: text.to_owned(),
            ..Self::default()
        };
        for attribute in path.split(';').filter(|attribute| !attribute.is_empty()) {
            let broken = || UriError::Attribute(attribute.to_owned());
            let (name, value) = attribute.split_once('=').ok_or_else(broken)?;
            let bytes = percent_decoded(value).ok_or_else(broken)?;
            if name == "id" {
                set(&mut uri.id, bytes, name)?;
                continue;
            }
            let text = String::from_utf8(bytes).map_err(|_| broken())?;
            match name {
                "token" => set(&mut uri.token, text, name)?,
                "serial" => set(&mut uri.serial, text, name)?,
                "manufacturer" => set(&mut uri.manufacturer, text, name)?,
                "model" => set(&mut uri.model, text, name)?,
                "object" => set(&mut uri.object, text, name)?,
                // Which class is wanted follows from the key's use.
                "type" => {}
                other => return Err(UriError::Unsupported(other.to_owned())),
            }
        }
        Ok(uri)
    }
}

fn set<T>(place: &mut Option<T>, value: T, name: &str) -> Result<(), UriError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::Twice(name.to_owned())),
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
        decoded.push(u8::try_from(value).ok()?);
    }
    Some(decoded)
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pkcs11Uri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_a_token_and_a_key_in_it() {
        let uri: Pkcs11Uri = "pkcs11:token=My%20token;object=signing;id=%01%aB;type=private"
            .parse()
            .unwrap();
        assert_eq!(uri.token(), Some("My token"));
        assert_eq!(uri.object(), Some("signing"));
        assert_eq!(uri.id(), Some(&[1, 0xab][..]));
    }

    #[test]
    fn a_pin_in_a_uri_is_refused() {
        assert_eq!(
            "pkcs11:token=t?pin-value=1234".parse::<Pkcs11Uri>(),
            Err(UriError::PinInUri)
        );
    }

    #[test]
    fn what_could_match_too_much_is_refused() {
        for bad in [
            "token=t",
            "pkcs11:token",
            "pkcs11:token=%4",
            "pkcs11:token=%zz",
            "pkcs11:token=a;token=b",
            "pkcs11:colour=red",
            "pkcs11:token=t?module-path=/x",
        ] {
            assert!(bad.parse::<Pkcs11Uri>().is_err(), "{bad}");
        }
    }
}
