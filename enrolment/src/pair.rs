//! A key and its certificate in files that are replaced together.
//!
//! A configuration names the two. Beside the key, in a directory of its own, every pair that there was has a number:
//!
//! ```text
//! signing.key -> signing.d/current/key.pem
//! signing.pem -> signing.d/current/certificate.pem
//! signing.d/current -> 2
//! signing.d/1/, signing.d/2/     the pair before, and the one in use: key.pem, certificate.pem
//! signing.d/next/                a key and its request that are not certified yet
//! ```
//!
//! The one step from a pair to the next is that `current` gets another target. So no crash leaves a key beside another
//! key's certificate, and a request that got no answer is sent again as it was.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mtls::pem::{self, PemFileError};
use protocol::names::PartyName;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::request::{self, NoRequest};

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "certificate.pem";
const REQUEST: &str = "request.der";
const CURRENT: &str = "current";
const NEXT: &str = "next";
/// What is locked: a file that others can't open, and not the directory, which they could.
const LOCK: &str = ".lock";

/// Why the files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The system says so.
    #[error("{}: {source}; check the path and that you may write there", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has them.
    #[error("{} is in use by another process that enrols or renews; try again later", path.display())]
    Busy {
        /// The directory of the pairs.
        path: PathBuf,
    },
    /// One of the two was replaced, and the other was not.
    #[error(
        "{} and {} do not belong together: one of them was replaced or removed; put the key and its certificate there, or \
         move both away and enrol anew",
        key.display(),
        certificate.display()
    )]
    Apart {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// A file holds something else.
    #[error(transparent)]
    Pem(#[from] PemFileError),
    /// No key or request.
    #[error(transparent)]
    Request(#[from] NoRequest),
}

/// The two files that a configuration names.
#[derive(Debug, Clone)]
pub struct Pair {
    /// PEM, the leaf.
    pub certificate: PathBuf,
    /// PKCS#8 in PEM, for its owner alone.
    pub key: PathBuf,
}

/// The pair while no other process changes it.
pub struct LockedPair<'a> {
    pair: &'a Pair,
    store: PathBuf,
    /// Unlocked when it is closed, however this process ends.
    _lock: File,
}

/// Which key the next certificate is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextKey {
    /// One that is made for it.
    New,
    /// The one in use.
    Same,
}

/// A key with its request, which is not certified yet.
pub struct Prepared {
    /// PKCS#10, DER.
    pub request: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
}

impl Pair {
    /// Whether one of the two files is there.
    pub fn is_there(&self) -> bool {
        [&self.certificate, &self.key]
            .iter()
            .any(|path| fs::symlink_metadata(path).is_ok())
    }

    /// Keeps other processes away, and completes what a crash interrupted. Two plain files are taken over as the first
    /// pair, or as the next one when somebody put them in the place of those in use.
    ///
    /// # Errors
    /// When another process has the pair, or the files can't be used.
    pub fn lock(&self) -> Result<LockedPair<'_>, PairError> {
        let store = self.key.with_extension("d");
        fs::create_dir_all(&store).map_err(at(&store))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(store.join(LOCK))
            .map_err(at(&store))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PairError::Busy { path: store }),
            Err(TryLockError::Error(source)) => return Err(at(&store)(source)),
        }
        let locked = LockedPair {
            pair: self,
            store,
            _lock: lock,
        };
        locked.take_over()?;
        locked.settle()?;
        Ok(locked)
    }
}

