//! What the merchant takes over while requests go on, and how: see [`mtls::reload`].

use std::{path::PathBuf, sync::Arc};

use mtls::{
    SharedTrust,
    identity::Identity,
    reload::{Files, Program, Refused, Set},
    trust::TrustFiles,
};
use protocol::{
    pki::{Term, Trust},
    time::Timestamp,
};
use tokio::task::spawn_blocking;

use crate::{config::Config, merchant::Merchant, own::OwnKeys};

/// What is replaced, and where from.
pub(crate) struct Reload {
    pub(crate) merchant: Arc<Merchant>,
    /// What TLS shows, to payers and to the gateway.
    pub(crate) identity: Identity,
    pub(crate) path: PathBuf,
    /// What is in force of it: trust, certificates and keys.
    pub(crate) config: Arc<Config>,
    /// How long the certificates in use are good.
    pub(crate) terms: Vec<Term>,
}

/// The files that are watched.
pub(crate) fn files(config: &Config) -> Files {
    Files::new(&config.trust, config.directory(), key_files(config))
}

fn key_files(config: &Config) -> Vec<PathBuf> {
    [&config.tls, &config.signing]
        .into_iter()
        .flat_map(|files| [&files.certificate, &files.key])
        .map(|file| config.path(file))
        .collect()
}

impl Program for Reload {
    fn read_configuration(&mut self) -> Result<(), Refused> {
        self.config = Arc::new(Config::read(&self.path)?);
        Ok(())
    }

    fn trust_files(&self) -> (TrustFiles, PathBuf) {
        (
            self.config.trust.clone(),
            self.config.directory().to_owned(),
        )
    }

    fn trust(&self) -> &SharedTrust {
        &self.merchant.trust
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn key_files(&self) -> Vec<PathBuf> {
        key_files(&self.config)
    }

    async fn take_keys_over(&mut self, trust: &Arc<Trust>) -> Result<(), Refused> {
        let (config, trust) = (Arc::clone(&self.config), Arc::clone(trust));
        let keys = spawn_blocking(move || OwnKeys::read(&config, &trust)).await??;
        self.identity.replace(&keys.identity);
        self.merchant.replace_signing(keys.signing);
        self.terms = keys.terms;
        Ok(())
    }

    fn terms(&self) -> Vec<Term> {
        self.terms.clone()
    }

    // The merchant has no metrics: its log tells what ends soon, and what was refused.
    fn count_terms(&mut self, _: Vec<Term>, _: Timestamp) {}

    fn count_set(&self, _: Set, _: bool) {}
}
