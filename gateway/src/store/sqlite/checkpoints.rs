//! Brings the log back into the database on a connection and a thread of its own, so that no commit waits for it.
//!
//! While commits follow one another, there is always something in the log that is not brought back, and it would never
//! begin anew. So the writer itself lets it, between two groups of commands, when nearly all of it is back.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::Connection;
use sqlite_file::BUSY;

use super::database;
use crate::store::StoreError;

/// How long the log is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// Pages of the log above which it begins anew: 64 MiB.
const PAGES_MAX: i64 = 16_384;

/// Pages above which it is told that it can't: 1 GiB. A copy or a report that takes long keeps it as it is.
const PAGES_STRANGE: i64 = 262_144;

/// How long the writer waits for readers when it lets the log begin anew.
const RESTART_WAIT: Duration = Duration::from_millis(50);

/// Ends with its store.
pub(super) struct Checkpoints {
    /// None only while it is dropped.
    open: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the writer that the log is to begin anew.
#[derive(Clone, Default)]
pub(super) struct Restart(Arc<AtomicBool>);

impl Restart {
    /// Lets the log begin anew, if that is wanted: for the writer, between two transactions.
    pub(super) fn if_wanted(&self, connection: &Connection) {
        if !self.0.swap(false, Ordering::Relaxed) {
            return;
        }
        let restarted = connection
            .busy_timeout(RESTART_WAIT)
            .and_then(|()| checkpoint(connection, "RESTART"))
            .and_then(|_| connection.busy_timeout(BUSY));
        if let Err(error) = restarted {
            tracing::warn!(%error, "the log of the store does not begin anew");
        }
    }
}

impl Checkpoints {
    /// Works until it is dropped, and tells the writer by `restart`.
    pub(super) fn start(path: &Path, restart: &Restart) -> Result<Self, StoreError> {
        let connection = database::open_for_checkpoints(path)?;
        let (open, is_open) = crossbeam_channel::bounded(0);
        let restart = restart.clone();
        let thread = thread::Builder::new()
            .name("store-checkpoints".to_owned())
            .spawn(move || run(&connection, &is_open, &restart))
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

fn run(connection: &Connection, is_open: &Receiver<()>, restart: &Restart) {
    // Nothing is ever sent: it is closed.
    while let Err(RecvTimeoutError::Timeout) = is_open.recv_timeout(PAUSE) {
        match checkpoint(connection, "PASSIVE") {
            Ok(pages) => {
                restart.0.store(pages > PAGES_MAX, Ordering::Relaxed);
                if pages > PAGES_STRANGE {
                    tracing::warn!(
                        pages,
                        "the log of the store grows: something reads it for long, or the disk is slow"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "the log of the store was not brought back"),
        }
    }
}

/// Brings back what can be, and tells how many pages the log has (PRAGMA wal_checkpoint).
fn checkpoint(connection: &Connection, how: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({how})"))?
        .query_row([], |row| row.get(1))
}