impl LockedPair<'_> {
    /// A key and a request for it: those of a try before, if it got no answer and was for such a key.
    ///
    /// # Errors
    /// When there is no key, or files can't be written.
    pub fn prepare(&self, next: NextKey, name: &PartyName) -> Result<Prepared, PairError> {
        let directory = self.store.join(NEXT);
        let in_use = match self.newest()? {
            Some(number) => Some(key_in(&self.generation(number))?),
            None => None,
        };
        if let Ok(key) = key_in(&directory)
            && let Ok(request) = fs::read(directory.join(REQUEST))
            && (in_use.as_deref() == Some(&*key)) == (next == NextKey::Same)
        {
            let public_key = request::public_key_of(&key)?;
            return Ok(Prepared {
                request,
                public_key,
            });
        }
        let key = match (next, in_use) {
            (NextKey::Same, Some(key)) => key,
            (NextKey::Same, None) => return Err(self.apart()),
            (NextKey::New, _) => request::new_key()?,
        };
        let request = request::request(&key, name)?;
        let key_text = key_text(&key);
        let files: [(&str, &[u8], u32); 2] = [
            (KEY, key_text.as_bytes(), 0o600),
            (REQUEST, &request, 0o644),
        ];
        self.put(&directory, &files)?;
        Ok(Prepared {
            public_key: request::public_key_of(&key)?,
            request,
        })
    }

    /// Takes the prepared key into use, with its certificate.
    ///
    /// # Errors
    /// When files can't be written; the pair before is in use then, or this one.
    pub fn complete(&self, certificate: &CertificateDer<'_>) -> Result<(), PairError> {
        let directory = self.store.join(NEXT);
        let text = certificate_text(certificate);
        write(&directory.join(CERTIFICATE), text.as_bytes(), 0o644)?;
        let request = directory.join(REQUEST);
        fs::remove_file(&request).map_err(at(&request))?;
        sync(&directory)?;
        let number = self.newest()?.unwrap_or(0) + 1;
        let generation = self.generation(number);
        fs::rename(&directory, &generation).map_err(at(&generation))?;
        sync(&self.store)?;
        self.settle()
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.store.join(number.to_string())
    }

    /// The number of the newest pair.
    fn newest(&self) -> Result<Option<u64>, PairError> {
        Ok(self.numbers()?.into_iter().max())
    }

    fn numbers(&self) -> Result<Vec<u64>, PairError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.store).map_err(at(&self.store))? {
            let name = entry.map_err(at(&self.store))?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        Ok(found)
    }

    /// Where the two files lead once they are links.
    fn targets(&self) -> [(&Path, PathBuf); 2] {
        let target = |link: &Path, file: &str| {
            let current = self.store.join(CURRENT).join(file);
            // A relative link stays right when the directory is moved.
            match (link.parent(), self.store.file_name()) {
                (Some(parent), Some(store)) if Some(parent) == self.store.parent() => {
                    Path::new(store).join(CURRENT).join(file)
                }
                _ => std::path::absolute(&current).unwrap_or(current),
            }
        };
        let Pair { certificate, key } = self.pair;
        [
            (key, target(key, KEY)),
            (certificate, target(certificate, CERTIFICATE)),
        ]
    }

    /// Takes plain files over as a pair of their own, unless they are a copy of the newest one.
    fn take_over(&self) -> Result<(), PairError> {
        let mut is_ours = Vec::new();
        let mut is_there = Vec::new();
        for (link, target) in self.targets() {
            is_ours.push(fs::read_link(link).is_ok_and(|found| found == target));
            is_there.push(fs::symlink_metadata(link).is_ok());
        }
        match (is_ours.as_slice(), is_there.as_slice()) {
            ([true, true], _) | (_, [false, false]) => return Ok(()),
            // The links are made one after the other.
            ([true, _], [_, false]) | ([_, true], [false, _]) => return Ok(()),
            (_, [true, true]) => {}
            _ => return Err(self.apart()),
        }
        let Pair { certificate, key } = self.pair;
        let key_der = Zeroizing::new(pem::private_key(key)?.secret_pkcs8_der().to_vec());
        let chain = pem::certificates(certificate)?;
        let newest = self.newest()?.map(|number| self.generation(number));
        if let Some(newest) = newest
            && key_in(&newest)? == key_der
            && pem::certificates(&newest.join(CERTIFICATE))? == chain
        {
            return Ok(());
        }
        if is_ours.contains(&true) {
            return Err(self.apart());
        }
        let text: String = chain.iter().map(certificate_text).collect();
        let key_text = key_text(&key_der);
        let files: [(&str, &[u8], u32); 2] = [
            (KEY, key_text.as_bytes(), 0o600),
            (CERTIFICATE, text.as_bytes(), 0o644),
        ];
        let number = self.newest()?.unwrap_or(0) + 1;
        self.put(&self.generation(number), &files)
    }

    /// Puts the newest pair in use, and forgets those before the last one. Can be done again at any time.
    fn settle(&self) -> Result<(), PairError> {
        let Some(newest) = self.newest()? else {
            return Ok(());
        };
        link(&self.store.join(CURRENT), Path::new(&newest.to_string()))?;
        for (path, target) in self.targets() {
            link(path, &target)?;
        }
        for number in self.numbers()? {
            if number + 1 < newest {
                let old = self.generation(number);
                fs::remove_dir_all(&old).map_err(at(&old))?;
            }
        }
        Ok(())
    }

    /// Makes a directory with these files, whole or not at all.
    fn put(&self, directory: &Path, files: &[(&str, &[u8], u32)]) -> Result<(), PairError> {
        let unfinished = self.store.join("unfinished");
        // Left by a run that was interrupted.
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
        }
        fs::create_dir(&unfinished).map_err(at(&unfinished))?;
        for (name, content, mode) in files {
            write(&unfinished.join(name), content, *mode)?;
        }
        sync(&unfinished)?;
        if directory.exists() {
            fs::remove_dir_all(directory).map_err(at(directory))?;
        }
        fs::rename(&unfinished, directory).map_err(at(directory))?;
        sync(&self.store)
    }

    fn apart(&self) -> PairError {
        PairError::Apart {
            key: self.pair.key.clone(),
            certificate: self.pair.certificate.clone(),
        }
    }
}

