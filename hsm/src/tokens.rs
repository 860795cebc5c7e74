//! The tokens that have the same keys: opened together, chosen from for each operation, looked after.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use tokio::sync::oneshot;

use crate::{
    error::{HsmError, StartError},
    key::Key,
    keyring::KeyRing,
    keys::{AgreementKey, DataKey, IndexKey, SigningKey},
    metering::OperationMetrics,
    module::Module,
    policy::KeyUse,
    queue::{NotTaken, WorkClass},
    recovery::Recovery,
    token::{Condition, Token, TokenConfig},
    uri::Pkcs11Uri,
    watchdog::{self, News},
    worker::{self, Blocking, Failure, Job, OneShot, Operation, Reply},
};

/// An operation is tried once, and once more elsewhere or later.
const TRIES: usize = 2;

/// For how long a token that went away is waited for, when there is no other. After that, operations fail at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tokens that have the same keys; they work until the last clone of this and of their keys is gone.
#[derive(Clone)]
pub struct Tokens(Arc<Set>);

struct Set {
    tokens: Vec<Arc<Token>>,
    keys: Arc<KeyRing>,
    news: Arc<News>,
    /// Callers that wait until a token is back.
    waiting: AtomicUsize,
    waiting_max: usize,
    is_ending: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Wakes those who look after tokens.
    wakers: Vec<Sender<()>>,
}

/// A token as an operator sees it.
#[derive(Debug, Clone)]
pub struct TokenStatus {
    /// What it is called.
    pub name: String,
    /// What it is like.
    pub condition: Condition,
    /// How often its module was initialised.
    pub generation: u64,
}

impl Tokens {
    /// Loads the modules, finds the tokens, logs in once to each, starts workers. One that can't be opened now is tried
    /// again later, if another one can.
    ///
    /// A call that takes longer than `call_max` is taken for stuck: see [`Tokens::died`].
    ///
    /// # Errors
    /// When none can be opened, or one refuses its PIN. A PIN is tried once.
    pub fn open(configs: &[TokenConfig], call_max: Duration) -> Result<Self, StartError> {
        let begun = Instant::now();
        let news = Arc::new(News::default());
        let keys = Arc::new(KeyRing::default());
        let is_ending = Arc::new(AtomicBool::new(false));
        let mut modules: Vec<(Arc<Module>, Recovery, Sender<()>)> = Vec::new();
        let mut tokens = Vec::new();
        for config in configs {
            let module = Module::load(&config.module)?;
            let known = modules
                .iter()
                .position(|(known, ..)| Arc::ptr_eq(known, &module));
            let place = match known {
                Some(place) => place,
                None => {
                    let (wake, woken) = crossbeam_channel::bounded(1);
                    let told = Arc::clone(&news);
                    let recovery = Recovery {
                        module: Arc::clone(&module),
                        tokens: Vec::new(),
                        keys: Arc::clone(&keys),
                        wake: woken,
                        call: Arc::new(AtomicU64::new(0)),
                        begun,
                        is_ending: Arc::clone(&is_ending),
                        changed: Box::new(move || told.tell()),
                    };
                    modules.push((module, recovery, wake));
                    modules.len() - 1
                }
            };
            let (_, recovery, wake) = &mut modules[place];
            let token = Arc::new(Token::new(config, wake.clone(), begun)?);
            if let Some(error) = open_first(&token)?
                && configs.len() == 1
            {
                return Err(error);
            }
            recovery.tokens.push(Arc::clone(&token));
            tokens.push(token);
        }
        if !tokens.iter().any(|token| token.is_up()) {
            let reasons: Vec<String> = tokens
                .iter()
                .map(|token| format!("{}: {}", token.name(), token.reason()))
                .collect();
            return Err(StartError::NoToken(reasons.join("; ")));
        }
        let set = Set {
            keys,
            news: Arc::clone(&news),
            waiting: AtomicUsize::new(0),
            waiting_max: configs.iter().map(|config| config.queue_max).sum(),
            is_ending: Arc::clone(&is_ending),
            threads: Mutex::new(Vec::new()),
            wakers: modules.iter().map(|(.., wake)| wake.clone()).collect(),
            tokens,
        };
        // From here on, threads end with the set.
        let mut watched = Vec::new();
        for token in &set.tokens {
            for number in 0..token.workers() {
                let token = Arc::clone(token);
                set.start(format!("pkcs11-{number}"), move || {
                    worker::work(&token, number);
                })?;
            }
        }
        for (_, recovery, _) in modules {
            watched.push((recovery.tokens.clone(), Arc::clone(&recovery.call)));
            set.start("pkcs11-recovery".to_owned(), move || recovery.run())?;
        }
        set.start("pkcs11-watchdog".to_owned(), move || {
            watchdog::watch(&watched, begun, call_max, &news, &is_ending);
        })?;
        Ok(Self(Arc::new(set)))
    }

