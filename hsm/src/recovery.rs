//! Brings tokens back without a restart: one thread per module looks after its tokens.
//!
//! It has the canaries of all keys sing once in a while, so that a token that goes away while nobody uses it is
//! noticed. A token that is away is tried in two ways: a new session, with a login if that is lost, and the keys found
//! anew; and, where that does not do, C_Finalize and C_Initialize of its module, which is all that helps some modules,
//! while nobody is inside. Either way the keys are held against their policies again. A PIN that is refused ends it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::{
    error::StartError,
    key::Key,
    keyring::KeyRing,
    module::Module,
    token::{Condition, Live, Token, Watched},
};

/// How often the canaries sing while all is well.
const CANARIES: Duration = Duration::from_secs(2);

/// Between two tries, at first and at most: so that a token that is back is used within a few seconds.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Initialising a module anew disturbs its other tokens: while one of them works, only every so manyth try does it.
const TRIES_PER_INITIALIZE: u32 = 4;

/// Looks after the tokens of one module.
pub(crate) struct Recovery {
    pub(crate) module: Arc<Module>,
    pub(crate) tokens: Vec<Arc<Token>>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) wake: Receiver<()>,
    /// When this thread went into the module, as workers note it.
    pub(crate) call: Arc<AtomicU64>,
    pub(crate) begun: Instant,
    /// Whether the set is dropped.
    pub(crate) is_ending: Arc<AtomicBool>,
    /// Tells those who wait for a token.
    pub(crate) changed: Box<dyn Fn() + Send>,
}

impl Recovery {
    /// Works until its set is dropped.
    pub(crate) fn run(self) {
        let mut pause = PAUSE_MIN;
        let mut tries = 0;
        loop {
            let wait = if self.away().next().is_some() {
                pause
            } else {
                CANARIES
            };
            let woken = self.wake.recv_timeout(wait);
            if woken == Err(RecvTimeoutError::Disconnected)
                || self.is_ending.load(Ordering::Acquire)
            {
                return;
            }
            if self.is_dead() {
                continue;
            }
            let _call = Watched::begin(&self.call, self.begun);
            self.listen();
            if self.away().next().is_none() {
                (pause, tries) = (PAUSE_MIN, 0);
                continue;
            }
            tries += 1;
            self.bring_back(tries);
            pause = (pause * 2).min(PAUSE_MAX);
            (self.changed)();
        }
    }

    /// Has the canaries of tokens that are up sing.
    fn listen(&self) {
        let keys = self.keys.all();
        for token in self.tokens.iter().filter(|token| token.is_up()) {
            let live = token.live();
            match live.as_ref().map(|live| live.canaries(&keys)) {
                Some(Ok(())) => token.metrics().canaries_sang(),
                Some(Err(reason)) => token.is_away(&reason),
                None => token.is_away("it was not opened yet"),
            }
        }
    }

    fn bring_back(&self, tries: u32) {
        let keys = self.keys.all();
        for token in self.away() {
            let mut live = token.quiesced();
            settle(token, &mut live, token.connect(&keys));
        }
        let is_one_up = self.tokens.iter().any(|token| token.is_up());
        let is_its_turn = !is_one_up || tries.is_multiple_of(TRIES_PER_INITIALIZE);
        if self.away().next().is_some() && is_its_turn {
            self.initialize_anew(&keys);
        }
    }

    /// Initialises the module anew, and opens all tokens in it.
    fn initialize_anew(&self, keys: &[Arc<Key>]) {
        // In one order always, and by this thread alone.
        let mut quiesced: Vec<_> = self.tokens.iter().map(|token| token.quiesced()).collect();
        for live in &mut quiesced {
            **live = None;
        }
        let initialized = self.module.initialize_anew();
        tracing::info!(
            module = %self.module.path().display(),
            generation = self.module.generation(),
            "the module was initialised anew"
        );
        for (token, live) in self.tokens.iter().zip(&mut quiesced) {
            if matches!(token.condition(), Condition::PinRefused(_)) {
                continue;
            }
            let connected = match &initialized {
                Ok(()) => token.connect(keys),
                Err(error) => {
                    token.is_away(&error.to_string());
                    continue;
                }
            };
            settle(token, live, connected);
        }
    }

    fn away(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens
            .iter()
            .filter(|token| matches!(token.condition(), Condition::Away { .. }))
    }

    fn is_dead(&self) -> bool {
        self.tokens
            .iter()
            .any(|token| token.condition() == Condition::Dead)
    }
}

/// Notes what connecting came to.
fn settle(token: &Token, live: &mut Option<Live>, connected: Result<Live, StartError>) {
    match connected {
        Ok(connected) => {
            *live = Some(connected);
            token.metrics().canaries_sang();
            token.came_up();
        }
        Err(error @ (StartError::PinRefused { .. } | StartError::PinAtRisk { .. })) => {
            token.refused_pin(&error.to_string());
        }
        Err(error) => token.is_away(&error.to_string()),
    }
}
