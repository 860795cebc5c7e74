//! A token in a module that does as it is told: fails, hangs, loses what it had.

use hsm::{TokenConfig, pin::PinSource, uri::Pkcs11Uri, waiver::Waivers};
use twinseal_misbehaving_module::{ModuleCopy, duplicate_token};

use crate::directory::{LABEL, PIN, TokenDirectory, write_pin};

/// A copy of the misbehaving module around a copy of SoftHSM.
pub(crate) struct Misbehaving(ModuleCopy);

impl Misbehaving {
    pub(crate) fn new(directory: &TokenDirectory, name: &str) -> Self {
        Self(ModuleCopy::new(&directory.path(""), name).unwrap())
    }

    /// What it does from its next call on.
    pub(crate) fn does(&self, lines: &str) {
        self.0.does(lines).unwrap();
    }

    /// What it counted of something.
    pub(crate) fn reported(&self, name: &str) -> String {
        self.0.reported("", name).unwrap()
    }

    /// How a program that serves would open the token of this label in it.
    pub(crate) fn config(&self, directory: &TokenDirectory, label: &str) -> TokenConfig {
        let pin_file = directory.path("user.pin");
        write_pin(&pin_file, PIN, 0o600);
        TokenConfig {
            module: self.0.path().to_owned(),
            uri: Pkcs11Uri::for_token(label),
            pin: PinSource::File(pin_file),
            sessions: 2,
            queue_max: 1024,
            waivers: Waivers::default(),
        }
    }
}

/// Makes a second token with the keys of the first.
pub(crate) fn duplicate(directory: &TokenDirectory, label: &str) {
    duplicate_token(&directory.path("tokens"), LABEL, label).unwrap();
}
