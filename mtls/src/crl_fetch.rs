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

use http_body_util::Empty;
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use protocol::{encoding, pki::TrustError};
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject as _};
use serde::{Deserialize, Deserializer, de};
use tokio::{
    net::TcpStream,
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    SharedTrust,
    body::{self, BodyError},
    now,
};

/// More than a million entries.
const CRL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// From the name look-up to the end of the body.
const FETCH: Duration = Duration::from_secs(30);

/// After a fetch that failed, at first and at most.
const AGAIN_MIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(600);

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
    text.parse::<Uri>()
        .ok()
        .filter(|url| url.scheme_str() == Some("http") && url.host().is_some())
        .ok_or_else(|| de::Error::custom(format!("{text} is not http://host[:port]/path")))
}

/// Why a CRL was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no connection, or it broke.
    #[error("no connection: {0}")]
    Connection(#[from] io::Error),
    /// Not HTTP.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// No CRL there.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// No body within the limits.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// No answer in time.
    #[error("no answer within {FETCH:?}")]
    TooSlow,
    /// Not a CRL of a CA that is trusted.
    #[error(transparent)]
    Untrusted(#[from] TrustError),
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
pub async fn keep_young(sources: Vec<CrlSource>, base: PathBuf, trust: SharedTrust) {
    let mut fetching = JoinSet::new();
    for source in sources {
        fetching.spawn(keep(source, base.clone(), SharedTrust::clone(&trust)));
    }
    while fetching.join_next().await.is_some() {}
}

async fn keep(source: CrlSource, base: PathBuf, trust: SharedTrust) {
    let mut again = AGAIN_MIN;
    loop {
        let pause = match refresh(&source, &base, &trust).await {
            Ok(pause) => {
                again = AGAIN_MIN;
                pause
            }
            Err(error) => {
                tracing::warn!(url = %source.url, "the CRL was not fetched: {error}");
                let pause = again;
                again = (again * 2).min(AGAIN_MAX);
                pause
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
) -> Result<Duration, FetchError> {
    let der = timeout(FETCH, fetch(&source.url))
        .await
        .unwrap_or(Err(FetchError::TooSlow))?;
    let now = now();
    let standing = trust.load().stand(&der, now)?;
    if standing.is_newer {
        let path = base.join(&source.file);
        let text = pem(&der);
        let written = spawn_blocking({
            let path = path.clone();
            move || replace(&path, text.as_bytes())
        });
        let written = written
            .await
            .unwrap_or_else(|_| Err(io::Error::other("it was given up")));
        written.map_err(|source| FetchError::File { path, source })?;
        tracing::info!(url = %source.url, "a newer CRL was fetched");
    }
    // Well before its end, whatever was configured.
    let half_left = standing.term.end.0.saturating_sub(now.0) / 2;
    let configured = u64::from(source.minutes.get()) * 60;
    Ok(Duration::from_secs(half_left.min(configured)).max(AGAIN_MIN))
}

/// Redirections are not followed.
async fn fetch(url: &Uri) -> Result<CertificateRevocationListDer<'static>, FetchError> {
    let host = url.host().unwrap_or_default();
    let address = (host.trim_matches(['[', ']']), url.port_u16().unwrap_or(80));
    let tcp = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    let driver = tokio::spawn(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or(host, |authority| authority.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = sender.send_request(request).await?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    let body = body::read(answer.into_body(), CRL_BYTES_MAX, FETCH).await?;
    driver.abort();
    // Most publish DER, some PEM.
    Ok(CertificateRevocationListDer::from_pem_slice(&body)
        .unwrap_or_else(|_| CertificateRevocationListDer::from(body.to_vec())))
}

fn pem(der: &CertificateRevocationListDer<'_>) -> String {
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
    unfinished.push(".fetched");
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
        let read = CertificateRevocationListDer::from_pem_slice(pem(&der).as_bytes());
        assert_eq!(read.unwrap(), der);
    }
}
