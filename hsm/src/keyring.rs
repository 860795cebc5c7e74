//! The keys that are in use: each token that is brought back has to have them all.

use std::sync::{
    Arc, PoisonError, RwLock, Weak,
    atomic::{AtomicU64, Ordering},
};

use crate::key::{Key, KeyNumber};

/// Keys, until the last who uses one is gone.
#[derive(Default)]
pub(crate) struct KeyRing {
    keys: RwLock<Vec<Weak<Key>>>,
    numbers: AtomicU64,
}

impl KeyRing {
    /// A number that no key has yet.
    pub(crate) fn next_number(&self) -> KeyNumber {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps a key.
    pub(crate) fn add(&self, key: &Arc<Key>) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|key| key.strong_count() > 0);
        keys.push(Arc::downgrade(key));
    }

    /// Those that somebody uses.
    pub(crate) fn all(&self) -> Vec<Arc<Key>> {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }
}