/// The key of a pair: PKCS#8, DER.
fn key_in(directory: &Path) -> Result<Zeroizing<Vec<u8>>, PairError> {
    let key = pem::private_key(&directory.join(KEY))?;
    Ok(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), PairError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(at(path))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(at(path))
}

/// Gives a link another target: whoever follows it finds the one or the other.
fn link(path: &Path, target: &Path) -> Result<(), PairError> {
    if fs::read_link(path).is_ok_and(|found| found == target) {
        return Ok(());
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at(&unfinished)(error));
        }
        _ => {}
    }
    symlink(target, &unfinished).map_err(at(&unfinished))?;
    fs::rename(&unfinished, path).map_err(at(path))?;
    match path.parent() {
        Some(parent) if parent != Path::new("") => sync(parent),
        _ => sync(Path::new(".")),
    }
}

fn sync(directory: &Path) -> Result<(), PairError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(at(directory))
}

fn at(path: &Path) -> impl Fn(io::Error) -> PairError {
    let path = path.to_owned();
    move |source| PairError::File {
        path: path.clone(),
        source,
    }
}

fn key_text(der: &[u8]) -> Zeroizing<String> {
    pem_text("PRIVATE KEY", der)
}

fn certificate_text(certificate: &CertificateDer<'_>) -> String {
    pem_text("CERTIFICATE", certificate).to_string()
}

/// PEM (RFC 7468), wiped after use.
fn pem_text(section: &str, der: &[u8]) -> Zeroizing<String> {
    const LINE_CHARACTERS: usize = 64;
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // As large as it gets, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(2 * encoded.len() + 100));
    text.push_str(&format!("-----BEGIN {section}-----\n"));
    for (at, character) in encoded.chars().enumerate() {
        if at > 0 && at % LINE_CHARACTERS == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {section}-----\n"));
    text
}

#[cfg(test)]
mod tests;
