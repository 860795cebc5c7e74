//! Worker threads: each has one PKCS#11 session, all take from one bounded queue.
//!
//! An operation whose caller gave up or whose deadline passed is skipped. A session on which an
//! operation failed is dropped and replaced: an abandoned C_SignInit would leave it unusable
//! (CKR_OPERATION_ACTIVE).

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use cryptoki::{context::Pkcs11, session::Session, slot::Slot};
use tokio::sync::oneshot;

use crate::error::{HsmError, StartError};

/// How one operation of one key is counted.
#[derive(Clone)]
pub(crate) struct OperationMetrics {
    queued: metrics::Histogram,
    executed: metrics::Histogram,
    failed: metrics::Counter,
}

impl OperationMetrics {
    pub(crate) fn new(key: &str, operation: &'static str) -> Self {
        let key = key.to_owned();
        Self {
            queued: metrics::histogram!("twinseal_hsm_queue_seconds", "key" => key.clone(), "operation" => operation),
            executed: metrics::histogram!("twinseal_hsm_execution_seconds", "key" => key.clone(), "operation" => operation),
            failed: metrics::counter!("twinseal_hsm_failures_total", "key" => key, "operation" => operation),
        }
    }
}

/// What a session is after an operation.
#[derive(PartialEq, Eq)]
enum Condition {
    Usable,
    Doubtful,
}

/// An operation that waits: it is given a session, or the reason why there is none.
type Job = Box<dyn FnOnce(Result<&Session, HsmError>) -> Condition + Send>;

/// The queue's entrance. The workers end when the last clone of it is dropped, which waits for them.
#[derive(Clone)]
pub(crate) struct Workers(Arc<Pool>);

struct Pool {
    /// None only while it is dropped.
    queue: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Keeps the login, which ends with the last session: those of the workers come and go. Keys are
    /// found and checked on it.
    login: Mutex<Session>,
}

impl Drop for Pool {
    /// A thread that is still inside the module while the process ends finds the module's own state
    /// gone: crashes at exit are the thanks.
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // One that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

impl Workers {
    /// Opens one session per worker, and starts them.
    pub(crate) fn start(
        module: &Pkcs11,
        slot: Slot,
        login: Session,
        sessions: usize,
        queue_max: usize,
    ) -> Result<Self, StartError> {
        let (queue, jobs) = crossbeam_channel::bounded(queue_max.max(1));
        let mut pool = Pool {
            queue: Some(queue),
            threads: Vec::new(),
            login: Mutex::new(login),
        };
        for number in 0..sessions.max(1) {
            let worker = Worker {
                module: module.clone(),
                slot,
                jobs: jobs.clone(),
            };
            let session = worker.open()?;
            let thread = thread::Builder::new()
                .name(format!("pkcs11-{number}"))
                .spawn(move || worker.run(session))
                .map_err(StartError::Thread)?;
            pool.threads.push(thread);
        }
        Ok(Self(Arc::new(pool)))
    }

    /// Does something on the session that keeps the login.
    pub(crate) fn with_login<T>(&self, act: impl FnOnce(&Session) -> T) -> T {
        // What is read on a session leaves nothing half done.
        act(&self.0.login.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has an operation done by one of the workers.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        metrics: &OperationMetrics,
        deadline: Instant,
        operation: impl FnOnce(&Session) -> Result<T, OperationError> + Send + 'static,
    ) -> Result<T, HsmError> {
        let (reply, answer) = oneshot::channel();
        let reply = OneShot(reply);
        self.submit(metrics, deadline, reply, operation)?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(HsmError::Unavailable("the workers ended".to_owned())),
            Err(_) => Err(HsmError::DeadlinePassed),
        }
    }

    /// The same for a caller that may not be async: a TLS handshake.
    pub(crate) fn run_blocking<T: Send + 'static>(
        &self,
        metrics: &OperationMetrics,
        deadline: Instant,
        operation: impl FnOnce(&Session) -> Result<T, OperationError> + Send + 'static,
    ) -> Result<T, HsmError> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.submit(metrics, deadline, Blocking(reply), operation)?;
        match answer.recv_deadline(deadline) {
            Ok(outcome) => outcome,
            Err(_) => Err(HsmError::DeadlinePassed),
        }
    }

    fn submit<T, R: Reply<T>>(
        &self,
        metrics: &OperationMetrics,
        deadline: Instant,
        reply: R,
        operation: impl FnOnce(&Session) -> Result<T, OperationError> + Send + 'static,
    ) -> Result<(), HsmError> {
        let metrics = metrics.clone();
        let submitted = Instant::now();
        let job: Job = Box::new(move |session| {
            let started = Instant::now();
            metrics.queued.record(started - submitted);
            if reply.is_abandoned() {
                return Condition::Usable;
            }
            if started >= deadline {
                // Said by the worker, who may see it before the caller does.
                reply.send(Err(HsmError::DeadlinePassed));
                return Condition::Usable;
            }
            let (outcome, condition) = match session.map(operation) {
                Ok(Ok(result)) => (Ok(result), Condition::Usable),
                Ok(Err(error)) => (
                    Err(HsmError::Unavailable(error.to_string())),
                    Condition::Doubtful,
                ),
                Err(no_session) => (Err(no_session), Condition::Usable),
            };
            metrics.executed.record(started.elapsed());
            if outcome.is_err() {
                metrics.failed.increment(1);
            }
            reply.send(outcome);
            condition
        });
        let ended = || HsmError::Unavailable("the workers ended".to_owned());
        let queue = self.0.queue.as_ref().ok_or_else(ended)?;
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => HsmError::Overloaded,
            TrySendError::Disconnected(_) => ended(),
        })
    }
}

/// An operation failed in the token, or gave what it can't have given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperationError {
    #[error("{0}")]
    Token(#[from] cryptoki::error::Error),
    #[error("{0}")]
    WrongResult(&'static str),
}

/// Where an outcome goes.
trait Reply<T>: Send + 'static {
    fn is_abandoned(&self) -> bool;
    fn send(self, outcome: Result<T, HsmError>);
}

struct OneShot<T>(oneshot::Sender<Result<T, HsmError>>);

impl<T: Send + 'static> Reply<T> for OneShot<T> {
    fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }

    fn send(self, outcome: Result<T, HsmError>) {
        // A caller that gave up meanwhile wants no answer.
        let _ = self.0.send(outcome);
    }
}

struct Blocking<T>(Sender<Result<T, HsmError>>);

impl<T: Send + 'static> Reply<T> for Blocking<T> {
    fn is_abandoned(&self) -> bool {
        false
    }

    fn send(self, outcome: Result<T, HsmError>) {
        let _ = self.0.send(outcome);
    }
}

struct Worker {
    module: Pkcs11,
    slot: Slot,
    jobs: Receiver<Job>,
}

impl Worker {
    fn open(&self) -> Result<Session, cryptoki::error::Error> {
        self.module.open_rw_session(self.slot)
    }

    fn run(self, first: Session) {
        let mut session = Some(first);
        while let Ok(job) = self.jobs.recv() {
            let opened = match session.take() {
                Some(session) => Ok(session),
                None => self.open(),
            };
            match opened {
                Ok(open) => {
                    if job(Ok(&open)) == Condition::Usable {
                        session = Some(open);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "no PKCS#11 session can be opened");
                    job(Err(HsmError::Unavailable(error.to_string())));
                }
            }
        }
    }
}
