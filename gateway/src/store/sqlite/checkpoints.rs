//! Brings the log back into the database on a connection and a thread of its own, so that no commit waits for it.

use std::{
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::Connection;

use super::database;
use crate::store::StoreError;

/// How long the log is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// Pages of the log above which it begins anew: 64 MiB. Writers wait while the last of it is brought back, what
/// was written since most of it was.
const PAGES_MAX: i64 = 16_384;

/// Pages above which it is told that it can't: 1 GiB. A copy or a report that takes long keeps it as it is.
const PAGES_STRANGE: i64 = 262_144;

/// Ends with its store.
pub(super) struct Checkpoints {
    /// None only while it is dropped.
    open: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let connection = database::open_for_checkpoints(path)?;
        let (open, is_open) = crossbeam_channel::bounded(0);
        let thread = thread::Builder::new()
            .name("store-checkpoints".to_owned())
            .spawn(move || run(&connection, &is_open))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self {
            open: Some(open),
            thread: Some(thread),
        })
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.open = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, is_open: &Receiver<()>) {
    // Nothing is ever sent: it is closed.
    while let Err(RecvTimeoutError::Timeout) = is_open.recv_timeout(PAUSE) {
        // What others still read stays in the log until the next time.
        let brought_back = checkpoint(connection, "PASSIVE").and_then(|pages| match pages {
            pages if pages > PAGES_MAX => checkpoint(connection, "RESTART"),
            pages => Ok(pages),
        });
        match brought_back {
            Ok(pages) if pages > PAGES_STRANGE => {
                tracing::warn!(
                    pages,
                    "the log of the store grows: something reads it for long"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the log of the store was not brought back"),
        }
    }
}

/// Pages in the log (PRAGMA wal_checkpoint).
fn checkpoint(connection: &Connection, how: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({how})"))?
        .query_row([], |row| row.get(1))
}
