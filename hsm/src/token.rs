//! One token of a set: logged in, its keys found, its workers at work; or away, and being brought back.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cryptoki::{
    error::{Error, RvError},
    session::{Session, SessionState, UserType},
    slot::Slot,
};

use crate::{
    error::StartError,
    key::{Held, Key, KeyNumber},
    metering::TokenMetrics,
    module::{Module, ModuleSession},
    pin::{Pin, PinSource},
    queue::Queue,
    uri::Pkcs11Uri,
    waiver::Waivers,
    worker::Job,
};

/// Which token, and how it is worked with.
pub struct TokenConfig {
    /// The PKCS#11 module, a shared library.
    pub module: PathBuf,
    /// Which of its tokens.
    pub uri: Pkcs11Uri,
    /// Where its PIN is.
    pub pin: PinSource,
    /// PKCS#11 sessions that work at once, a thread each.
    pub sessions: usize,
    /// Operations that may wait; more are refused.
    pub queue_max: usize,
    /// What its keys may lack.
    pub waivers: Waivers,
}

/// What a token is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It works.
    Up,
    /// It does not, since then and because of this; it is tried again and again.
    Away {
        /// Since when.
        since: Instant,
        /// What went wrong last.
        reason: String,
    },
    /// It refused the PIN, or the next wrong one would lock it: it is left alone until a restart.
    PinRefused(String),
    /// A call does not come back: the module is left alone, the process has to be restarted.
    Dead,
}

/// A token of the set.
pub(crate) struct Token {
    uri: Pkcs11Uri,
    /// As log and metrics call it.
    name: String,
    module: Arc<Module>,
    /// Kept to log in again with, never to try once more.
    pin: Pin,
    waivers: Waivers,
    queue: Queue<Job>,
    /// Read by workers while they are in the module; written by who brings the token back, or looks for a key.
    live: RwLock<Option<Live>>,
    condition: Mutex<Condition>,
    /// Whether the condition is `Up`, for those in a hurry.
    is_up: AtomicBool,
    lives: AtomicU64,
    /// Operations that wait or are under way.
    outstanding: AtomicUsize,
    /// When each worker went into the module, in ms of the set; 0 when it is not inside.
    calls: Box<[AtomicU64]>,
    begun: Instant,
    metrics: TokenMetrics,
    wake: crossbeam_channel::Sender<()>,
}

/// A token from a login to the next: handles mean nothing outside of it.
pub(crate) struct Live {
    life: u64,
    slot: Slot,
    login: Mutex<ModuleSession>,
    keys: Vec<(KeyNumber, Held)>,
}

