//! The token's PIN, and where it comes from: a file, an environment variable, a prompt. Never a command
//! line and never the configuration itself.

use std::path::{Path, PathBuf};

use cryptoki::types::AuthPin;
use serde::{Deserialize, Deserializer, de::Error as _};
use zeroize::Zeroizing;

use crate::error::StartError;

/// Where the PIN is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// A file that nobody else may read; a line break at its end does not count.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// The terminal.
    Prompt,
}

impl<'de> Deserialize<'de> for PinSource {
    /// What is none is not repeated in the error: it may be a PIN.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WANTED: &str =
            "a PIN is given as { file = \"…\" }, { env = \"…\" } or \"prompt\", and never itself";

        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase", deny_unknown_fields)]
        enum Place {
            File(PathBuf),
            Env(String),
            Prompt,
        }

        Place::deserialize(deserializer)
            .map(|place| match place {
                Place::File(path) => Self::File(path),
                Place::Env(name) => Self::Env(name),
                Place::Prompt => Self::Prompt,
            })
            .map_err(|_| D::Error::custom(WANTED))
    }
}

/// A PIN. It has no Debug; only a login reads it.
pub struct Pin(AuthPin);

impl Pin {
    /// Takes a PIN that was just made, by a program that provisions.
    pub fn new(pin: &str) -> Self {
        Self(AuthPin::from(pin.to_owned()))
    }

    pub(crate) fn auth(&self) -> &AuthPin {
        &self.0
    }
}

impl PinSource {
    /// The same source, with a relative path starting at a directory.
    #[must_use]
    pub fn relative_to(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            other => other,
        }
    }

    /// Reads the PIN.
    ///
    /// # Errors
    /// When it is not there, is empty, or others may read the file.
    pub fn read(&self) -> Result<Pin, StartError> {
        let failed = |place: String, reason: String| StartError::NoPin { place, reason };
        let (place, text) = match self {
            Self::File(path) => (path.display().to_string(), secret_file::read(path)?),
            Self::Env(name) => std::env::var(name)
                .map(|text| (format!("${name}"), Zeroizing::new(text)))
                .map_err(|error| failed(format!("${name}"), error.to_string()))?,
            Self::Prompt => rpassword::prompt_password("PIN of the token: ")
                .map(|text| ("the terminal".to_owned(), Zeroizing::new(text)))
                .map_err(|error| failed("the terminal".to_owned(), error.to_string()))?,
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(failed(place, "it is empty".to_owned())),
            pin => Ok(Pin::new(pin)),
        }
    }
}
