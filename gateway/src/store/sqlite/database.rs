//! The SQLite file: whose it is, its version, and how it is opened.

use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::store::StoreError;

/// "TwSl": what marks the file as ours (PRAGMA application_id).
const APPLICATION_ID: i64 = 0x5477_536c;

/// What each version adds; a file is brought from the one it has to the last.
const MIGRATIONS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// An older library has a race between a commit and a checkpoint that can lose commits in WAL mode.
const LIBRARY_MIN: i32 = 3_051_003;

/// What the writer keeps of the file in memory, in KiB.
const WRITER_CACHE: i64 = 64 * 1024;

/// Opens the file for the writer: makes it if it is not there, refuses it if it is not ours.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, StoreError> {
    let unusable = |reason: String| StoreError::Unusable {
        path: path.display().to_string(),
        reason,
    };
    if rusqlite::version_number() < LIBRARY_MIN {
        return Err(unusable(format!(
            "SQLite {} can lose commits in WAL mode; build with 3.51.3 or newer",
            rusqlite::version()
        )));
    }
    make_private(path).map_err(|error| {
        unusable(format!(
            "can't be written: {error}; check the owner of file and directory"
        ))
    })?;
    let mut connection = Connection::open(path).map_err(|error| unusable(error.to_string()))?;
    prepare(&mut connection, &unusable)?;
    Ok(connection)
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

fn prepare(
    connection: &mut Connection,
    unusable: &dyn Fn(String) -> StoreError,
) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| {
        unusable(match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => {
                "not an SQLite database; configure another [store] path".to_owned()
            }
            Some(rusqlite::ErrorCode::DatabaseBusy) => {
                "another process writes it; one gateway has one database".to_owned()
            }
            Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen) => {
                format!("can't be written: {error}; check the owner of file and directory")
            }
            _ => error.to_string(),
        })
    };
    connection
        .busy_timeout(Duration::from_secs(5))
        .map_err(failed)?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    // Of one moment: another process may be making it.
    let moment = connection.unchecked_transaction().map_err(failed)?;
    let application = pragma("application_id").map_err(failed)?;
    let version = pragma("user_version").map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    moment.finish().map_err(failed)?;
    let is_new = application == 0 && version == 0 && tables == 0;
    if !is_new && application != APPLICATION_ID {
        return Err(unusable(
            "a database of another program; configure another [store] path".to_owned(),
        ));
    }
    let known = MIGRATIONS.len();
    if version > known as i64 {
        return Err(unusable(format!(
            "made by a newer gateway (version {version}, this one knows {known}); run that one"
        )));
    }
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
        .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
        .and_then(|()| connection.pragma_update(None, "wal_autocheckpoint", 0))
        .and_then(|()| connection.pragma_update(None, "cache_size", -WRITER_CACHE))
        .map_err(failed)?;
    migrate(connection, &MIGRATIONS).map_err(failed)?;
    // Statements are prepared once and kept.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Brings the file to the last version: each script in a transaction with the version that it makes, so that an
/// interrupted one leaves the version before it, whole.
pub(in crate::store) fn migrate(
    connection: &mut Connection,
    scripts: &[&str],
) -> rusqlite::Result<()> {
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
    };
    let known = u32::try_from(scripts.len()).unwrap_or(u32::MAX);
    while version(connection)? < known {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have done it meanwhile.
        let found = version(&transaction)?;
        if let Some(script) = scripts.get(found as usize) {
            transaction.execute_batch(script)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", found + 1)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

/// Opens the file to bring its log back into it.
pub(super) fn open_for_checkpoints(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| {
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        })
        .map_err(|error| StoreError::Unusable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })
}

/// Opens the file for look-ups.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| {
            connection.busy_timeout(Duration::from_secs(5))?;
            Ok(connection)
        })
        .map_err(|error| StoreError::Unusable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })
}
