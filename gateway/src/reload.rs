//! What the gateway takes over while requests go on, and how: see [`mtls::reload`].

use std::{path::PathBuf, sync::Arc, time::Duration};

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

use crate::{config::Config, evidence_key, gateway::Gateway, keys::GatewayKeys, monitoring};

/// What is replaced, and where from.
pub(crate) struct Reload {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) trust: SharedTrust,
    /// What the TLS listeners show.
    pub(crate) identity: Identity,
    pub(crate) handshake: Duration,
    pub(crate) path: PathBuf,
    /// What is in force of it: keys and trust.
    pub(crate) config: Arc<Config>,
    /// Of which it was counted what time is left.
    pub(crate) counted: Vec<Term>,
}

/// The files that are watched.
pub(crate) fn files(config: &Config) -> Files {
    Files::new(&config.trust, config.directory(), key_files(config))
}

fn key_files(config: &Config) -> Vec<PathBuf> {
    let certificates = config.keys.entries().iter().filter_map(|entry| {
        let certificate = entry.certificate.as_deref()?;
        Some(config.path(certificate))
    });
    certificates.collect()
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
        &self.trust
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn key_files(&self) -> Vec<PathBuf> {
        key_files(&self.config)
    }

    async fn take_keys_over(&mut self, trust: &Arc<Trust>) -> Result<(), Refused> {
        let (config, former) = (Arc::clone(&self.config), self.gateway.keys());
        let (trust, handshake) = (Arc::clone(trust), self.handshake);
        // Keys are found and used on threads that may block.
        let open = move || -> Result<_, Refused> {
            let now = mtls::now();
            let mut keys = GatewayKeys::open(&config, former.tokens.clone(), &trust, now)?;
            keys.keep_for_a_while(&former, now);
            let identity = keys.tls_identity(handshake)?;
            Ok((keys, identity))
        };
        let (keys, identity) = spawn_blocking(open).await??;
        self.gateway.replace_keys(keys);
        self.identity.replace(&identity);
        self.wrap_anew().await;
        Ok(())
    }

    fn terms(&self) -> Vec<Term> {
        self.gateway.keys().terms()
    }

    fn count_terms(&mut self, terms: Vec<Term>, now: Timestamp) {
        monitoring::days_left(&terms, &self.counted, now);
        self.counted = terms;
    }

    fn count_set(&self, set: Set, is_taken: bool) {
        monitoring::reloaded(set, is_taken);
    }
}

impl Reload {
    /// What a former data key wrapped. The former one stays until that is done.
    async fn wrap_anew(&self) {
        match evidence_key::wrap_anew(&*self.gateway.store, &self.gateway.keys()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "keys for evidence are under the active data key"),
            Err(error) => tracing::error!("{error}; it is tried again with the next keys"),
        }
    }
}
