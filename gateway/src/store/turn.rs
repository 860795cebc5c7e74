//! Whether a command is begun, or given up by its caller: one of the two, never both. What is told as not done
//! stays so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout_at};

use super::StoreError;

/// How long beyond the deadline is waited for a command that was begun in time: it may be durable any moment.
pub(super) const COMMIT_GRACE: Duration = Duration::from_secs(10);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// The store's side of a command.
pub(super) struct Turn(Arc<AtomicU8>);

/// The caller's side. It gives the command up when it goes away, with a connection for example.
pub(super) struct Waiting(Arc<AtomicU8>);

/// Both sides of a command that waits.
pub(super) fn new() -> (Turn, Waiting) {
    let state = Arc::new(AtomicU8::new(WAITING));
    (Turn(Arc::clone(&state)), Waiting(state))
}

impl Turn {
    /// Takes the command; false when its caller gave it up.
    pub(super) fn begin(&self) -> bool {
        leave_waiting_for(&self.0, BEGUN)
    }
}

impl Waiting {
    /// Waits for what comes of the command. What is not begun by the deadline is given up.
    pub(super) async fn outcome<T>(
        self,
        deadline: Instant,
        mut outcome: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let ended = || StoreError::Unavailable("the store ended".to_owned());
        if let Ok(outcome) = timeout_at(deadline.into(), &mut outcome).await {
            return outcome.unwrap_or_else(|_| Err(ended()));
        }
        if leave_waiting_for(&self.0, GIVEN_UP) {
            return Err(StoreError::Unavailable(
                "it was not begun in time".to_owned(),
            ));
        }
        match timeout_at((deadline + COMMIT_GRACE).into(), outcome).await {
            Ok(outcome) => outcome.unwrap_or_else(|_| Err(ended())),
            Err(_) => Err(StoreError::OutcomeUnknown),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        leave_waiting_for(&self.0, GIVEN_UP);
    }
}

fn leave_waiting_for(state: &AtomicU8, next: u8) -> bool {
    state
        .compare_exchange(WAITING, next, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}
