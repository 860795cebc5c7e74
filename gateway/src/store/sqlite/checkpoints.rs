//! Brings the log back into the database on a connection and a thread of its own, so that no commit waits for it.

use std::{
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
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

/// How long a restart of the log may wait for readers: writers wait meanwhile, too.
const RESTART_WAIT: Duration = Duration::from_millis(50);

/// After one that waited in vain, how long until the next.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// Ends with its store.
pub(super) struct Checkpoints {
    /// None only while it is dropped.
    open: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let connection = database::open_for_checkpoints(path)?;
        connection
            .busy_timeout(RESTART_WAIT)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
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
    let mut restart_after = Instant::now();
    // Nothing is ever sent: it is closed.
    while let Err(RecvTimeoutError::Timeout) = is_open.recv_timeout(PAUSE) {
        let brought_back = checkpoint(connection, "PASSIVE").and_then(|passive| {
            if passive.pages <= PAGES_MAX || Instant::now() < restart_after {
                return Ok(passive);
            }
            let restart = checkpoint(connection, "RESTART")?;
            if restart.is_busy {
                // Somebody reads for long: writers are not to wait for that again and again.
                restart_after = Instant::now() + RESTART_PAUSE;
            }
            Ok(restart)
        });
        match brought_back {
            Ok(log) if log.pages > PAGES_STRANGE => {
                let pages = log.pages;
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

/// The log after a checkpoint.
struct Log {
    /// Not all of it could be brought back.
    is_busy: bool,
    pages: i64,
}

/// Brings back what can be (PRAGMA wal_checkpoint).
fn checkpoint(connection: &Connection, how: &str) -> rusqlite::Result<Log> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({how})"))?
        .query_row([], |row| {
            Ok(Log {
                is_busy: row.get(0)?,
                pages: row.get(1)?,
            })
        })
}
