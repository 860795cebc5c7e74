//! What a program keeps current while requests go on: CAs and CRLs, its own certificates and keys are taken over when
//! their files are replaced; CRLs are fetched into them, and the TLS certificate is stapled to. At SIGHUP the configuration
//! is read anew for which files these are.
//!
//! A new set is checked whole before it replaces the old one; one that is refused is tried again, as the rest of it may
//! come later. Trust goes first, and alone: whom a CA revoked has to be known even if a certificate of ours is no
//! longer good.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use protocol::{
    pki::{Term, Trust},
    time::Timestamp,
};
use tokio::{
    signal::unix::Signal,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    SharedTrust, crl_fetch,
    identity::Identity,
    now, staple,
    trust::{TrustFiles, TrustFilesError},
    watch::Watch,
};

/// After this a set that was refused is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How often it is looked what time certificates and CRLs have left.
const LOOK: Duration = Duration::from_secs(60);

/// How often it is said that one of them ends soon: at every so manyth look.
const LOOKS_PER_WARNING: u32 = 60;

/// Why a set is not taken over.
pub type Refused = Box<dyn Error + Send + Sync>;

/// What is taken over whole, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// CAs and CRLs.
    Trust,
    /// Keys and certificates of our own.
    Keys,
}

impl Set {
    /// As metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Set::Trust => "trust",
            Set::Keys => "keys",
        }
    }

    const fn in_use(self) -> &'static str {
        match self {
            Set::Trust => "the configured trust is in use",
            Set::Keys => "the configured keys are in use",
        }
    }

    const fn stays(self) -> &'static str {
        match self {
            Set::Trust => "what is trusted stays as it was",
            Set::Keys => "the keys stay as they were",
        }
    }
}

/// A program that takes files over.
pub trait Program: Send + 'static {
    /// Reads the configuration anew. What is not told of here waits for a restart.
    ///
    /// # Errors
    /// When it can't be used; then it stays as it was.
    fn read_configuration(&mut self) -> Result<(), Refused>;

    /// Where trust is read from: the files, and where their relative paths start.
    fn trust_files(&self) -> (TrustFiles, PathBuf);

    /// Who is trusted.
    fn trust(&self) -> &SharedTrust;

    /// What TLS shows.
    fn identity(&self) -> &Identity;

    /// The files of our own certificates and keys.
    fn key_files(&self) -> Vec<PathBuf>;

    /// Takes them over, judged by this trust: all, or none.
    fn take_keys_over(
        &mut self,
        trust: &Arc<Trust>,
    ) -> impl Future<Output = Result<(), Refused>> + Send;

    /// How long our own certificates are good.
    fn terms(&self) -> Vec<Term>;

    /// Counts what time is left of everything.
    fn count_terms(&mut self, terms: Vec<Term>, now: Timestamp);

    /// Counts that a set was taken over, or refused.
    fn count_set(&self, set: Set, is_taken: bool);
}

/// The files of what is in force.
pub struct Files {
    trust: Watch,
    keys: Watch,
}

impl Files {
    /// As they are now: to be called before they are read, so that no change is missed. `base` is where the relative paths
    /// of trust start.
    pub fn new(trust: &TrustFiles, base: &Path, keys: Vec<PathBuf>) -> Self {
        Self {
            trust: Watch::new(trust.paths(base)),
            keys: Watch::new(keys),
        }
    }
}

/// Why each set was refused last, if it was.
#[derive(Default)]
struct RefusedSets {
    trust: Option<String>,
    keys: Option<String>,
}

/// Keeps a program current until it is dropped.
pub async fn keep_current<P: Program>(program: P, files: Files, hang_up: Signal) {
    let (sources, base) = program.trust_files();
    let trust = || SharedTrust::clone(program.trust());
    let fetching = crl_fetch::keep_young(sources.fetch, base, trust());
    let stapling = staple::keep_stapled(program.identity().clone(), trust());
    tokio::join!(fetching, stapling, take_over(program, files, hang_up));
}

async fn take_over<P: Program>(mut program: P, mut files: Files, mut hang_up: Signal) {
    let mut refused = RefusedSets::default();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks_made = 0u32;
    loop {
        let is_refused = refused.trust.is_some() || refused.keys.is_some();
        tokio::select! {
            Some(()) = hang_up.recv() => {
                if let Err(error) = program.read_configuration() {
                    tracing::error!("{error}; the configuration stays as it was");
                    continue;
                }
                let (trust, base) = program.trust_files();
                files = Files::new(&trust, &base, program.key_files());
                take_trust_over(&program, &mut refused.trust).await;
                take_keys_over(&mut program, &mut refused.keys).await;
            }
            () = files.trust.changed() => {
                take_trust_over(&program, &mut refused.trust).await;
                // What is ours may be refused by it, or no longer be.
                take_keys_over(&mut program, &mut refused.keys).await;
            }
            () = files.keys.changed() => take_keys_over(&mut program, &mut refused.keys).await,
            () = sleep(AGAIN), if is_refused => {
                let is_trust_s = refused.trust.is_some();
                if is_trust_s {
                    take_trust_over(&program, &mut refused.trust).await;
                }
                if refused.keys.is_some() || (is_trust_s && refused.trust.is_none()) {
                    take_keys_over(&mut program, &mut refused.keys).await;
                }
            }
            _ = looks.tick() => {
                look(&mut program, looks_made.is_multiple_of(LOOKS_PER_WARNING));
                looks_made = looks_made.wrapping_add(1);
            }
        }
    }
}

async fn take_trust_over<P: Program>(program: &P, refused: &mut Option<String>) {
    let (files, base) = program.trust_files();
    let trust = SharedTrust::clone(program.trust());
    // Reading many entries takes its time.
    let outcome = spawn_blocking(move || files.reload(&base, &trust, now())).await;
    let outcome: Result<(), Refused> = match outcome {
        Ok(reloaded) => reloaded.map_err(TrustFilesError::into),
        Err(error) => Err(error.into()),
    };
    tell(program, Set::Trust, refused, outcome);
}

async fn take_keys_over<P: Program>(program: &mut P, refused: &mut Option<String>) {
    let trust = program.trust().load_full();
    let outcome = program.take_keys_over(&trust).await;
    // Counted by the time it is told.
    look(program, false);
    tell(program, Set::Keys, refused, outcome);
}

/// Says what became of a set: a reason for not taking it once, not at each try.
fn tell<P: Program>(
    program: &P,
    set: Set,
    refused: &mut Option<String>,
    outcome: Result<(), Refused>,
) {
    program.count_set(set, outcome.is_ok());
    match outcome.map_err(|reason| reason.to_string()) {
        Ok(()) => {
            tracing::info!("{}", set.in_use());
            *refused = None;
        }
        Err(reason) if refused.as_ref() == Some(&reason) => {}
        Err(reason) => {
            tracing::error!("{reason}; {}", set.stays());
            *refused = Some(reason);
        }
    }
}

fn look<P: Program>(program: &mut P, warn: bool) {
    let (trust, own, now) = (program.trust().load_full(), program.terms(), now());
    if warn {
        crate::trust::look_ahead(&trust, &own, now);
    }
    program.count_terms(trust.terms().chain(own).collect(), now);
}
