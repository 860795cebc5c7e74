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
    #[error("the copy was not made: {0}; nothing was left behind, try again")]
    NotCopied(#[from] rusqlite::Error),
    #[error(
        "the copy is not whole: {0}; check the disk, and the database with `twinseal-gateway check`"
    )]
    NotWhole(String),
}

/// Copies a database, whole, as it is at one moment; gives the copied bytes. A half-made copy never has the
/// copy's name.
pub(crate) fn copy(
    database: &Path,
    to: &Path,
    mut told: impl FnMut(Progress),
) -> Result<u64, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists {
            path: to.to_owned(),
        });
    }
    let not_written = |source| BackupError::NotWritten {
        path: to.to_owned(),
        source,
    };
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    remove_if_there(&unfinished).map_err(not_written)?;
    // It holds what the store holds: for its owner alone.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(not_written)?;
    let copied = copy_to(database, &unfinished, &mut told).and_then(|()| check_whole(&unfinished));
    if let Err(error) = copied {
        // What is told is why there is no copy; what is left of it is in nobody's way.
        let _ = remove_if_there(&unfinished);
        return Err(error);
    }
    let finish = || {
        let file = File::open(&unfinished)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&unfinished, to)?;
        let directory = to.parent().filter(|path| *path != Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(bytes)
    };
    finish().map_err(not_written)
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

fn check_whole(copy: &Path) -> Result<(), BackupError> {
    match faults(&Connection::open(copy)?)?.into_iter().next() {
        None => Ok(()),
        Some(fault) => Err(BackupError::NotWhole(fault)),
    }
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
