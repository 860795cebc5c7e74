//! The configuration file: TOML, unknown members refused, paths relative to the file.

use std::{
    net::SocketAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use mtls::{server, trust::TrustFiles};
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
    /// How the gateway tells what happens without being asked, if it does.
    pub(crate) webhook: Option<Webhook>,
    /// Who renews the certificates, if anybody does.
    pub(crate) enrolment: Option<enrolment::asked::Configured>,
    pub(crate) trust: TrustFiles,
    pub(crate) store: Store,
    #[serde(default)]
    pub(crate) limits: Limits,
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

/// Webhooks of the gateway.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// Files with the secrets that they are signed by; several while one is replaced.
    pub(crate) secret_files: Vec<PathBuf>,
}

/// The embedded store.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) path: PathBuf,
}

/// What payers may take of the listener.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Established connections at once.
    pub(crate) connections: Option<NonZeroU16>,
    /// Those of one address; an IPv6 /64 is one.
    pub(crate) connections_per_address: Option<NonZeroU16>,
    /// Those of one party, by the name in its certificate.
    pub(crate) connections_per_party: Option<NonZeroU16>,
    /// Connections at once whose handshake is under way.
    pub(crate) handshakes: Option<NonZeroU16>,
    /// Those of one address.
    pub(crate) handshakes_per_address: Option<NonZeroU16>,
    /// Seconds for which a peer may take nothing of its answers.
    pub(crate) write_seconds: Option<NonZeroU16>,
    /// Orders and client sessions per minute of one address, together, and as many at once.
    pub(crate) openings_per_minute: Option<NonZeroU16>,
    /// Days until an order that nobody paid, or tried to, is forgotten.
    pub(crate) order_days: Option<NonZeroU16>,
}

impl Limits {
    /// Orders and client sessions per minute of one address.
    pub(crate) fn openings_per_minute(&self) -> u32 {
        self.openings_per_minute
            .map_or(120, |limit| limit.get().into())
    }

    /// How long an order that nobody paid is kept, in seconds.
    pub(crate) fn order_seconds(&self) -> u64 {
        self.order_days.map_or(7, |days| u64::from(days.get())) * 24 * 60 * 60
    }

    /// Those of a listener; what the file leaves out is as [`server::Limits`] has it.
    pub(crate) fn of_listener(&self) -> server::Limits {
        let default = server::Limits::default();
        let or = |configured: Option<NonZeroU16>, default: usize| {
            configured.map_or(default, |limit| limit.get().into())
        };
        server::Limits {
            connections_max: or(self.connections, default.connections_max),
            connections_per_address_max: or(
                self.connections_per_address,
                default.connections_per_address_max,
            ),
            connections_per_party_max: or(
                self.connections_per_party,
                default.connections_per_party_max,
            ),
            handshakes_max: or(self.handshakes, default.handshakes_max),
            handshakes_per_address_max: or(
                self.handshakes_per_address,
                default.handshakes_per_address_max,
            ),
            write: self.write_seconds.map_or(default.write, |limit| {
                Duration::from_secs(limit.get().into())
            }),
            ..default
        }
    }
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

    #[test]
    fn the_sample_shows_the_limits_that_hold_without_it() {
        let text = include_str!("../merchant.sample.toml");
        let sample: Config = toml::from_str(text).unwrap();
        let mut table: toml::Table = toml::from_str(text).unwrap();
        assert!(sample.limits.connections.is_some());
        table.remove("limits").unwrap();
        let without: Config = table.try_into().unwrap();
        let shown = |config: &Config| format!("{:?}", config.limits.of_listener());
        assert_eq!(shown(&sample), shown(&without));
        for limit in [
            "connections = 0",
            "connections_per_adress = 1",
            "write_seconds = -1",
        ] {
            let text = text.replacen("connections = 1024", limit, 1);
            assert!(toml::from_str::<Config>(&text).is_err(), "{limit}");
        }
    }
}
