//! The configuration file: TOML, unknown members refused, paths relative to the file.

use std::{
    fmt,
    net::SocketAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::key_table::KeyTable;
use hsm::{pin::PinSource, uri::Pkcs11Uri, waiver::Waivers};
use hyper::Uri;
use mtls::{server, trust::TrustFiles};
use protocol::names::{GatewayName, MerchantName};
use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

/// What `gateway.toml` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The gateway's name, which its certificates must have.
    pub(crate) name: GatewayName,
    pub(crate) listen: Listen,
    /// One table, or several with the same keys.
    #[serde(rename = "token", deserialize_with = "one_or_several")]
    pub(crate) tokens: Vec<Token>,
    /// The keys in the tokens.
    #[serde(rename = "key")]
    pub(crate) keys: KeyTable,
    pub(crate) trust: TrustFiles,
    /// The merchants that may ask.
    #[serde(rename = "merchant", default)]
    pub(crate) merchants: Vec<Merchant>,
    #[serde(default)]
    pub(crate) webhooks: Webhooks,
    pub(crate) store: Store,
    #[serde(default)]
    pub(crate) limits: Limits,
    /// Where the file is: what its relative paths start from.
    #[serde(skip)]
    directory: PathBuf,
}

/// The addresses listened on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    /// For merchants: mutual TLS.
    pub(crate) merchants: SocketAddr,
    /// For payers: TLS with the gateway's certificate only.
    pub(crate) payers: SocketAddr,
    /// For operators: plain HTTP, so keep it on the loopback.
    pub(crate) admin: SocketAddr,
}

/// A PKCS#11 token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    /// The module, a shared library.
    pub(crate) module: PathBuf,
    /// Which of its tokens (RFC 7512).
    pub(crate) uri: Pkcs11Uri,
    pub(crate) pin: PinSource,
    /// How many PKCS#11 sessions work at once, a thread each.
    #[serde(default = "sessions")]
    pub(crate) sessions: usize,
    /// How many operations may wait before more are refused; each kind of work has a quarter.
    #[serde(default = "queue_max")]
    pub(crate) queue_max: usize,
    /// What its keys may lack, and why.
    #[serde(default)]
    pub(crate) waivers: Waivers,
}

/// Reads `[token]` as well as `[[token]]`.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Token>, D::Error> {
    struct Tables;

    impl<'de> Visitor<'de> for Tables {
        type Value = Vec<Token>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a [token] table, or [[token]] tables")
        }

        fn visit_map<M: MapAccess<'de>>(self, table: M) -> Result<Self::Value, M::Error> {
            Token::deserialize(MapAccessDeserializer::new(table)).map(|token| vec![token])
        }

        fn visit_seq<S: SeqAccess<'de>>(self, tables: S) -> Result<Self::Value, S::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(tables))
        }
    }

    deserializer.deserialize_any(Tables)
}

fn sessions() -> usize {
    4
}

fn queue_max() -> usize {
    1024
}

/// A merchant that the gateway knows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Merchant {
    pub(crate) name: MerchantName,
    /// An inactive merchant is known and refused.
    pub(crate) active: bool,
    /// Where it is told what happens without its asking.
    pub(crate) webhook: Option<Webhook>,
}

/// Where a merchant is told what happens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    pub(crate) url: WebhookUrl,
    /// Files with the secrets that sign; several while one is replaced.
    pub(crate) secret_files: Vec<PathBuf>,
}

/// A URL of a merchant's server.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct WebhookUrl {
    /// `https://host[:port]`.
    pub(crate) server: String,
    pub(crate) path: String,
}

impl TryFrom<String> for WebhookUrl {
    type Error = &'static str;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        let refused = "a webhook's url is of the form https://host[:port]/path";
        let uri: Uri = url.parse().map_err(|_| refused)?;
        match (uri.scheme_str(), uri.authority(), uri.path_and_query()) {
            (Some("https"), Some(authority), Some(path)) if !authority.as_str().contains('@') => {
                Ok(Self {
                    server: format!("https://{authority}"),
                    path: path.to_string(),
                })
            }
            _ => Err(refused),
        }
    }
}

/// How webhooks are sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Webhooks {
    /// Seconds that a merchant has to answer.
    pub(crate) timeout_seconds: NonZeroU16,
    /// How many are sent to one merchant at a time.
    pub(crate) at_once_per_merchant: NonZeroU16,
    /// Seconds from each failed try to the next; after the last one an event is given up.
    pub(crate) retry_seconds: Vec<u32>,
}

