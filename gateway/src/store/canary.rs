//! A row that says nothing, written and read to see whether the store can be.

use rusqlite::Connection;

/// Writes it.
pub(super) fn write(connection: &Connection, stamp: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO canary (id, stamp) VALUES (1, ?1) ON CONFLICT DO UPDATE SET stamp = ?1",
        )?
        .execute([stamp])
        .map(drop)
}

/// Reads it.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("SELECT stamp FROM canary WHERE id = 1")?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(drop)
}
