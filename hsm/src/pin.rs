//! The token's PIN, and where it comes from: a file, an environment variable, a prompt. Never a command
//! line and never the configuration itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

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
            Self::File(path) => {
                let place = path.display().to_string();
                refuse_readable_by_others(path)
                    .and_then(|()| fs::read_to_string(path).map_err(|error| error.to_string()))
                    .map(|text| (place.clone(), Zeroizing::new(text)))
                    .map_err(|reason| failed(place, reason))?
            }
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

#[cfg(unix)]
fn refuse_readable_by_others(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    let mode = metadata.mode();
    if !others_may_read(metadata.uid(), mode, rustix::process::geteuid().as_raw()) {
        return Ok(());
    }
    Err(format!(
        "its mode is {:03o}, others may read it; run chmod 600 on it",
        mode & 0o777
    ))
}

/// Whether a file is anybody's but ours. One of root's that our group may read counts as ours when we are not root: so
/// systemd's credentials and Kubernetes' secrets get to a service (mode 0440).
#[cfg(unix)]
const fn others_may_read(owner: u32, mode: u32, us: u32) -> bool {
    let is_handed_by_root = owner == 0 && us != 0;
    let forbidden = if is_handed_by_root { 0o037 } else { 0o077 };
    mode & forbidden != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_may_read_a_pin_that_root_hands_to_a_service_and_no_other() {
        const US: u32 = 990;
        for (owner, mode, us) in [(US, 0o100_600, US), (0, 0o100_440, US)] {
            assert!(!others_may_read(owner, mode, us), "{owner} {mode:o}");
        }
        for (owner, mode, us) in [
            (US, 0o100_440, US),
            (0, 0o100_444, US),
            (0, 0o100_440, 0),
            (991, 0o100_440, US),
        ] {
            assert!(others_may_read(owner, mode, us), "{owner} {mode:o}");
        }
    }
}
