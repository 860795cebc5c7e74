//! Worker threads: each has one PKCS#11 session of its own, those of a token take from one queue.
//!
//! A return code alone does not say whether the input or the token is bad: for one fault, modules give different codes.
//! So after any failure the session is given up, because an abandoned C_SignInit would leave it unusable
//! (CKR_OPERATION_ACTIVE), and the key's canary sings on a new one. Only a canary that fails counts against the token.
//! When it sings, the operation is tried once more; if it fails again, the input is blamed where it may be rubbish: what
//! is to be decrypted. All else was checked before.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Instant,
};

use crossbeam_channel::Sender;
use cryptoki::{
    error::{Error, RvError},
    session::Session,
};
use tokio::sync::oneshot;

use crate::{
    key::{Held, Key},
    metering::OperationMetrics,
    module::ModuleSession,
    operations::OperationError,
    token::{Live, Token},
};

/// What is to be done with a key, perhaps twice. None of the operations changes anything in a token.
pub(crate) type Operation<T> = dyn Fn(&Session, Held) -> Result<T, OperationError> + Send + Sync;

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The token does not do what it should.
    Token(String),
    /// The token works, but not with this input.
    Input,
    /// The deadline passed before it was begun.
    DeadlinePassed,
}

/// An operation that waits: it is given a place to work at, or the reason why there is none.
pub(crate) type Job = Box<dyn FnOnce(Result<&mut Desk<'_>, String>) + Send>;

/// Where an outcome goes.
pub(crate) trait Reply<T>: Send + 'static {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
    fn send(self, outcome: Result<T, Failure>);
}

/// Answers a caller that awaits it.
pub(crate) struct OneShot<T>(pub(crate) oneshot::Sender<Result<T, Failure>>);

impl<T: Send + 'static> Reply<T> for OneShot<T> {
    fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }

    fn send(self, outcome: Result<T, Failure>) {
        // A caller that gave up meanwhile wants no answer.
        let _ = self.0.send(outcome);
    }
}

/// Answers a caller that blocks its thread.
pub(crate) struct Blocking<T>(pub(crate) Sender<Result<T, Failure>>);

impl<T: Send + 'static> Reply<T> for Blocking<T> {
    fn is_abandoned(&self) -> bool {
        false
    }

    fn send(self, outcome: Result<T, Failure>) {
        let _ = self.0.send(outcome);
    }
}

/// Makes a job of an operation.
pub(crate) fn job<T: Send + 'static>(
    key: Arc<Key>,
    operation: Arc<Operation<T>>,
    metrics: OperationMetrics,
    deadline: Instant,
    reply: impl Reply<T>,
) -> Job {
    let submitted = Instant::now();
    Box::new(move |desk| {
        let started = Instant::now();
        metrics.queued(started - submitted);
        if reply.is_abandoned() {
            return;
        }
        if started >= deadline {
            // Said by the worker, who may see it before the caller does.
            reply.send(Err(Failure::DeadlinePassed));
            return;
        }
        let outcome = match desk {
            Ok(desk) => {
                let outcome = perform(desk, &key, &*operation);
                metrics.executed(started.elapsed());
                outcome
            }
            Err(reason) => Err(Failure::Token(reason)),
        };
        match &outcome {
            Err(Failure::Token(_)) => metrics.failed(),
            Err(Failure::Input) => metrics.blamed(),
            _ => {}
        }
        reply.send(outcome);
    })
}

/// Does an operation, and settles whom a failure is to be blamed on.
fn perform<T>(desk: &mut Desk<'_>, key: &Key, operation: &Operation<T>) -> Result<T, Failure> {
    let Some(held) = desk.live.held(key.number()) else {
        return Err(desk.suspect(format!("it has no key {}", key.name())));
    };
    let first = match desk.attempt(held, operation) {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    let mut sing = || desk.attempt(held, |session, held| key.canary(session, held));
    // Twice, as one code in passing is no reason to log in anew.
    if let Err(canary) = sing().or_else(|_| sing()) {
        let reason = format!("key {}: {first}; its canary: {canary}", key.name());
        return Err(desk.suspect(reason));
    }
    desk.attempt(held, operation).map_err(|again| match again {
        OperationError::Decryption(error) => {
            tracing::info!(key = key.name(), %error, "the token works, the input does not");
            Failure::Input
        }
        again => Failure::Token(format!("key {}: {first}; again: {again}", key.name())),
    })
}

/// What a worker has while its token is up.
pub(crate) struct Desk<'a> {
    token: &'a Token,
    live: &'a Live,
    /// The worker's own session, kept from job to job.
    own: &'a mut Option<OwnSession>,
    /// The session that keeps the login, when the token gives no more.
    borrowed: Option<MutexGuard<'a, ModuleSession>>,
}

/// A session of a worker, and the life of the token that it is of.
struct OwnSession {
    life: u64,
    session: ModuleSession,
}

impl<'a> Desk<'a> {
    fn attempt<T>(
        &mut self,
        held: Held,
        operation: impl Fn(&Session, Held) -> Result<T, OperationError>,
    ) -> Result<T, OperationError> {
        let outcome = match self.session() {
            Ok(session) => operation(session, held),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &outcome {
            if let OperationError::Token(error) | OperationError::Decryption(error) = error {
                self.token.metrics().returned(error);
            }
            self.give_session_up();
        }
        outcome
    }

    fn session(&mut self) -> Result<&Session, Error> {
        const VOID: Error = Error::Pkcs11(
            RvError::SessionHandleInvalid,
            cryptoki::context::Function::OpenSession,
        );
        if self
            .own
            .as_ref()
            .is_some_and(|own| own.life != self.live.life())
        {
            self.give_session_up();
        }
        if self.own.is_none() && self.borrowed.is_none() {
            match self.token.module().open_session(self.live.slot()) {
                Ok(session) => {
                    self.token.metrics().session_opened();
                    *self.own = Some(OwnSession {
                        life: self.live.life(),
                        session,
                    });
                }
                // Others have them: this one is shared then.
                Err(Error::Pkcs11(RvError::SessionCount, _)) => {
                    self.borrowed = Some(self.live.login());
                }
                Err(error) => return Err(error),
            }
        }
        let session = match (&self.borrowed, self.own.as_ref()) {
            (Some(borrowed), _) => borrowed.get(),
            (None, Some(own)) => own.session.get(),
            (None, None) => None,
        };
        session.ok_or(VOID)
    }

    fn give_session_up(&mut self) {
        self.borrowed = None;
        if self.own.take().is_some() {
            self.token.metrics().session_gone();
        }
    }

    /// The token is to be looked after; what waits for it goes elsewhere.
    fn suspect(&self, reason: String) -> Failure {
        self.token.suspect(self.live.life(), &reason);
        Failure::Token(reason)
    }
}

/// Works for a token until its queue is closed. `number` is the worker's among those of the token.
pub(crate) fn work(token: &Token, number: usize) {
    let mut own = None;
    while let Some(job) = token.queue().pop() {
        let live = token.live();
        match live.as_ref() {
            Some(live) if token.is_up() => {
                let _call = token.watched(number);
                job(Ok(&mut Desk {
                    token,
                    live,
                    own: &mut own,
                    borrowed: None,
                }));
            }
            _ => job(Err(token.reason())),
        }
    }
    if own.take().is_some() {
        token.metrics().session_gone();
    }
}

impl Live {
    /// The session that keeps the login.
    pub(crate) fn login(&self) -> MutexGuard<'_, ModuleSession> {
        // What is done on a session leaves nothing half done.
        self.login_session()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
