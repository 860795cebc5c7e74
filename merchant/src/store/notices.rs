//! What the gateway told without being asked. It is kept for ever, so that what comes again changes nothing.

use protocol::{identifiers::Xid, notice::Notice, time::Timestamp};
use rusqlite::{Connection, Params, Row};

use super::{Store, StoreError, rows};

/// A notice as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoticeRecord {
    /// The webhook's id.
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) happened_at: Timestamp,
    pub(crate) received_at: Timestamp,
    pub(crate) xid: Option<Xid>,
    /// As it was signed.
    pub(crate) body: String,
}

impl NoticeRecord {
    /// What it says; `None` for a type that this version does not know.
    ///
    /// # Errors
    /// When the store holds what was never received.
    pub(crate) fn notice(&self) -> Result<Notice, StoreError> {
        protocol::notice::read(self.body.as_bytes()).map_err(|_| StoreError::Strange("a notice"))
    }
}

impl Store {
    /// Keeps a notice, durably; tells whether it is new.
    pub(crate) async fn add_notice(&self, new: NoticeRecord) -> Result<bool, StoreError> {
        self.run(move |connection| {
            let inserted = connection.execute(
                "INSERT INTO notice (id, kind, happened_at, received_at, xid, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
                (
                    new.id,
                    new.kind,
                    rows::seconds(new.happened_at),
                    rows::seconds(new.received_at),
                    new.xid.as_ref().map(Xid::as_bytes),
                    new.body,
                ),
            )?;
            Ok(inserted == 1)
        })
        .await
    }

    /// All notices, newest first.
    pub(crate) async fn notices(&self) -> Result<Vec<NoticeRecord>, StoreError> {
        self.run(|connection| select(connection, "true", [])).await
    }

    /// Those of one transaction, newest first.
    pub(crate) async fn notices_of(&self, xid: Xid) -> Result<Vec<NoticeRecord>, StoreError> {
        self.run(move |connection| select(connection, "xid = ?1", [xid.as_bytes()]))
            .await
    }
}

fn select(
    connection: &Connection,
    where_: &str,
    parameters: impl Params,
) -> Result<Vec<NoticeRecord>, StoreError> {
    let mut statement = connection.prepare(&format!(
        "SELECT * FROM notice WHERE {where_} ORDER BY happened_at DESC, id"
    ))?;
    let found = statement.query_map(parameters, |row| Ok(record(row)))?;
    found.map(|row| row?).collect()
}

fn record(row: &Row<'_>) -> Result<NoticeRecord, StoreError> {
    Ok(NoticeRecord {
        id: row.get("id")?,
        kind: row.get("kind")?,
        happened_at: rows::time(row, "happened_at")?,
        received_at: rows::time(row, "received_at")?,
        xid: row.get::<_, Option<[u8; 16]>>("xid")?.map(Xid::from_bytes),
        body: row.get("body")?,
    })
}
