//! CRLs fetched over HTTP from where their CA publishes them (RFC 5280 section 4.2.1.13) into the files that trust is
//! read from. What is not the CA's own, or not newer, changes nothing.
//!
//! The addresses are the configuration's: those in certificates are not followed, so that no certificate makes this
//! process talk to a place of its choice. Plain HTTP is what CRLs are published by: they are signed themselves.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Uri;
use protocol::{
    encoding,
    pki::{Term, Trust, TrustError},
    time::Timestamp,
};
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject as _};
use serde::{Deserialize, Deserializer, de};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use crate::{
    SharedTrust,
    http_fetch::{self, BackOff, Bounds, FetchError, half_of},
    now, pem,
};

/// Some 400,000 entries.
const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(30),
    bytes_max: 16 * 1024 * 1024,
};

/// A CRL that is published.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlSource {
    /// Where: `http://host[:port]/path`.
    #[serde(deserialize_with = "http_url")]
    url: Uri,
    /// The file that it goes to, one of those that trust is read from.
    file: PathBuf,
    /// How often, if it does not end before.
    #[serde(default = "minutes")]
    minutes: NonZeroU16,
}

fn minutes() -> NonZeroU16 {
    const HOUR: NonZeroU16 = NonZeroU16::MIN.saturating_add(59);
    HOUR
}

fn http_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
    let text = String::deserialize(deserializer)?;
    http_fetch::http_url(&text)
        .ok_or_else(|| de::Error::custom(format!("{text} is not http://host[:port]/path")))
}

/// Why there is no newer CRL.
#[derive(Debug, thiserror::Error)]
enum CrlError {
    /// Nothing came.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Not a CRL of a CA that is trusted.
    #[error(transparent)]
    Untrusted(#[from] TrustError),
    /// The file has no CRL that is of this trust.
    #[error("{} has no CRL that says whose it is for: {reason}; put the CA's CRL there once", path.display())]
    NoFormer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A CRL, but of another CA than that in the file.
    #[error("it is the CRL of another CA than the one in {}; correct url or file", path.display())]
    OtherCa {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be written.
    #[error("{} can't be written: {source}; give this program a file that it may replace", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Keeps the files of some CRLs young, until it is dropped. Relative paths start at `base`.
pub(crate) async fn keep_young(sources: Vec<CrlSource>, base: PathBuf, trust: SharedTrust) {
    let mut fetching = JoinSet::new();
    for source in sources {
        fetching.spawn(keep(source, base.clone(), SharedTrust::clone(&trust)));
    }
    while fetching.join_next().await.is_some() {}
}

async fn keep(source: CrlSource, base: PathBuf, trust: SharedTrust) {
    let mut back_off = BackOff::new();
    loop {
        let pause = match refresh(&source, &base, &trust).await {
            Ok(pause) => {
                back_off = BackOff::new();
                pause
            }
            Err(error) => {
                tracing::warn!(url = %source.url, "the CRL was not fetched: {error}");
                back_off.failed()
            }
        };
        sleep(pause).await;
    }
}

/// Fetches it once, and says when to do so again.
async fn refresh(
    source: &CrlSource,
    base: &Path,
    trust: &SharedTrust,
) -> Result<Duration, CrlError> {
    let fetched = http_fetch::get(&source.url, BOUNDS).await?;
    // Most publish DER, some PEM.
    let der = CertificateRevocationListDer::from_pem_slice(&fetched)
        .unwrap_or_else(|_| CertificateRevocationListDer::from(fetched.to_vec()));
    let (now, path, trust) = (now(), base.join(&source.file), trust.load_full());
    // Reading many entries takes its time.
    let taken = spawn_blocking(move || take(&der, &path, &trust, now));
    let (term, is_newer) = taken.await.unwrap_or_else(|_| {
        Err(CrlError::NoFormer {
            path: base.join(&source.file),
            reason: "it was given up".to_owned(),
        })
    })?;
    if is_newer {
        tracing::info!(url = %source.url, "a newer CRL was fetched");
    }
    // Well before its end, whatever was configured.
    let half_left = half_of(term.end.0.saturating_sub(now.0));
    let configured = Duration::from_secs(u64::from(source.minutes.get()) * 60);
    Ok(half_left.min(configured))
}

/// Puts a CRL in the place of an older one of the same CA. Whoever answers in the place of the publisher could else
/// have one CA's take the place of another's, whose revocations would be forgotten.
fn take(
    der: &CertificateRevocationListDer<'_>,
    path: &Path,
    trust: &Trust,
    now: Timestamp,
) -> Result<(Term, bool), CrlError> {
    let standing = trust.stand(der, now)?;
    let no_former = |reason: String| CrlError::NoFormer {
        path: path.to_owned(),
        reason,
    };
    let former = pem::crl(path).map_err(|error| no_former(error.to_string()))?;
    let former = trust
        .stand(&former, now)
        .map_err(|error| no_former(error.to_string()))?;
    if former.signer != standing.signer {
        return Err(CrlError::OtherCa {
            path: path.to_owned(),
        });
    }
    if standing.is_newer {
        replace(path, pem_of(der).as_bytes()).map_err(|source| CrlError::File {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok((standing.term, standing.is_newer))
}

fn pem_of(der: &CertificateRevocationListDer<'_>) -> String {
    const COLUMNS: usize = 64;
    let text = encoding::base64(der);
    let mut pem = String::with_capacity(text.len() + text.len() / COLUMNS + 64);
    pem.push_str("-----BEGIN X509 CRL-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, others) = rest.split_at(rest.len().min(COLUMNS));
        pem.push_str(line);
        pem.push('\n');
        rest = others;
    }
    pem.push_str("-----END X509 CRL-----\n");
    pem
}

/// A reader finds the old or the new one, whole.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    // Another program may keep the same file young.
    unfinished.push(format!(".fetched-{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crl_is_published_by_plain_http_with_a_host() {
        let source = |url: &str| {
            let text = format!("url = \"{url}\"\nfile = \"a.crl\"");
            toml::from_str::<CrlSource>(&text).map(|source| source.minutes.get())
        };
        assert_eq!(source("http://crl.example/a.crl").unwrap(), 60);
        assert_eq!(source("http://[::1]:8080/a.crl").unwrap(), 60);
        for bad in [
            "https://crl.example/a.crl",
            "ldap://a/b",
            "a.crl",
            "http:///a",
        ] {
            assert!(source(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_what_was_fetched() {
        let der = CertificateRevocationListDer::from((0..=255).collect::<Vec<u8>>());
        let read = CertificateRevocationListDer::from_pem_slice(pem_of(&der).as_bytes());
        assert_eq!(read.unwrap(), der);
    }
}