    /// The key that a URI names, for ECDSA: in each token that works found once, as its policy says, its certificate's,
    /// and used once.
    ///
    /// # Errors
    /// Whatever of this does not hold, and what to do.
    pub fn signing_key(
        &self,
        uri: &Pkcs11Uri,
        expected_public: [u8; 65],
        class: WorkClass,
    ) -> Result<SigningKey, StartError> {
        let key = Key::pair(
            self.0.keys.next_number(),
            uri,
            KeyUse::Sign,
            expected_public,
        );
        Ok(SigningKey::new(
            self.clone(),
            self.add(key)?,
            expected_public,
            class,
        ))
    }

    /// The key that a URI names, for ECDH; checked as a signing key is.
    ///
    /// # Errors
    /// Whatever does not hold, and what to do.
    pub fn agreement_key(
        &self,
        uri: &Pkcs11Uri,
        expected_public: [u8; 65],
    ) -> Result<AgreementKey, StartError> {
        let number = self.0.keys.next_number();
        let key = Key::pair(number, uri, KeyUse::Derive, expected_public);
        Ok(AgreementKey::new(self.clone(), self.add(key)?))
    }

    /// The key that a URI names, for AES-GCM: the same one in each token that works, as its policy says, and used.
    ///
    /// # Errors
    /// Whatever does not hold, and what to do.
    pub fn data_key(&self, uri: &Pkcs11Uri) -> Result<DataKey, StartError> {
        let key = Key::encryption(self.0.keys.next_number(), uri);
        Ok(DataKey::new(self.clone(), self.add(key)?))
    }

    /// The key that a URI names, for HMAC: the same one in each token that works, as its policy says, and used.
    ///
    /// # Errors
    /// Whatever does not hold, and what to do.
    pub fn index_key(&self, uri: &Pkcs11Uri) -> Result<IndexKey, StartError> {
        let key = Key::mac(self.0.keys.next_number(), uri);
        Ok(IndexKey::new(self.clone(), self.add(key)?))
    }

    /// What each token is like.
    pub fn status(&self) -> Vec<TokenStatus> {
        self.0
            .tokens
            .iter()
            .map(|token| TokenStatus {
                name: token.name().to_owned(),
                condition: token.condition(),
                generation: token.module().generation(),
            })
            .collect()
    }

