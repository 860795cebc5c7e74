//! A copy of the database while the gateway goes on, and whether a database is whole.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection,
    backup::{Backup, Progress, StepResult},
};

use super::database;

/// Pages that are copied at a time, 4 MiB; the writer goes on in between.
const STEP_PAGES: i32 = 1024;

/// How long to let others before the next try, when the source is locked.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("{} is there already and stays as it is; name another file", path.display())]
    Exists { path: PathBuf },
    #[error("{} can't be written: {source}; make room, or name another directory", path.display())]
    NotWritten { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error(transparent)]
    NotMoved(#[from] crate::store::postgres::moving::NotMoved),
    #[error("the copy was not made: {0}; nothing was left behind, try again")]
    NotCopied(#[from] rusqlite::Error),
    #[error(
        "the copy is not whole: {0}; check the disk, and the database with `twinseal-gateway check`"
    )]
    NotWhole(String),
}

/// A file that has its name only once it is whole.
pub(crate) struct Unfinished {
    to: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    /// Makes an empty one, for its owner alone: it holds what the store holds.
    ///
    /// # Errors
    /// When there is a file with this name, or none can be written.
    pub(crate) fn make(to: &Path) -> Result<Self, BackupError> {
        if to.exists() {
            return Err(BackupError::Exists {
                path: to.to_owned(),
            });
        }
        let mut path = to.as_os_str().to_owned();
        path.push(".unfinished");
        let unfinished = Self {
            to: to.to_owned(),
            path: PathBuf::from(path),
        };
        let made = remove_if_there(&unfinished.path).and_then(|()| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&unfinished.path)
        });
        made.map_err(|source| unfinished.not_written(source))?;
        Ok(unfinished)
    }

    /// Where it is written.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the database in it is whole, gives it its name, durably, and tells how many bytes it has.
    ///
    /// # Errors
    /// When it is not whole, or can't be written.
    pub(crate) fn finish(self) -> Result<u64, BackupError> {
        if let Some(fault) = faults(&Connection::open(&self.path)?)?.into_iter().next() {
            return Err(BackupError::NotWhole(fault));
        }
        let finish = || {
            let file = File::open(&self.path)?;
            file.sync_all()?;
            let bytes = file.metadata()?.len();
            fs::rename(&self.path, &self.to)?;
            let directory = self.to.parent().filter(|path| *path != Path::new(""));
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(bytes)
        };
        finish().map_err(|source| self.not_written(source))
    }

    fn not_written(&self, source: io::Error) -> BackupError {
        BackupError::NotWritten {
            path: self.to.clone(),
            source,
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What is told is why there is no copy; what is left of one is in nobody's way.
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.path.as_os_str().to_owned();
            path.push(end);
            let _ = remove_if_there(Path::new(&path));
        }
    }
}

/// Copies a database, whole, as it is at one moment; gives the copied bytes.
pub(crate) fn copy(
    database: &Path,
    to: &Path,
    mut told: impl FnMut(Progress),
) -> Result<u64, BackupError> {
    let unfinished = Unfinished::make(to)?;
    copy_to(database, unfinished.path(), &mut told)?;
    unfinished.finish()
}

fn copy_to(
    database: &Path,
    unfinished: &Path,
    told: &mut impl FnMut(Progress),
) -> Result<(), BackupError> {
    let source = database::open_for_reading(database)?;
    let mut target = Connection::open(unfinished)?;
    // Held while it is copied: else every commit of the gateway's would have the copy begin anew. The log
    // grows meanwhile.
    let moment = source.unchecked_transaction()?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    {
        let backup = Backup::new(&source, &mut target)?;
        loop {
            match backup.step(STEP_PAGES)? {
                StepResult::Done => break,
                StepResult::More => told(backup.progress()),
                _ => std::thread::park_timeout(PAUSE),
            }
        }
    }
    moment.finish()?;
    // A copy of a database in WAL mode is one, too; alone it needs no second file.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(())
}

/// What SQLite finds wrong with a database (PRAGMA integrity_check, foreign_key_check).
pub(super) fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut faults: Vec<String> = connection
        .prepare("PRAGMA integrity_check")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    faults.retain(|line| line != "ok");
    let dangling = connection
        .prepare("PRAGMA foreign_key_check")?
        .query_map([], |row| {
            let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
            Ok(format!(
                "a row of {table} names one of {parent} that is not there"
            ))
        })?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    faults.extend(dangling);
    Ok(faults)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
