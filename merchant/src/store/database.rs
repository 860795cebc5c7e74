//! The SQLite file: whose it is, its version, and how it is opened.

use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::StoreError;

/// "TwSm": what marks the file as ours (PRAGMA application_id).
const APPLICATION_ID: i64 = 0x5477_536d;

/// What each version adds; a file is brought from the one it has to the last.
const MIGRATIONS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// An older library has a race between a commit and a checkpoint that can lose commits in WAL mode.
const LIBRARY_MIN: i32 = 3_051_003;

/// Opens the file, and makes it if it is not there.
pub(super) fn open_or_make(path: &Path) -> Result<Connection, StoreError> {
    make_private(path).map_err(|error| {
        let advice = format!("can't be written: {error}; check the owner of file and directory");
        unusable(path, &advice)
    })?;
    open(path, OpenFlags::default())
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

/// Opens the file, which must be there.
pub(super) fn open_existing(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(unusable(path, "there is none yet; `serve` makes it"));
    }
    open(path, OpenFlags::default() - OpenFlags::SQLITE_OPEN_CREATE)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < LIBRARY_MIN {
        return Err(unusable(
            path,
            "the SQLite library can lose commits in WAL mode; build with 3.51.3 or newer",
        ));
    }
    let failed = |error: rusqlite::Error| unusable(path, &advice(&error));
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
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
            path,
            "a database of another program; configure another [store] path",
        ));
    }
    if version > MIGRATIONS.len() as i64 {
        return Err(unusable(path, "made by a newer merchant; run that one"));
    }
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
        .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
        .map_err(failed)?;
    migrate(&mut connection, &MIGRATIONS).map_err(failed)?;
    Ok(connection)
}

/// Brings the file to the last version: each script in a transaction with the version that it makes, so that an
/// interrupted one leaves the version before it, whole.
pub(super) fn migrate(connection: &mut Connection, scripts: &[&str]) -> rusqlite::Result<()> {
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

fn unusable(path: &Path, reason: &str) -> StoreError {
    StoreError::Unusable {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

fn advice(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            "not an SQLite database; configure another [store] path".to_owned()
        }
        Some(ErrorCode::DatabaseBusy) => {
            "another process writes it; one merchant has one database".to_owned()
        }
        _ => format!("{error}; check the file, its directory and their owner"),
    }
}
