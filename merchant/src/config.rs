//! The configuration file: TOML, unknown members refused, paths relative to the file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use mtls::trust::TrustFiles;
use protocol::{
    authorization::Capture,
    names::{GatewayName, MerchantName},
};
use serde::Deserialize;

/// What `merchant.toml` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The merchant's name, which its certificates must have.
    pub(crate) name: MerchantName,
    /// What people read.
    pub(crate) display_name: String,
    /// Where payers come to.
    pub(crate) listen: SocketAddr,
    /// Whether payers may show a certificate in TLS.
    #[serde(default)]
    pub(crate) client_certificates: ClientCertificates,
    /// What is sold.
    pub(crate) catalogue: PathBuf,
    /// When the money is to be booked.
    #[serde(default = "capture")]
    pub(crate) capture: Capture,
    /// How long a client session lasts.
    #[serde(default = "session_seconds")]
    pub(crate) session_seconds: u64,
    pub(crate) tls: KeyFiles,
    pub(crate) signing: KeyFiles,
    pub(crate) gateway: Gateway,
    pub(crate) trust: TrustFiles,
    pub(crate) store: Store,
    #[serde(skip)]
    directory: PathBuf,
}

fn capture() -> Capture {
    Capture::Later
}

fn session_seconds() -> u64 {
    protocol::session::LIFETIME_SECONDS
}

/// Whether payers show a certificate in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCertificates {
    /// They are not asked to.
    #[default]
    None,
    /// They may.
    Optional,
}

/// A certificate and its key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The gateway that is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gateway {
    pub(crate) name: GatewayName,
    pub(crate) url: String,
}

/// The embedded store.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) path: PathBuf,
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("can't read {}: {source}; give the file with --config", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{} is not a merchant configuration, near line {line}: {}; merchant.sample.toml explains every member",
        path.display(),
        source.message()
    )]
    Invalid {
        path: PathBuf,
        line: usize,
        source: Box<toml::de::Error>,
    },
    #[error("{}: session_seconds is not within 1 to 900; correct it", path.display())]
    SessionSeconds { path: PathBuf },
}

impl Config {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|source| ConfigError::Invalid {
            path: path.to_owned(),
            line: source
                .span()
                .map_or(0, |span| text[..span.end].lines().count()),
            source: Box::new(source),
        })?;
        if !(1..=protocol::time::LIFETIME_SECONDS_MAX).contains(&config.session_seconds) {
            return Err(ConfigError::SessionSeconds {
                path: path.to_owned(),
            });
        }
        config.directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(config)
    }

    /// Where relative paths start from.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path as the file means it.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_configuration_is_one() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/merchant.sample.toml");
        let config = Config::read(Path::new(sample)).unwrap();
        assert_eq!(config.name.id(), "bookshop");
        assert_eq!(config.capture, Capture::Later);
        assert_eq!(config.session_seconds, 900);
        let store = config.path(&config.store.path);
        assert_eq!(store.parent(), Path::new(sample).parent());
        assert_eq!(config.path(Path::new("/srv/m.db")), Path::new("/srv/m.db"));
    }

    #[test]
    fn unknown_members_and_sessions_longer_than_messages_are_refused() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("merchant.toml");
        let sample = include_str!("../merchant.sample.toml");
        let read = |from: &str, to: &str| {
            assert!(sample.contains(from), "{from}");
            std::fs::write(&path, sample.replacen(from, to, 1)).unwrap();
            Config::read(&path).map(|_| ())
        };
        read("\"none\"", "\"optional\"").unwrap();
        for (from, to) in [
            ("listen =", "lisen ="),
            ("[store]", "[store]\nsize = 1"),
            ("\"none\"", "\"required\""),
            ("merchant:bookshop", "gateway:bookshop"),
        ] {
            let refused = read(from, to);
            assert!(matches!(refused, Err(ConfigError::Invalid { .. })), "{to}");
        }
        for seconds in ["session_seconds = 0", "session_seconds = 901"] {
            let refused = read("session_seconds = 900", seconds);
            assert!(matches!(refused, Err(ConfigError::SessionSeconds { .. })));
        }
    }
}