    /// Returns when a call into a module does not come back: the process is to answer what it can, and to end. Its
    /// threads can't be joined then, nor the module unloaded.
    pub fn died(&self) -> impl Future<Output = ()> + Send + 'static {
        let news = Arc::clone(&self.0.news);
        async move {
            loop {
                let told = news.next();
                tokio::pin!(told);
                told.as_mut().enable();
                if news.is_dead() {
                    return;
                }
                told.await;
            }
        }
    }

    /// Has every token that works find a key, and each that comes back.
    fn add(&self, key: Key) -> Result<Arc<Key>, StartError> {
        let key = Arc::new(key);
        self.0.keys.add(&key);
        let mut reasons = Vec::new();
        for token in &self.0.tokens {
            let mut live = token.quiesced();
            match live.as_mut().filter(|_| token.is_up()) {
                Some(live) => token.add(live, &key)?,
                None => reasons.push(format!("{}: {}", token.name(), token.reason())),
            }
        }
        if reasons.len() == self.0.tokens.len() {
            return Err(StartError::NoToken(reasons.join("; ")));
        }
        Ok(key)
    }

    /// The metrics of an operation with a key, for each token.
    pub(crate) fn metrics(
        &self,
        class: WorkClass,
        key: &Key,
        operation: &'static str,
    ) -> Arc<[OperationMetrics]> {
        self.0
            .tokens
            .iter()
            .map(|token| OperationMetrics::new(token.name(), class, key.name(), operation))
            .collect()
    }

    /// Has an operation done by a token that works: the one with the least to do, and if it fails there, once more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: &Task<T>,
        deadline: Instant,
    ) -> Result<T, HsmError> {
        let mut failed = None;
        for _ in 0..TRIES {
            let token = match self.choose(failed.as_ref()) {
                Some(token) => token,
                None => self.one_that_is_back(deadline).await?,
            };
            let (reply, answer) = oneshot::channel();
            let _counted = self.submit(token, task, deadline, OneShot(reply))?;
            let outcome = match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(Failure::Token("its worker ended".to_owned())),
                Err(_) => return Err(HsmError::DeadlinePassed),
            };
            match settled(outcome) {
                Ok(done) => return done,
                Err(reason) => failed = Some((token, reason)),
            }
        }
        Err(gave_up(failed))
    }

    /// The same for a caller that may not be async: a TLS handshake.
    pub(crate) fn run_blocking<T: Send + 'static>(
        &self,
        task: &Task<T>,
        deadline: Instant,
    ) -> Result<T, HsmError> {
        let mut failed = None;
        for _ in 0..TRIES {
            let token = match self.choose(failed.as_ref()) {
                Some(token) => token,
                None => self.one_that_is_back_blocking(deadline)?,
            };
            let (reply, answer) = crossbeam_channel::bounded(1);
            let _counted = self.submit(token, task, deadline, Blocking(reply))?;
            let outcome = answer
                .recv_deadline(deadline)
                .map_err(|_| HsmError::DeadlinePassed)?;
            match settled(outcome) {
                Ok(done) => return done,
                Err(reason) => failed = Some((token, reason)),
            }
        }
        Err(gave_up(failed))
    }

    /// Of those that are up, the one with the least to do; where one failed, rather another.
    fn choose(&self, failed: Option<&(&Arc<Token>, String)>) -> Option<&Arc<Token>> {
        self.0
            .tokens
            .iter()
            .filter(|token| token.is_up())
            .min_by_key(|token| {
                let failed = failed.is_some_and(|(failed, _)| Arc::ptr_eq(failed, token));
                (failed, token.outstanding().load(Ordering::Relaxed))
            })
    }

    /// Waits for a token to come back, if one went away a moment ago.
    async fn one_that_is_back(&self, deadline: Instant) -> Result<&Arc<Token>, HsmError> {
        let _waiting = self.wait()?;
        loop {
            let end = deadline.min(self.patience());
            let told = self.0.news.next();
            tokio::pin!(told);
            told.as_mut().enable();
            if let Some(token) = self.choose(None) {
                return Ok(token);
            }
            if tokio::time::timeout_at(end.into(), told).await.is_err() {
                return Err(self.none_works(deadline));
            }
        }
    }

    fn one_that_is_back_blocking(&self, deadline: Instant) -> Result<&Arc<Token>, HsmError> {
        let _waiting = self.wait()?;
        let end = || deadline.min(self.patience());
        self.0
            .news
            .wait_blocking(end, || self.choose(None))
            .ok_or_else(|| self.none_works(deadline))
    }

    fn wait(&self) -> Result<Counted<'_>, HsmError> {
        let waiting = Counted::one(&self.0.waiting);
        if self.0.waiting.load(Ordering::Relaxed) > self.0.waiting_max {
            return Err(HsmError::Overloaded);
        }
        Ok(waiting)
    }

    /// Until when it is worth to wait for a token.
    fn patience(&self) -> Instant {
        let youngest = self
            .0
            .tokens
            .iter()
            .filter_map(|token| match token.condition() {
                Condition::Up => Some(Instant::now()),
                Condition::Away { since, .. } => Some(since),
                Condition::PinRefused(_) | Condition::Dead => None,
            })
            .max();
        youngest.map_or_else(Instant::now, |since| since + PATIENCE)
    }

    fn none_works(&self, deadline: Instant) -> HsmError {
        if Instant::now() >= deadline {
            return HsmError::DeadlinePassed;
        }
        let reasons: Vec<String> = self.0.tokens.iter().map(|token| token.reason()).collect();
        HsmError::Unavailable(reasons.join("; "))
    }

    fn submit<'a, T: Send + 'static>(
        &'a self,
        token: &'a Arc<Token>,
        task: &Task<T>,
        deadline: Instant,
        reply: impl Reply<T>,
    ) -> Result<Counted<'a>, HsmError> {
        let place = self
            .0
            .tokens
            .iter()
            .position(|known| Arc::ptr_eq(known, token))
            .unwrap_or_default();
        let job: Job = worker::job(
            Arc::clone(&task.key),
            Arc::clone(&task.operation),
            task.metrics[place].clone(),
            deadline,
            reply,
        );
        let counted = Counted::one(token.outstanding());
        match token.queue().push(task.class, job) {
            Ok(()) => Ok(counted),
            Err(NotTaken::Full) => {
                token.metrics().shed(task.class);
                Err(HsmError::Overloaded)
            }
            Err(NotTaken::Closed) => Err(HsmError::Unavailable(token.reason())),
        }
    }
}

