//! Look-ups, on connections of their own. They see every commit that was acknowledged.
//!
//! A look-up by key takes microseconds from the page cache, less than handing it to another thread would, so
//! it runs where it is asked for.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rusqlite::Connection;

use super::database;
use crate::store::{StoreError, tables::Fault};

/// As many as threads that look up at once.
const CONNECTIONS: usize = 8;

pub(super) struct Readers {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let connections = (0..CONNECTIONS)
            .map(|_| database::open_for_reading(path).map(Mutex::new))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            connections,
            next: AtomicUsize::new(0),
        })
    }

    pub(super) fn read<T>(
        &self,
        look_up: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        // Reading leaves nothing half done.
        let connection = self.connections[turn]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        look_up(&connection).map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}
