//! An SQLite file of a program of ours: whose it is, which version it has, and how it is opened so that what it
//! acknowledges is durable. This crate knows nothing of what is in it.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi};

/// An older library has a race between a commit and a checkpoint that can lose commits in WAL mode.
const LIBRARY_MIN: i32 = 3_051_003;

/// How long is waited for another process that has the file.
pub const BUSY: Duration = Duration::from_secs(5);

/// The pause between tries where SQLite itself does not wait.
const PAUSE: Duration = Duration::from_millis(20);

/// What marks a program's files, and what they hold.
pub struct Kind {
    /// The program, as it is called in a message: "gateway".
    pub program: &'static str,
    /// What marks the file as that program's (PRAGMA application_id).
    pub application_id: i32,
    /// What each version adds; a file is brought from the one it has (PRAGMA user_version) to the last.
    pub migrations: &'static [&'static str],
}

/// A file that can't be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct Unusable {
    /// The file.
    pub path: PathBuf,
    /// Why, with advice.
    pub reason: String,
}

impl Kind {
    /// Opens a file for writing, and makes it, for its owner alone, if it is not there.
    ///
    /// # Errors
    /// When it is another program's, newer than this one, locked, or can't be written.
    pub fn open_or_make(&self, path: &Path) -> Result<Connection, Unusable> {
        make_private(path).map_err(|error| {
            let advice =
                format!("can't be written: {error}; check the owner of file and directory");
            unusable(path, advice)
        })?;
        self.open(path)
    }

    /// Opens a file for writing that is there.
    ///
    /// # Errors
    /// Those of [`Kind::open_or_make`], and when it is not there.
    pub fn open_existing(&self, path: &Path) -> Result<Connection, Unusable> {
        if !path.exists() {
            return Err(unusable(path, "there is none yet; `serve` makes it"));
        }
        self.open(path)
    }

    fn open(&self, path: &Path) -> Result<Connection, Unusable> {
        if rusqlite::version_number() < LIBRARY_MIN {
            let version = rusqlite::version();
            return Err(unusable(
                path,
                format!(
                    "SQLite {version} can lose commits in WAL mode; build with 3.51.3 or newer"
                ),
            ));
        }
        let failed = |error: rusqlite::Error| unusable(path, self.advice(&error));
        let flags = OpenFlags::default() - OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        self.check(&connection, path)?;
        write_ahead(&connection)
            .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
            .and_then(|()| connection.pragma_update(None, "foreign_keys", false))
            .and_then(|()| self.migrate(&mut connection))
            .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
            .map_err(failed)?;
        Ok(connection)
    }

    /// Refuses what is not this program's, or newer than it.
    fn check(&self, connection: &Connection, path: &Path) -> Result<(), Unusable> {
        let failed = |error: rusqlite::Error| unusable(path, self.advice(&error));
        let pragma =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        // Of one moment: another process may be making it.
        let moment = connection.unchecked_transaction().map_err(failed)?;
        let application = pragma("application_id").map_err(failed)?;
        let version = pragma("user_version").map_err(failed)?;
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(failed)?;
        moment.finish().map_err(failed)?;
        let is_new = application == 0 && version == 0 && tables == 0;
        if !is_new && application != i64::from(self.application_id) {
            return Err(unusable(
                path,
                "a database of another program; configure another [store] path",
            ));
        }
        let known = self.migrations.len();
        if usize::try_from(version).is_ok_and(|version| version <= known) {
            return Ok(());
        }
        let program = self.program;
        Err(unusable(
            path,
            format!(
                "made by a newer {program} (version {version}, this one knows {known}); run that one"
            ),
        ))
    }

    /// Brings a file to the last version: each script in a transaction with the version that it makes, so that an
    /// interrupted one leaves the version before it, whole. Foreign keys must be off, so that a script can make a table
    /// anew that others refer to; that all of them lead somewhere is checked before its commit.
    ///
    /// # Errors
    /// When a script fails or leaves a row that refers to nothing, or the file can't be written.
    pub fn migrate(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let version = |connection: &Connection| {
            connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
        };
        let known = u32::try_from(self.migrations.len()).unwrap_or(u32::MAX);
        while version(connection)? < known {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have done it meanwhile.
            let found = version(&transaction)?;
            if let Some(script) = self.migrations.get(found as usize) {
                transaction.execute_batch(script)?;
                if transaction
                    .prepare("PRAGMA foreign_key_check")?
                    .exists([])?
                {
                    return Err(rusqlite::Error::SqliteFailure(
                        ffi::Error::new(ffi::SQLITE_CONSTRAINT_FOREIGNKEY),
                        None,
                    ));
                }
                transaction.pragma_update(None, "application_id", self.application_id)?;
                transaction.pragma_update(None, "user_version", found + 1)?;
            }
            transaction.commit()?;
        }
        Ok(())
    }

    fn advice(&self, error: &rusqlite::Error) -> String {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                "not an SQLite database; configure another [store] path".to_owned()
            }
            Some(ErrorCode::DatabaseBusy) => {
                let program = self.program;
                format!("another process writes it; one {program} has one database")
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
                format!("can't be written: {error}; check the owner of file and directory")
            }
            Some(ErrorCode::DiskFull) => "the disk is full; make room".to_owned(),
            _ => format!("{error}; check the file, its directory and their owner"),
        }
    }
}

/// Opens a file that is there beside the one who writes it: for look-ups, or to bring its log back.
///
/// # Errors
/// When it can't be opened.
pub fn open_beside(path: &Path, access: OpenFlags) -> Result<Connection, Unusable> {
    Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        })
        .map_err(|error| unusable(path, error.to_string()))
}

/// Switches to a write-ahead log. SQLite does not wait for another process that does it at the same time.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let end = Instant::now() + BUSY;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < end =>
            {
                thread::park_timeout(PAUSE);
            }
            switched => return switched,
        }
    }
}

/// Makes the file, if it is not there, for its owner alone; SQLite gives its log the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
}

fn unusable(path: &Path, reason: impl Into<String>) -> Unusable {
    Unusable {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
