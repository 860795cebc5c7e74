//! Certificates, CRLs and private keys in PEM files (RFC 7468).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer,
    pem::{self, PemObject},
};
use zeroize::Zeroizing;

use secret_file::SecretFileError;

/// A file that does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum PemFileError {
    /// It has a secret that can't be used.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// It can't be read.
    #[error("{path} can't be read: {source}; check the path and its permissions")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not PEM.
    #[error("{path} is not PEM ({reason}); put a PEM file there")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: pem::Error,
    },
    /// It has no such section, or too many.
    #[error(
        "{path} holds {found} PEM sections \"{section}\", not {wanted}; put the right file there"
    )]
    Count {
        /// The file.
        path: PathBuf,
        /// The name of the section.
        section: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        wanted: &'static str,
    },
}

/// Reads a certificate chain, leaf first.
///
/// # Errors
/// When the file can't be read, or holds no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemFileError> {
    let found: Vec<CertificateDer<'static>> = sections(path)?;
    if found.is_empty() {
        return Err(count(path, "CERTIFICATE", 0, "at least one"));
    }
    Ok(found)
}

/// Reads exactly one certificate.
///
/// # Errors
/// When the file can't be read, or holds another number of certificates.
pub fn certificate(path: &Path) -> Result<CertificateDer<'static>, PemFileError> {
    exactly_one(path, "CERTIFICATE")
}

/// Reads exactly one CRL.
///
/// # Errors
/// When the file can't be read, or holds another number of CRLs.
pub fn crl(path: &Path) -> Result<CertificateRevocationListDer<'static>, PemFileError> {
    exactly_one(path, "X509 CRL")
}

/// Reads exactly one private key in PKCS#8 form (RFC 5958). It is wiped when dropped.
///
/// # Errors
/// When the file can't be read, may be read by others, or holds another number of such keys.
pub fn private_key(path: &Path) -> Result<Zeroizing<PrivatePkcs8KeyDer<'static>>, PemFileError> {
    let text = secret_file::read(path)?;
    one_of(path, "PRIVATE KEY", sections_in(path, text.as_bytes())?).map(Zeroizing::new)
}

fn exactly_one<T: PemObject>(path: &Path, section: &'static str) -> Result<T, PemFileError> {
    one_of(path, section, sections(path)?)
}

fn one_of<T>(path: &Path, section: &'static str, mut found: Vec<T>) -> Result<T, PemFileError> {
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (None, _) => Err(count(path, section, 0, "one")),
        (Some(_), others) => Err(count(path, section, others + 1, "one")),
    }
}

fn sections<T: PemObject>(path: &Path) -> Result<Vec<T>, PemFileError> {
    let text = fs::read(path)
        .map(Zeroizing::new)
        .map_err(|source| PemFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    sections_in(path, &text)
}

fn sections_in<T: PemObject>(path: &Path, text: &[u8]) -> Result<Vec<T>, PemFileError> {
    T::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|reason| PemFileError::NotPem {
            path: path.to_owned(),
            reason,
        })
}

fn count(path: &Path, section: &'static str, found: usize, wanted: &'static str) -> PemFileError {
    PemFileError::Count {
        path: path.to_owned(),
        section,
        found,
        wanted,
    }
}