impl Default for Webhooks {
    fn default() -> Self {
        const MINUTE: u32 = 60;
        const HOUR: u32 = 60 * MINUTE;
        Self {
            timeout_seconds: const { NonZeroU16::new(15).unwrap() },
            at_once_per_merchant: const { NonZeroU16::new(4).unwrap() },
            // As Standard Webhooks proposes.
            retry_seconds: vec![
                5,
                5 * MINUTE,
                30 * MINUTE,
                2 * HOUR,
                5 * HOUR,
                10 * HOUR,
                14 * HOUR,
                20 * HOUR,
                24 * HOUR,
            ],
        }
    }
}

/// Where payments are kept: one of the two.
#[derive(Deserialize)]
#[serde(try_from = "StoreMembers")]
pub(crate) enum Store {
    /// One gateway's, in a file.
    File(PathBuf),
    /// Shared by gateways.
    Postgres(Box<Postgres>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreMembers {
    path: Option<PathBuf>,
    postgres: Option<Box<Postgres>>,
}

impl TryFrom<StoreMembers> for Store {
    type Error = &'static str;

    fn try_from(members: StoreMembers) -> Result<Self, Self::Error> {
        match (members.path, members.postgres) {
            (Some(path), None) => Ok(Self::File(path)),
            (None, Some(postgres)) => Ok(Self::Postgres(postgres)),
            _ => Err("[store] has either `path` or [store.postgres]"),
        }
    }
}

/// A PostgreSQL database. Over a network it is known by its certificate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Postgres {
    /// The directory of the server's Unix socket, for a server on this machine.
    pub(crate) socket_directory: Option<PathBuf>,
    /// The server's host name, which its certificate must have.
    pub(crate) host: Option<String>,
    /// The CA that certified it: PEM.
    pub(crate) ca: Option<PathBuf>,
    #[serde(default = "postgres_port")]
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: String,
    /// A file with the password, unless the server knows the user by other means.
    pub(crate) password_file: Option<PathBuf>,
    /// How many connections this gateway keeps.
    #[serde(default = "postgres_connections")]
    pub(crate) connections: NonZeroU16,
}

fn postgres_port() -> u16 {
    5432
}

fn postgres_connections() -> NonZeroU16 {
    const { NonZeroU16::new(16).unwrap() }
}

impl fmt::Display for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, port, .. } = self;
        match (&self.host, &self.socket_directory) {
            (Some(host), _) => write!(formatter, "PostgreSQL {database} at {host}:{port}"),
            (None, Some(directory)) => {
                write!(
                    formatter,
                    "PostgreSQL {database} in {}",
                    directory.display()
                )
            }
            (None, None) => write!(formatter, "PostgreSQL {database}"),
        }
    }
}

/// What one party may take of the gateway.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Established connections of one listener at once.
    pub(crate) connections: Option<NonZeroU16>,
    /// Those of one address; an IPv6 /64 is one.
    pub(crate) connections_per_address: Option<NonZeroU16>,
    /// Those of one party, by the name in its certificate.
    pub(crate) connections_per_party: Option<NonZeroU16>,
    /// Connections of one listener at once whose handshake is under way.
    pub(crate) handshakes: Option<NonZeroU16>,
    /// Those of one address.
    pub(crate) handshakes_per_address: Option<NonZeroU16>,
    /// Seconds for which a peer may take nothing of its answers.
    pub(crate) write_seconds: Option<NonZeroU16>,
    /// Seconds an operation may take from its arrival, the token and the store included.
    pub(crate) operation_seconds: u64,
    /// Seconds after which a call into a PKCS#11 module is taken for stuck, and the gateway ends to be restarted.
    pub(crate) token_call_seconds: u64,
    /// Authorization requests per second of one merchant, and as many at once.
    pub(crate) requests_per_second: u32,
    /// Declined purchases per minute of one client; as many of its purchases may be decided at once.
    pub(crate) declines_per_minute: u32,
    /// Cancellations per minute of one client, and as many at once.
    pub(crate) cancellations_per_minute: u32,
    /// Questions per minute of one client that it proved to be its own, and as many at once.
    pub(crate) inquiries_per_minute: u32,
    /// Days until a hold that was not captured ends.
    pub(crate) capture_days: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_address: None,
            connections_per_party: None,
            handshakes: None,
            handshakes_per_address: None,
            write_seconds: None,
            operation_seconds: 5,
            token_call_seconds: 20,
            requests_per_second: 20_000,
            declines_per_minute: 10,
            cancellations_per_minute: 30,
            inquiries_per_minute: 60,
            capture_days: 7,
        }
    }
}