/// What is to be done, and how it is counted.
pub(crate) struct Task<T> {
    pub(crate) key: Arc<Key>,
    pub(crate) class: WorkClass,
    /// For each token of the set.
    pub(crate) metrics: Arc<[OperationMetrics]>,
    pub(crate) operation: Arc<Operation<T>>,
}

/// What an outcome means for the caller; or why another token may do better.
fn settled<T>(outcome: Result<T, Failure>) -> Result<Result<T, HsmError>, String> {
    match outcome {
        Ok(done) => Ok(Ok(done)),
        Err(Failure::Input) => Ok(Err(HsmError::InvalidInput)),
        Err(Failure::DeadlinePassed) => Ok(Err(HsmError::DeadlinePassed)),
        Err(Failure::Token(reason)) => Err(reason),
    }
}

fn gave_up(failed: Option<(&Arc<Token>, String)>) -> HsmError {
    HsmError::Unavailable(failed.map(|(_, reason)| reason).unwrap_or_default())
}

/// Opens a token for the first time. One that is not as configured may come later, and why it is not is told; a
/// refused PIN is an error.
fn open_first(token: &Token) -> Result<Option<StartError>, StartError> {
    match token.connect(&[]) {
        Ok(live) => {
            *token.quiesced() = Some(live);
            token.came_up();
            Ok(None)
        }
        Err(error @ (StartError::PinRefused { .. } | StartError::PinAtRisk { .. })) => Err(error),
        Err(error) => {
            token.is_away(&error.to_string());
            Ok(Some(error))
        }
    }
}

impl Set {
    fn start(&self, name: String, work: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = thread::Builder::new()
            .name(name)
            .spawn(work)
            .map_err(StartError::Thread)?;
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        Ok(())
    }
}

impl Drop for Set {
    /// Waits for its threads: one that is still inside a module while the process ends finds the module's own state
    /// gone, and crashes at exit are the thanks. One that is stuck is not waited for.
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        for token in &self.tokens {
            token.queue().close();
        }
        for waker in &self.wakers {
            // Full means that it will look anyway.
            let _ = waker.try_send(());
        }
        if self.news.is_dead() {
            return;
        }
        let threads = self
            .threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            thread.thread().unpark();
            // One that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

/// Counts somebody until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
