//! The gateway's SQLite file, and the connections that have it open.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use sqlite_file::{Kind, Unusable, open_beside};

use crate::store::StoreError;

/// "TwSl" marks the gateway's files.
pub(in crate::store) const FILE: Kind = Kind {
    program: "gateway",
    application_id: 0x5477_536c,
    migrations: &[
        include_str!("schema/1.sql"),
        include_str!("schema/2.sql"),
        include_str!("schema/3.sql"),
        include_str!("schema/4.sql"),
    ],
};

/// What the writer keeps of the file in memory, in KiB.
const WRITER_CACHE: i64 = 64 * 1024;

impl From<Unusable> for StoreError {
    fn from(error: Unusable) -> Self {
        Self::Unusable {
            path: error.path.display().to_string(),
            reason: error.reason,
        }
    }
}

/// Opens the file for the writer: makes it if it is not there, refuses it if it is not ours.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, StoreError> {
    let connection = FILE.open_or_make(path)?;
    // The log is brought back by another connection.
    connection
        .pragma_update(None, "wal_autocheckpoint", 0)
        .and_then(|()| connection.pragma_update(None, "cache_size", -WRITER_CACHE))
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    // Statements are prepared once and kept.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens the file to bring its log back into it.
pub(super) fn open_for_checkpoints(path: &Path) -> Result<Connection, StoreError> {
    Ok(open_beside(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?)
}

/// Opens the file for look-ups.
pub(in crate::store) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    Ok(open_beside(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}
