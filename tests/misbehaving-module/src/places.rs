//! How many calls a token that is reached over a network works on at once. The others wait in a line, first come first
//! served. A place is the device's: it is taken for as long as the device takes, however late the caller's computer then
//! takes note of the answer, and whatever the wrapped module takes, which is the device itself in truth.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Until when which places are taken, the first to be free on top.
#[derive(Default)]
pub(crate) struct Places(Mutex<BinaryHeap<Reverse<Instant>>>);

impl Places {
    /// When a call that comes now is answered: it waits for a place if all are taken, and then has it for so long.
    pub(crate) fn answered_at(&self, now: Instant, places: usize, latency: Duration) -> Instant {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.peek().is_some_and(|Reverse(end)| *end <= now) {
            taken.pop();
        }
        let mut begins = now;
        // More than one when there are fewer places than there were.
        while taken.len() >= places
            && let Some(Reverse(end)) = taken.pop()
        {
            begins = end;
        }
        let ends = begins + latency;
        taken.push(Reverse(ends));
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Duration = Duration::from_millis(10);

    #[test]
    fn who_finds_all_places_taken_waits_for_the_one_that_is_free_first() {
        let (places, start) = (Places::default(), Instant::now());
        let after = |milliseconds, at_once| {
            let now = start + Duration::from_millis(milliseconds);
            (places.answered_at(now, at_once, LATENCY) - start).as_millis()
        };
        assert_eq!(after(0, 2), 10);
        assert_eq!(after(3, 2), 13);
        // Both are taken: one waits for the first, the next for the second.
        assert_eq!(after(4, 2), 20);
        assert_eq!(after(4, 2), 23);
        // One more place, and then one alone.
        assert_eq!(after(5, 3), 15);
        assert_eq!(after(5, 1), 33);
        assert_eq!(after(50, 1), 60);
    }
}
