//! Certificates whose path was verified lately, so that a party's next message costs none.

use std::{
    collections::HashMap,
    hash::Hash,
    mem,
    sync::{Mutex, PoisonError},
};

/// A bounded map of two generations: when the young one is full it becomes the old one, and what
/// nobody asked for since then is forgotten.
pub(super) struct Recent<K, V> {
    generations: Mutex<Generations<K, V>>,
    generation_max: usize,
}

struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// Keeps at most `entries_max`, and at least half as many.
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            generations: Mutex::new(Generations {
                young: HashMap::new(),
                old: HashMap::new(),
            }),
            generation_max: entries_max / 2,
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        let mut generations = self.lock();
        if let Some(value) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = generations.old.remove_entry(key)?;
        self.put(&mut generations, key, value.clone());
        Some(value)
    }

    pub(super) fn insert(&self, key: K, value: V) {
        let mut generations = self.lock();
        self.put(&mut generations, key, value);
    }

    fn put(&self, generations: &mut Generations<K, V>, key: K, value: V) {
        if generations.young.len() >= self.generation_max {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations<K, V>> {
        // A panic elsewhere can't leave the maps half changed in a way that matters: at worst an
        // entry is missing.
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let recent = Recent::new(8);
        recent.insert(0, "used");
        recent.insert(1, "not used");
        for key in 2..100 {
            recent.insert(key, "passing");
            assert_eq!(recent.get(&0), Some("used"), "after {key}");
        }
        assert_eq!(recent.get(&1), None);
        let generations = recent.lock();
        assert!(generations.young.len() + generations.old.len() <= 8);
    }
}