impl Limits {
    /// Names the first member with which payments would quietly come to nothing, or be held for longer than anybody holds.
    /// That nobody is served is told by every answer.
    fn check(&self) -> Result<(), &'static str> {
        const DAYS_MAX: u64 = 365;
        let at_least_one = [
            ("token_call_seconds", self.token_call_seconds),
            ("requests_per_second", self.requests_per_second.into()),
            ("declines_per_minute", self.declines_per_minute.into()),
            (
                "cancellations_per_minute",
                self.cancellations_per_minute.into(),
            ),
            ("inquiries_per_minute", self.inquiries_per_minute.into()),
        ];
        if let Some((member, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(member);
        }
        if self.capture_days > DAYS_MAX {
            return Err("capture_days");
        }
        Ok(())
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
        "{} is not a gateway configuration, near line {line}: {}; gateway.sample.toml explains every member",
        path.display(),
        source.message()
    )]
    Invalid {
        path: PathBuf,
        line: usize,
        source: Box<toml::de::Error>,
    },
    #[error(
        "{}: [limits] {member} is 0, or too large to mean anything; leave it out for what it is without it",
        path.display()
    )]
    Limit { path: PathBuf, member: &'static str },
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
        config.limits.check().map_err(|member| ConfigError::Limit {
            path: path.to_owned(),
            member,
        })?;
        config.directory = path.parent().unwrap_or(Path::new("")).to_owned();
        for token in &mut config.tokens {
            let pin = std::mem::replace(&mut token.pin, PinSource::Prompt);
            token.pin = pin.relative_to(&config.directory);
        }
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
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.sample.toml");
        let config = Config::read(Path::new(sample)).unwrap();
        assert_eq!(config.name.id(), "main");
        assert_eq!(config.limits.capture_days, 7);
    }

    #[test]
    fn the_sample_shows_a_shared_store_too_and_one_of_both_is_chosen() {
        let text = include_str!("../gateway.sample.toml");
        let shared: String = text
            .lines()
            .skip_while(|line| *line != "# [store.postgres]")
            .take_while(|line| line.starts_with('#'))
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        let with = |store: &str| {
            toml::from_str::<Config>(&text.replacen("[store]\npath = \"gateway.db\"\n", store, 1))
        };
        let Store::Postgres(postgres) = with(&shared).unwrap().store else {
            panic!("{shared}");
        };
        assert_eq!(
            postgres.to_string(),
            "PostgreSQL twinseal at db.example:5432"
        );
        for neither in [
            "[store]\n".to_owned(),
            format!("[store]\npath = \"x\"\n{shared}"),
        ] {
            let error = with(&neither).err().unwrap().to_string();
            assert!(error.contains("[store] has either"), "{error}");
        }
    }

    #[test]
    fn the_sample_shows_a_webhook_and_the_schedule_that_holds_without_it() {
        let text = include_str!("../gateway.sample.toml");
        let config: Config = toml::from_str(text).unwrap();
        let webhook = config.merchants[0].webhook.as_ref().unwrap();
        assert_eq!(webhook.url.server, "https://localhost:8543");
        assert_eq!(webhook.url.path, "/webhooks");
        let default = Webhooks::default();
        assert_eq!(config.webhooks.retry_seconds, default.retry_seconds);
        assert_eq!(config.webhooks.timeout_seconds, default.timeout_seconds);
        assert_eq!(
            config.webhooks.at_once_per_merchant,
            default.at_once_per_merchant
        );
        for refused in [
            "http://localhost:8543/webhooks",
            "https://user@localhost/webhooks",
            "/webhooks",
            "localhost:8543",
            "",
        ] {
            let url = WebhookUrl::try_from(refused.to_owned());
            assert!(url.is_err(), "{refused}");
        }
    }

    #[test]
    fn an_unknown_member_is_refused_by_name() {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.sample.toml"))
                .unwrap();
        let error = toml::from_str::<Config>(&format!("colour = 1\n{text}"))
            .err()
            .unwrap();
        assert!(error.to_string().contains("colour"), "{error}");
    }

    #[test]
    fn the_sample_shows_the_limits_that_hold_without_it() {
        let text = include_str!("../gateway.sample.toml");
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