impl Live {
    pub(crate) fn life(&self) -> u64 {
        self.life
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn held(&self, key: KeyNumber) -> Option<Held> {
        self.keys
            .iter()
            .find(|(number, _)| *number == key)
            .map(|(_, held)| *held)
    }

    pub(crate) fn login_session(&self) -> &Mutex<ModuleSession> {
        &self.login
    }

    /// Finds a key that it does not have yet.
    fn add(&mut self, key: &Key, waivers: &Waivers) -> Result<(), StartError> {
        if self.held(key.number()).is_some() {
            return Ok(());
        }
        let held = {
            let login = self.login();
            key.find(login.get().ok_or(StartError::SessionGone)?, waivers)?
        };
        self.keys.push((key.number(), held));
        Ok(())
    }

    /// Has the canary of each key sing.
    pub(crate) fn canaries(&self, keys: &[Arc<Key>]) -> Result<(), String> {
        let login = self.login();
        let session = login.get().ok_or("its session is gone")?;
        for key in keys {
            let held = self
                .held(key.number())
                .ok_or_else(|| format!("it has no key {}", key.name()))?;
            key.canary(session, held)
                .map_err(|error| format!("key {}: {error}", key.name()))?;
        }
        Ok(())
    }
}

impl Token {
    pub(crate) fn new(
        config: &TokenConfig,
        wake: crossbeam_channel::Sender<()>,
        begun: Instant,
    ) -> Result<Self, StartError> {
        let module = Module::load(&config.module)?;
        let pin = config.pin.read()?;
        let name = config
            .uri
            .token()
            .or(config.uri.serial())
            .map_or_else(|| config.uri.to_string(), str::to_owned);
        let metrics = TokenMetrics::new(&name);
        Ok(Self {
            uri: config.uri.clone(),
            name,
            module,
            pin,
            waivers: config.waivers.clone(),
            queue: Queue::new(config.queue_max),
            live: RwLock::new(None),
            condition: Mutex::new(Condition::Away {
                since: begun,
                reason: "it was not opened yet".to_owned(),
            }),
            is_up: false.into(),
            lives: AtomicU64::new(0),
            outstanding: AtomicUsize::new(0),
            calls: (0..config.sessions.max(1))
                .map(|_| AtomicU64::new(0))
                .collect(),
            begun,
            metrics,
            wake,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn module(&self) -> &Arc<Module> {
        &self.module
    }

    pub(crate) fn queue(&self) -> &Queue<Job> {
        &self.queue
    }

    pub(crate) fn metrics(&self) -> &TokenMetrics {
        &self.metrics
    }

    pub(crate) fn workers(&self) -> usize {
        self.calls.len()
    }

    /// Operations that wait or are under way.
    pub(crate) fn outstanding(&self) -> &AtomicUsize {
        &self.outstanding
    }

    /// For a worker: while it holds this, the token is not brought back, nor its module initialised anew.
    pub(crate) fn live(&self) -> RwLockReadGuard<'_, Option<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no worker is inside the module for this token, and keeps them out.
    pub(crate) fn quiesced(&self) -> RwLockWriteGuard<'_, Option<Live>> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    pub(crate) fn condition(&self) -> Condition {
        self.lock_condition().clone()
    }

    /// Why it can't be used.
    pub(crate) fn reason(&self) -> String {
        match self.condition() {
            Condition::Up => "it was away a moment ago".to_owned(),
            Condition::Away { reason, .. } | Condition::PinRefused(reason) => reason,
            Condition::Dead => "a call does not come back".to_owned(),
        }
    }

    /// What a worker found: in this life, the token does not do what it should.
    pub(crate) fn suspect(&self, life: u64, reason: &str) {
        // A later life is not to blame.
        if self.lives.load(Ordering::Acquire) == life && self.is_up() {
            self.is_away(reason);
        }
        // Full means that it was called already.
        let _ = self.wake.try_send(());
    }

    /// It does not work. What it was before stays the reason of those who found it so.
    pub(crate) fn is_away(&self, reason: &str) {
        let mut condition = self.lock_condition();
        let since = match &*condition {
            Condition::Up => {
                tracing::warn!(token = self.name, reason, "the token is away");
                Instant::now()
            }
            Condition::Away { since, .. } => *since,
            Condition::PinRefused(_) | Condition::Dead => return,
        };
        *condition = Condition::Away {
            since,
            reason: reason.to_owned(),
        };
        self.is_up.store(false, Ordering::Release);
        self.metrics.is_up(false);
    }

    /// It works.
    pub(crate) fn came_up(&self) {
        let mut condition = self.lock_condition();
        if let Condition::Away { since, .. } = &*condition {
            if self.lives.load(Ordering::Acquire) > 1 {
                let away_ms = since.elapsed().as_millis();
                tracing::info!(token = self.name, away_ms, "the token is back");
                self.metrics.recovered();
            }
            *condition = Condition::Up;
            self.is_up.store(true, Ordering::Release);
            self.metrics.is_up(true);
        }
    }

    /// It refused the PIN, and is not asked again.
    pub(crate) fn refused_pin(&self, reason: &str) {
        tracing::error!(
            token = self.name,
            reason,
            "the token refused the PIN; it is left alone until a restart"
        );
        *self.lock_condition() = Condition::PinRefused(reason.to_owned());
        self.is_up.store(false, Ordering::Release);
        self.metrics.is_up(false);
    }

    /// A call does not come back. Who waits is told.
    pub(crate) fn died(&self) {
        *self.lock_condition() = Condition::Dead;
        self.is_up.store(false, Ordering::Release);
        self.metrics.is_up(false);
        for job in self.queue.close_and_empty() {
            job(Err(self.reason()));
        }
    }

    /// Finds the token, logs in if that is needed, finds every key and holds it against its policy.
    pub(crate) fn connect(&self, keys: &[Arc<Key>]) -> Result<Live, StartError> {
        let slot = self.module.find_token(&self.uri)?;
        let session = log_in(&self.module, slot, &self.pin)?;
        self.metrics.logged_in(self.module.generation());
        let mut live = Live {
            life: self.lives.fetch_add(1, Ordering::AcqRel) + 1,
            slot,
            login: Mutex::new(session),
            keys: Vec::new(),
        };
        for key in keys {
            self.add(&mut live, key)?;
        }
        Ok(live)
    }

    /// Finds a key that a life does not have yet, and says how it opens.
    pub(crate) fn add(&self, live: &mut Live, key: &Key) -> Result<(), StartError> {
        live.add(key, &self.waivers)?;
        if let Some(opening) = live.held(key.number()).and_then(|held| held.opening) {
            self.metrics.opens(key.name(), opening);
            tracing::info!(
                token = self.name,
                key = key.name(),
                "opens: {}",
                opening.description()
            );
        }
        Ok(())
    }

    /// Notes that a worker is inside the module, until what it gives is dropped.
    pub(crate) fn watched(&self, worker: usize) -> Watched<'_> {
        Watched::begin(&self.calls[worker], self.begun)
    }

    /// For how long a worker has been inside at most.
    pub(crate) fn longest_call(&self) -> Duration {
        let now = self.begun.elapsed().as_millis() as u64;
        let longest = self
            .calls
            .iter()
            .map(|began| began.load(Ordering::Relaxed))
            .filter(|&began| began != 0)
            .map(|began| now.saturating_sub(began))
            .max();
        Duration::from_millis(longest.unwrap_or(0))
    }

    fn lock_condition(&self) -> MutexGuard<'_, Condition> {
        // It is replaced whole.
        self.condition
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody is inside a module.
pub(crate) struct Watched<'a>(&'a AtomicU64);

impl<'a> Watched<'a> {
    pub(crate) fn begin(began: &'a AtomicU64, begun: Instant) -> Self {
        // Never 0, which is nobody.
        began.store(begun.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        Self(began)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Logs in as the user, after looking whether a wrong PIN would lock the token. Where the process is logged in
/// already, the PIN is not used.
pub(crate) fn log_in(
    module: &Arc<Module>,
    slot: Slot,
    pin: &Pin,
) -> Result<ModuleSession, StartError> {
    let info = module.functions().get_token_info(slot)?;
    let token = info.label().to_owned();
    let at_risk = |state| StartError::PinAtRisk {
        token: token.clone(),
        state,
    };
    if info.user_pin_locked() {
        return Err(at_risk("is locked"));
    }
    if info.user_pin_final_try() {
        return Err(at_risk("has one try left"));
    }
    let opened = module.open_session(slot)?;
    let session = opened.get().ok_or(StartError::SessionGone)?;
    let state = session.get_session_info()?.session_state();
    if !matches!(state, SessionState::RwUser | SessionState::RoUser) {
        log_in_once(session, &token, pin)?;
    }
    Ok(opened)
}

fn log_in_once(session: &Session, token: &str, pin: &Pin) -> Result<(), StartError> {
    match session.login(UserType::User, Some(pin.auth())) {
        // Another session of this process did it, with the same PIN or not at all.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            code @ (RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked
            | RvError::UserPinNotInitialized),
            _,
        )) => Err(StartError::PinRefused {
            token: token.to_owned(),
            reason: code.to_string(),
        }),
        Err(error) => Err(error.into()),
    }
}
