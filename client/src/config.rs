//! The configuration file: TOML, unknown members refused, paths relative to the file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mtls::trust::TrustFiles;
use protocol::names::{ClientName, GatewayName};
use serde::Deserialize;

/// What `client.toml` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The payer's name, which its certificate must have.
    pub(crate) name: ClientName,
    pub(crate) instruments: PathBuf,
    pub(crate) purchases: PathBuf,
    pub(crate) signing: Signing,
    pub(crate) gateway: Gateway,
    /// Who renews the certificate, if anybody does.
    pub(crate) enrolment: Option<enrolment::asked::Configured>,
    pub(crate) trust: TrustFiles,
    /// Where the file is: what its relative paths start from.
    #[serde(skip)]
    directory: PathBuf,
}

/// The payer's certificate and key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signing {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Whom to ask when a merchant leaves a purchase unconfirmed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gateway {
    pub(crate) name: GatewayName,
    pub(crate) payer_url: String,
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("can't read {}: {source}; give the file with --config", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{} is not a client configuration, near line {line}: {}; client.sample.toml explains every member",
        path.display(),
        source.message()
    )]
    Invalid {
        path: PathBuf,
        line: usize,
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
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

    const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/client.sample.toml");

    #[test]
    fn the_sample_configuration_is_one() {
        let config = Config::read(Path::new(SAMPLE)).unwrap();
        assert_eq!(config.gateway.name.id(), "main");
        assert!(config.path(&config.purchases).ends_with("client/purchases"));
    }

    #[test]
    fn an_unknown_member_is_refused_by_name() {
        let text = fs::read_to_string(SAMPLE).unwrap();
        let error = toml::from_str::<Config>(&format!("colour = 1\n{text}"))
            .err()
            .unwrap();
        assert!(error.to_string().contains("colour"), "{error}");
    }
}
