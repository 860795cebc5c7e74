//! What is taken over while requests go on: trust, certificates and keys, when their files are replaced; at SIGHUP the
//! configuration is read anew for which files they are. What else changed in it waits for a restart.
//!
//! A new set is checked whole before it replaces the old one; one that is refused is tried again, as the rest of it may
//! come later. Trust goes first, and alone: whom a CA revoked has to be known even if a certificate of ours is no
//! longer good.

use std::{error::Error, path::PathBuf, sync::Arc, time::Duration};

use mtls::{identity::Identity, watch::Watch};
use protocol::pki::Term;
use tokio::{
    signal::unix::Signal,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{config::Config, merchant::Merchant, own::OwnKeys};

/// After this a set that was refused is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How often it is said what ends soon.
const WARN: Duration = Duration::from_secs(3600);

/// The files that may be replaced.
pub(crate) struct Files {
    trust: Watch,
    keys: Watch,
}

impl Files {
    /// To be called before they are read, so that no change is missed.
    pub(crate) fn of(config: &Config) -> Self {
        let keys = [&config.tls, &config.signing]
            .into_iter()
            .flat_map(|files| [&files.certificate, &files.key]);
        Self {
            trust: Watch::new(config.trust.paths(config.directory())),
            keys: Watch::new(keys.map(|file| config.path(file)).collect()),
        }
    }
}

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

impl Reload {
    /// Works until it is aborted.
    pub(crate) async fn run(mut self, mut files: Files, mut hang_up: Signal) {
        let mut warnings = interval(WARN);
        warnings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut trust, mut keys) = (None, None);
        loop {
            let is_refused = trust.is_some() || keys.is_some();
            tokio::select! {
                Some(()) = hang_up.recv() => {
                    match Config::read(&self.path) {
                        Ok(config) => self.config = Arc::new(config),
                        Err(error) => {
                            tracing::error!("{error}; the configuration stays as it was");
                            continue;
                        }
                    }
                    files = Files::of(&self.config);
                    self.take_trust_over(&mut trust).await;
                    self.take_keys_over(&mut keys).await;
                }
                () = files.trust.changed() => {
                    self.take_trust_over(&mut trust).await;
                    // What is ours may be refused by it, or no longer be.
                    self.take_keys_over(&mut keys).await;
                }
                () = files.keys.changed() => self.take_keys_over(&mut keys).await,
                () = sleep(AGAIN), if is_refused => {
                    if trust.is_some() {
                        self.take_trust_over(&mut trust).await;
                    }
                    self.take_keys_over(&mut keys).await;
                }
                _ = warnings.tick() => {
                    mtls::trust::look_ahead(&self.merchant.trust(), &self.terms, mtls::now());
                }
            }
        }
    }

    async fn take_trust_over(&self, refused: &mut Option<String>) {
        let (config, merchant) = (Arc::clone(&self.config), Arc::clone(&self.merchant));
        let outcome = spawn_blocking(move || {
            let (base, now) = (config.directory(), mtls::now());
            config.trust.reload(base, &merchant.trust, now)
        });
        told("CAs and CRLs", refused, outcome.await.ok());
    }

    async fn take_keys_over(&mut self, refused: &mut Option<String>) {
        let (config, merchant) = (Arc::clone(&self.config), Arc::clone(&self.merchant));
        let outcome = spawn_blocking(move || OwnKeys::read(&config, &merchant.trust()));
        let outcome = outcome.await.ok().map(|read| {
            read.map(|keys| {
                self.identity.replace(&keys.identity);
                self.merchant.replace_signing(keys.signing);
                self.terms = keys.terms;
            })
        });
        told("the keys", refused, outcome);
    }
}

/// Says what became of a set: a reason for not taking it once, not at each try.
fn told<E: Error>(set: &str, refused: &mut Option<String>, outcome: Option<Result<(), E>>) {
    let reason = match outcome {
        Some(Ok(())) => {
            tracing::info!("{set} of the files are in use");
            *refused = None;
            return;
        }
        Some(Err(reason)) => reason.to_string(),
        None => "it could not be read to its end".to_owned(),
    };
    if refused.as_ref() != Some(&reason) {
        tracing::error!("{reason}; {set} in use stay as they were");
        *refused = Some(reason);
    }
}
