//! How many calls a token works on at once. The others wait in a line, first come first served, as at a device that
//! is reached over a network.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
};

#[derive(Default)]
pub(crate) struct Places {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    taken: usize,
    /// None: as many as come.
    limit: Option<usize>,
    waiting: VecDeque<Arc<Waiter>>,
}

struct Waiter {
    thread: Thread,
    has_place: AtomicBool,
}

/// A place, until it is dropped.
pub(crate) struct Place<'a>(&'a Places);

impl Places {
    /// Says how many there are from now on.
    pub(crate) fn limit(&self, limit: Option<usize>) {
        let mut line = self.lock();
        line.limit = limit;
        line.advance();
    }

    /// Waits for a place.
    pub(crate) fn take(&self) -> Place<'_> {
        let waiter = Arc::new(Waiter {
            thread: thread::current(),
            has_place: AtomicBool::new(false),
        });
        let mut line = self.lock();
        line.waiting.push_back(Arc::clone(&waiter));
        line.advance();
        drop(line);
        while !waiter.has_place.load(Ordering::Acquire) {
            thread::park();
        }
        Place(self)
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn advance(&mut self) {
        while self.limit.is_none_or(|limit| self.taken < limit) {
            let Some(first) = self.waiting.pop_front() else {
                return;
            };
            self.taken += 1;
            first.has_place.store(true, Ordering::Release);
            first.thread.unpark();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.0.lock();
        line.taken -= 1;
        line.advance();
    }
}
