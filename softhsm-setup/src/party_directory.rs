//! The directory of a client or merchant: looked at before anything is written into it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use protocol::names::{PartyName, Role};
use rcgen::{KeyPair, PublicKeyData as _};
use zeroize::Zeroizing;

use crate::{
    Failure,
    layout::{LockedLayout, Readers},
    leaf::{Leaf, check_is_of},
    profiles::Purpose,
};

/// Directories that are, or could be taken for, something else.
const RESERVED: [&str; 5] = ["ca", "enrolment", "gateway", "pki", "tokens"];

const CLIENT_FILES: [&str; 4] = [
    "client.toml",
    "instruments.toml",
    "signing.key",
    "signing.pem",
];

const MERCHANT_FILES: [&str; 6] = [
    "merchant.toml",
    "catalogue.toml",
    "tls.key",
    "tls.pem",
    "signing.key",
    "signing.pem",
];

/// A directory that is not there yet, or has nothing in it but one party of this role.
pub(crate) struct PartyDirectory<'a> {
    layout: &'a LockedLayout,
    name: String,
    role: Role,
    party: Option<PartyName>,
}

impl<'a> PartyDirectory<'a> {
    /// # Errors
    ///
    /// When the name is not one, or something else is there: a link, another party, a certificate of
    /// another name, profile or key.
    pub(crate) fn open(layout: &'a LockedLayout, name: &str, role: Role) -> Result<Self, Failure> {
        refuse_name(name)?;
        let mut directory = Self {
            layout,
            name: name.to_owned(),
            role,
            party: None,
        };
        let path = layout.path(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => directory.look(&path)?,
            Ok(_) => {
                return Err(directory.refusal(
                    &path,
                    "is not a directory, or a link that may lead anywhere",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::file(&path, &error)),
        }
        Ok(directory)
    }

    pub(crate) const fn layout(&self) -> &'a LockedLayout {
        self.layout
    }

    /// The party that is there.
    pub(crate) const fn party(&self) -> Option<&PartyName> {
        self.party.as_ref()
    }

    /// Whether it is the directory with this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.layout.path(&self.name).join(file)
    }

    /// Writes a file, unless it is there.
    pub(crate) fn write_new(
        &self,
        file: &str,
        content: &[u8],
        readers: Readers,
    ) -> Result<bool, Failure> {
        self.layout.write_new(&self.path(file), content, readers)
    }

    /// Refuses a party that is not the one that is there.
    pub(crate) fn refuse_other(&self, wanted: &PartyName) -> Result<(), Failure> {
        match &self.party {
            Some(party) if party != wanted => {
                Err(self.refusal(&self.path(""), &format!("is of {party}")))
            }
            _ => Ok(()),
        }
    }

    /// The key in a file of this directory.
    pub(crate) fn key(&self, file: &str) -> Result<KeyPair, Failure> {
        let path = self.path(file);
        let pem = fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        KeyPair::from_pem(&Zeroizing::new(pem)).map_err(|error| {
            Failure::new(format!(
                "{} is not a P-256 key in PKCS#8 form: {error}; put the key there, or move key and certificate away",
                path.display()
            ))
        })
    }

    fn look(&mut self, path: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::file(path, &error);
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy();
            found.push(name.trim_end_matches(".unfinished").to_owned());
        }
        let (ours, others): (&[&str], &[&str]) = match self.role {
            Role::Client => (&CLIENT_FILES, &MERCHANT_FILES),
            _ => (&MERCHANT_FILES, &CLIENT_FILES),
        };
        let is_there = |file: &&str| found.iter().any(|found| found == file);
        let foreign = others.iter().filter(|file| !ours.contains(file));
        if let Some(file) = foreign.copied().find(is_there) {
            return Err(self.refusal(path, &format!("has a {file}, as no {} has", self.role)));
        }
        if !found.is_empty() && !ours.iter().any(is_there) {
            return Err(self.refusal(path, &format!("has nothing of a {}", self.role)));
        }
        self.look_into_configuration()?;
        self.look_into_certificate("signing", Purpose::Signing)?;
        if self.role == Role::Merchant {
            self.look_into_certificate("tls", Purpose::Tls)?;
        }
        Ok(())
    }

    fn look_into_configuration(&mut self) -> Result<(), Failure> {
        let path = self.path(&format!("{}.toml", self.role));
        if !path.exists() {
            return Ok(());
        }
        let text = fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        let name = text
            .parse::<toml::Table>()
            .ok()
            .and_then(|table| table.get("name")?.as_str()?.parse().ok());
        self.is_of(&path, name)
    }

    fn look_into_certificate(&mut self, stem: &str, purpose: Purpose) -> Result<(), Failure> {
        let (key, path) = (
            self.path(&format!("{stem}.key")),
            self.path(&format!("{stem}.pem")),
        );
        if !path.exists() {
            return Ok(());
        }
        let leaf = Leaf::open(&path)?;
        self.is_of(&path, leaf.name)?;
        if leaf.purpose != Some(purpose) {
            let reason = format!("is not a certificate for {purpose:?}");
            return Err(self.refusal(&path, &reason));
        }
        if !key.exists() {
            return Err(Failure::new(format!(
                "{} is there, but not {}; put the key there, or move the certificate away",
                path.display(),
                key.display()
            )));
        }
        check_is_of(&path, self.key(&format!("{stem}.key"))?.der_bytes())
    }

    /// A file of this directory names a party: it must be of the role, and the same in every file.
    fn is_of(&mut self, file: &Path, name: Option<PartyName>) -> Result<(), Failure> {
        let Some(name) = name.filter(|name| name.role() == self.role) else {
            let reason = format!("does not name one {}", self.role);
            return Err(self.refusal(file, &reason));
        };
        match &self.party {
            Some(party) if *party != name => {
                let reason = format!("is of {name}, another file beside it of {party}");
                Err(self.refusal(file, &reason))
            }
            _ => {
                self.party = Some(name);
                Ok(())
            }
        }
    }

    fn refusal(&self, path: &Path, reason: &str) -> Failure {
        Failure::new(format!(
            "{} {reason}; name another directory for the {}, or move this away",
            path.display(),
            self.role
        ))
    }
}

fn refuse_name(name: &str) -> Result<(), Failure> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_name = name.bytes().next().is_some_and(is_plain)
        && name.bytes().all(|byte| is_plain(byte) || byte == b'-');
    if is_name && !RESERVED.contains(&name) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "--out {name:?}: give the name of a directory below DIR, of a-z, 0-9 and - with no - first, that is not \
         ca, enrolment, gateway, pki or tokens"
    )))
}
