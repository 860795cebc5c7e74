//! How much one party or address may ask for: a token bucket per name.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Buckets by name: each fills at a rate and holds at most so many permits.
pub struct RateLimit<Name> {
    per_second: f64,
    capacity: f64,
    buckets: Mutex<Buckets<Name>>,
}

struct Buckets<Name> {
    by_name: HashMap<Name, Bucket>,
    /// When those with full buckets were last forgotten.
    swept: Option<Instant>,
    /// What all further names share while too many are remembered.
    shared: Option<Bucket>,
}

struct Bucket {
    permits: f64,
    filled: Instant,
}

/// How many names are remembered at most; before there are more, those with full buckets are forgotten.
const NAMES_MAX: usize = 65_536;

/// Looking through all names takes its time, so it is not done for each new one.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

impl<Name: Eq + Hash + Clone> RateLimit<Name> {
    /// `permits` in every `period`, and as many at once.
    #[must_use]
    pub fn new(permits: u32, period: Duration) -> Self {
        Self {
            per_second: f64::from(permits) / period.as_secs_f64(),
            capacity: f64::from(permits),
            buckets: Mutex::new(Buckets {
                by_name: HashMap::new(),
                swept: None,
                shared: None,
            }),
        }
    }

    /// Takes a permit, if one is left.
    pub fn take(&self, name: &Name, now: Instant) -> bool {
        self.with_bucket(name, now, |bucket| {
            let is_left = bucket.permits >= 1.0;
            if is_left {
                bucket.permits -= 1.0;
            }
            is_left
        })
    }

    /// Takes a permit that is given back unless it is spent: for what is known only later.
    pub fn reserve(&self, name: &Name, now: Instant) -> Option<Reservation<'_, Name>> {
        self.take(name, now).then(|| Reservation {
            limit: self,
            name: name.clone(),
            is_spent: false,
        })
    }

    fn give_back(&self, name: &Name, now: Instant) {
        self.with_bucket(name, now, |bucket| {
            bucket.permits = (bucket.permits + 1.0).min(self.capacity);
        });
    }

    fn with_bucket<T>(&self, name: &Name, now: Instant, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut guard = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let buckets = &mut *guard;
        let is_further = buckets.by_name.len() >= NAMES_MAX && !buckets.by_name.contains_key(name);
        let is_due = |swept: Instant| now.saturating_duration_since(swept) >= SWEEP_PERIOD;
        if is_further && buckets.swept.is_none_or(is_due) {
            buckets.swept = Some(now);
            buckets.by_name.retain(|_, bucket| {
                self.fill(bucket, now);
                bucket.permits < self.capacity
            });
        }
        let full = Bucket {
            permits: self.capacity,
            filled: now,
        };
        let bucket = if is_further && buckets.by_name.len() >= NAMES_MAX {
            buckets.shared.get_or_insert(full)
        } else {
            buckets.by_name.entry(name.clone()).or_insert(full)
        };
        self.fill(bucket, now);
        act(bucket)
    }

    fn fill(&self, bucket: &mut Bucket, now: Instant) {
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.permits = (bucket.permits + elapsed * self.per_second).min(self.capacity);
        bucket.filled = now;
    }
}

/// A permit that goes back when it is dropped.
pub struct Reservation<'a, Name: Eq + Hash + Clone> {
    limit: &'a RateLimit<Name>,
    name: Name,
    is_spent: bool,
}

impl<Name: Eq + Hash + Clone> Reservation<'_, Name> {
    /// Keeps it from going back.
    pub fn spend(mut self) {
        self.is_spent = true;
    }
}

impl<Name: Eq + Hash + Clone> Drop for Reservation<'_, Name> {
    fn drop(&mut self) {
        if !self.is_spent {
            self.limit.give_back(&self.name, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_above_its_rate_is_stopped_alone_and_let_in_again_later() {
        let limit = RateLimit::new(2, Duration::from_secs(1));
        let start = Instant::now();
        assert!(limit.take(&"a", start) && limit.take(&"a", start));
        assert!(!limit.take(&"a", start));
        assert!(limit.take(&"b", start));
        assert!(limit.take(&"a", start + Duration::from_millis(500)));
        assert!(!limit.take(&"a", start + Duration::from_millis(500)));
    }

    #[test]
    fn names_above_the_most_that_are_remembered_share_one_bucket_until_others_are_forgotten() {
        let limit = RateLimit::new(2, Duration::from_secs(1));
        let start = Instant::now();
        for name in 0..NAMES_MAX {
            assert!(limit.take(&name, start));
        }
        let further = |number: usize, now| limit.take(&(NAMES_MAX + number), now);
        assert!(further(0, start) && further(1, start));
        assert!(!further(2, start));
        assert!(limit.take(&0, start));
        let later = start + SWEEP_PERIOD;
        assert!(further(2, later) && further(2, later) && further(3, later));
    }

    #[test]
    fn what_is_reserved_counts_at_once_and_goes_back_unless_it_is_spent() {
        let limit = RateLimit::new(2, Duration::from_secs(3600));
        let now = Instant::now();
        let first = limit.reserve(&"a", now).unwrap();
        let second = limit.reserve(&"a", now).unwrap();
        assert!(limit.reserve(&"a", now).is_none());
        drop(first);
        limit.reserve(&"a", now).unwrap().spend();
        second.spend();
        assert!(limit.reserve(&"a", now).is_none());
    }
}
