//! What waits for a token: bounded, with a share for each kind of work, so that none can keep the others out.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// How many canaries may wait, beside what the configuration allows.
const CANARIES_MAX: usize = 32;

/// What an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkClass {
    /// Signing in a TLS handshake.
    Handshake,
    /// Opening what was sealed.
    Opening,
    /// Signing messages.
    Receipts,
    /// Protecting what is stored, and finding it.
    Storage,
    /// Seeing whether a key works.
    Canaries,
}

const CLASSES: [WorkClass; 5] = [
    WorkClass::Handshake,
    WorkClass::Opening,
    WorkClass::Receipts,
    WorkClass::Storage,
    WorkClass::Canaries,
];

impl WorkClass {
    /// As metrics call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Opening => "opening",
            Self::Receipts => "receipts",
            Self::Storage => "storage",
            Self::Canaries => "canaries",
        }
    }

    /// Of so many that may wait, how many of this class.
    fn share(self, waiting_max: usize) -> usize {
        match self {
            Self::Canaries => CANARIES_MAX,
            _ => (waiting_max / 4).max(1),
        }
    }
}

/// Jobs by class, first in, first out; the classes take turns.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
    waiting_max: usize,
}

struct State<J> {
    waiting: [VecDeque<J>; CLASSES.len()],
    /// The class whose turn it is.
    turn: usize,
    is_closed: bool,
}

/// Why a job was not taken.
pub(crate) enum NotTaken {
    /// The share of its class is used up.
    Full,
    /// Nobody will do it any more.
    Closed,
}

impl<J> Queue<J> {
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: [const { VecDeque::new() }; CLASSES.len()],
                turn: 0,
                is_closed: false,
            }),
            changed: Condvar::new(),
            waiting_max,
        }
    }

    /// Has a job wait.
    pub(crate) fn push(&self, class: WorkClass, job: J) -> Result<(), NotTaken> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(NotTaken::Closed);
        }
        let waiting = &mut state.waiting[class as usize];
        if waiting.len() >= class.share(self.waiting_max) {
            return Err(NotTaken::Full);
        }
        waiting.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for a job. None when the queue is closed and empty.
    pub(crate) fn pop(&self) -> Option<J> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.next() {
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more jobs; what waits is still done.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Takes no more jobs, and gives those that wait.
    pub(crate) fn close_and_empty(&self) -> Vec<J> {
        let mut state = self.lock();
        state.is_closed = true;
        let left = std::iter::from_fn(|| state.next()).collect();
        drop(state);
        self.changed.notify_all();
        left
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // Nothing is half done when a job is put in or taken out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> State<J> {
    fn next(&mut self) -> Option<J> {
        let classes = self.waiting.len();
        let found = (0..classes)
            .map(|step| (self.turn + step) % classes)
            .find(|&class| !self.waiting[class].is_empty())?;
        self.turn = (found + 1) % classes;
        self.waiting[found].pop_front()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

    use super::*;

    #[test]
    fn a_class_that_fills_its_share_leaves_the_others_theirs() {
        let queue = Queue::new(8);
        for number in 0..2 {
            assert!(queue.push(WorkClass::Opening, number).is_ok());
        }
        assert!(matches!(
            queue.push(WorkClass::Opening, 2),
            Err(NotTaken::Full)
        ));
        assert!(queue.push(WorkClass::Handshake, 3).is_ok());
        assert!(queue.push(WorkClass::Canaries, 4).is_ok());
    }

    #[test]
    fn classes_take_turns_and_each_is_first_in_first_out() {
        let queue = Queue::new(64);
        for number in 0..3 {
            assert!(queue.push(WorkClass::Opening, ("opening", number)).is_ok());
        }
        assert!(queue.push(WorkClass::Receipts, ("receipt", 0)).is_ok());
        queue.close();
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(
            order,
            [
                ("opening", 0),
                ("receipt", 0),
                ("opening", 1),
                ("opening", 2)
            ]
        );
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_takes_nothing() {
        let queue = Queue::new(64);
        assert!(queue.push(WorkClass::Storage, 1).is_ok());
        queue.close();
        assert!(matches!(
            queue.push(WorkClass::Storage, 2),
            Err(NotTaken::Closed)
        ));
        assert_eq!((queue.pop(), queue.pop()), (Some(1), None));
    }
}
