//! What is taken over while requests go on: trust and certificates when their files are replaced; at SIGHUP the
//! configuration is read anew, and its keys are taken over as well. What else changed in it waits for a restart.
//!
//! A new set is checked whole before it replaces the old one; one that is refused is tried again, as the rest of it may
//! come later. Trust goes first, and alone: whom a CA revoked has to be known even if a certificate of ours is no
//! longer good.

use std::{error::Error, path::PathBuf, sync::Arc, time::Duration};

use mtls::{SharedTrust, identity::Identity, watch::Watch};
use protocol::pki::Term;
use tokio::{
    signal::unix::Signal,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    config::Config, evidence_key, gateway::Gateway, keys::GatewayKeys, monitoring, monitoring::Set,
};

/// After this a set that was refused is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How often the days that certificates and CRLs have left are counted.
const COUNT: Duration = Duration::from_secs(60);

/// How often it is said that one of them ends soon: every so manyth count.
const COUNTS_PER_WARNING: u32 = 60;

type Refused = Box<dyn Error + Send + Sync>;

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
}

/// The files of what is in force, and what of it was refused.
pub(crate) struct Files {
    trust: Watch,
    certificates: Watch,
    refused_trust: Option<String>,
    refused_keys: Option<String>,
}

impl Files {
    /// To be called before they are read, so that no change is missed.
    pub(crate) fn of(config: &Config) -> Self {
        let certificates = config.keys.entries().iter().filter_map(|entry| {
            let certificate = entry.certificate.as_deref()?;
            Some(config.path(certificate))
        });
        Self {
            trust: Watch::new(config.trust.paths(config.directory())),
            certificates: Watch::new(certificates.collect()),
            refused_trust: None,
            refused_keys: None,
        }
    }
}

impl Reload {
    /// Works until it is aborted.
    pub(crate) async fn run(mut self, mut files: Files, mut hang_up: Signal) {
        let mut counts = interval(COUNT);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut counted, mut counts_made) = (Vec::new(), 0u32);
        loop {
            let is_refused = files.refused_trust.is_some() || files.refused_keys.is_some();
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
                    self.take_trust_over(&mut files).await;
                    self.take_keys_over(&mut files).await;
                }
                () = files.trust.changed() => {
                    self.take_trust_over(&mut files).await;
                    // What is ours may be refused by it, or no longer be.
                    self.take_keys_over(&mut files).await;
                }
                () = files.certificates.changed() => self.take_keys_over(&mut files).await,
                () = sleep(AGAIN), if is_refused => {
                    if files.refused_trust.is_some() {
                        self.take_trust_over(&mut files).await;
                    }
                    self.take_keys_over(&mut files).await;
                }
                _ = counts.tick() => {
                    self.count(&mut counted, counts_made.is_multiple_of(COUNTS_PER_WARNING));
                    counts_made = counts_made.wrapping_add(1);
                }
            }
        }
    }

    async fn take_trust_over(&self, files: &mut Files) {
        let (config, trust) = (Arc::clone(&self.config), SharedTrust::clone(&self.trust));
        let outcome = spawn_blocking(move || {
            config
                .trust
                .reload(config.directory(), &trust, mtls::now())
                .map_err(Refused::from)
        });
        told(Set::Trust, &mut files.refused_trust, outcome.await.ok());
    }

    async fn take_keys_over(&self, files: &mut Files) {
        let (config, gateway) = (Arc::clone(&self.config), Arc::clone(&self.gateway));
        let (identity, handshake) = (self.identity.clone(), self.handshake);
        // Keys are found and used on threads that may block.
        let outcome = spawn_blocking(move || take_over(&config, &gateway, &identity, handshake));
        let outcome = outcome.await.ok();
        let is_done = matches!(outcome, Some(Ok(())));
        told(Set::Keys, &mut files.refused_keys, outcome);
        if is_done {
            self.wrap_anew().await;
        }
    }

    /// What a former data key wrapped. The former one stays until that is done.
    async fn wrap_anew(&self) {
        match evidence_key::wrap_anew(&*self.gateway.store, &self.gateway.keys()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "keys for evidence are under the active data key"),
            Err(error) => tracing::error!("{error}; it is tried again with the next keys"),
        }
    }

    /// Counts the days left, and warns of what ends soon.
    fn count(&self, counted: &mut Vec<Term>, warn: bool) {
        let now = mtls::now();
        let (trust, keys) = (self.gateway.trust(), self.gateway.keys());
        let terms: Vec<Term> = trust.terms().chain(keys.terms()).collect();
        monitoring::days_left(&terms, counted, now);
        if warn {
            mtls::trust::look_ahead(&trust, &keys.terms(), now);
        }
    }
}

/// All keys with their certificates, or none.
fn take_over(
    config: &Config,
    gateway: &Gateway,
    identity: &Identity,
    handshake: Duration,
) -> Result<(), Refused> {
    let former = gateway.keys();
    let now = mtls::now();
    let mut keys = GatewayKeys::open(config, former.tokens.clone(), &gateway.trust(), now)?;
    keys.keep_for_a_while(&former, now);
    let tls = keys.tls_identity(handshake)?;
    gateway.replace_keys(keys);
    identity.replace(&tls);
    Ok(())
}

/// Says what became of a set: a reason for not taking it once, not at each try.
fn told(set: Set, refused: &mut Option<String>, outcome: Option<Result<(), Refused>>) {
    let reason = match outcome {
        Some(Ok(())) => {
            tracing::info!("{}", set.in_use());
            monitoring::reloaded(set, true);
            *refused = None;
            return;
        }
        Some(Err(reason)) => reason.to_string(),
        None => "it could not be read to its end".to_owned(),
    };
    monitoring::reloaded(set, false);
    if refused.as_ref() != Some(&reason) {
        tracing::error!("{reason}; {}", set.stays());
        *refused = Some(reason);
    }
}
