//! The sessions that are open, and the slots that ever had one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cryptoki_sys::{CK_SESSION_HANDLE, CK_SLOT_ID};

#[derive(Default)]
pub(crate) struct Sessions(Mutex<Table>);

#[derive(Default)]
struct Table {
    open: HashMap<CK_SESSION_HANDLE, CK_SLOT_ID>,
    /// Asked for, and not there yet.
    opening: usize,
    slots: BTreeSet<CK_SLOT_ID>,
}

impl Sessions {
    /// Counts a session that is about to be opened; not if there are as many as there may be.
    pub(crate) fn reserve(&self, max: Option<usize>) -> bool {
        let mut table = self.lock();
        if max.is_some_and(|max| table.open.len() + table.opening >= max) {
            return false;
        }
        table.opening += 1;
        true
    }

    /// What became of it: its handle, or none.
    pub(crate) fn opened(&self, slot: CK_SLOT_ID, session: Option<CK_SESSION_HANDLE>) {
        let mut table = self.lock();
        table.opening -= 1;
        if let Some(session) = session {
            table.open.insert(session, slot);
            table.slots.insert(slot);
        }
    }

    pub(crate) fn closed(&self, session: CK_SESSION_HANDLE) {
        self.lock().open.remove(&session);
    }

    pub(crate) fn closed_all_of(&self, slot: CK_SLOT_ID) {
        self.lock().open.retain(|_, of| *of != slot);
    }

    pub(crate) fn closed_all(&self) {
        self.lock().open.clear();
    }

    pub(crate) fn slot(&self, session: CK_SESSION_HANDLE) -> Option<CK_SLOT_ID> {
        self.lock().open.get(&session).copied()
    }

    /// All slots that ever had one.
    pub(crate) fn slots(&self) -> Vec<CK_SLOT_ID> {
        self.lock().slots.iter().copied().collect()
    }

    /// One of each slot that has any.
    pub(crate) fn one_of_each_slot(&self) -> Vec<CK_SESSION_HANDLE> {
        let table = self.lock();
        let by_slot: HashMap<_, _> = table
            .open
            .iter()
            .map(|(session, slot)| (*slot, *session))
            .collect();
        by_slot.into_values().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
