//! Sees calls into a module that do not come back, and tells those who wait of what changed.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, futures::Notified};

use crate::token::{Condition, Token};

/// How often it is looked whether a call is stuck.
const WATCH: Duration = Duration::from_millis(100);

/// What is told to those who wait.
#[derive(Default)]
pub(crate) struct News {
    /// Counts, so that nothing is missed between looking and waiting.
    count: Mutex<u64>,
    changed: Condvar,
    notify: Notify,
    is_dead: AtomicBool,
}

impl News {
    /// Something changed.
    pub(crate) fn tell(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
        self.notify.notify_waiters();
    }

    /// The next change after this call, once it is enabled.
    pub(crate) fn next(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// Waits until something is found, and looks again after each change; until when, too.
    pub(crate) fn wait_blocking<T>(
        &self,
        end: impl Fn() -> Instant,
        find: impl Fn() -> Option<T>,
    ) -> Option<T> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find() {
                return Some(found);
            }
            let left = end().saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            (count, _) = self
                .changed
                .wait_timeout(count, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether a call does not come back.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }
}

/// Sees calls that do not come back.
pub(crate) fn watch(
    modules: &[(Vec<Arc<Token>>, Arc<AtomicU64>)],
    begun: Instant,
    call_max: Duration,
    news: &News,
    is_ending: &AtomicBool,
) {
    while !is_ending.load(Ordering::Acquire) {
        thread::park_timeout(WATCH);
        for (tokens, recovery_call) in modules {
            let longest = tokens
                .iter()
                .map(|token| token.longest_call())
                .chain([longest(recovery_call, begun)])
                .max();
            if longest.is_none_or(|longest| longest <= call_max) {
                continue;
            }
            for token in tokens {
                if token.condition() != Condition::Dead {
                    tracing::error!(
                        token = token.name(),
                        "a call into the PKCS#11 module does not come back: the process has to be restarted"
                    );
                    token.died();
                }
            }
            news.is_dead.store(true, Ordering::Release);
            news.tell();
        }
    }
}

/// For how long a thread has been inside a module.
fn longest(call: &AtomicU64, begun: Instant) -> Duration {
    match call.load(Ordering::Relaxed) {
        0 => Duration::ZERO,
        began => begun.elapsed().saturating_sub(Duration::from_millis(began)),
    }
}

/// Ends the process at once. Where a thread is stuck inside a module, an orderly end would run the module's own
/// destructors under it, and crash or hang; a core file would have secrets in it.
pub fn leave_at_once() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    // The process may always signal itself.
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
