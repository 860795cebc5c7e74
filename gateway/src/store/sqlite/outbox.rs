//! The outbox in the file: changes by the writer, like those of every command; look-ups on the readers.

use std::time::Instant;

use async_trait::async_trait;
use protocol::{identifiers::EventId, names::MerchantName, time::Timestamp};
use rusqlite::Connection;

use super::{
    SqliteStore,
    rows::{all, one},
};
use crate::store::{
    StoreError,
    columns::signed,
    outbox::{
        self, ClaimEvents, ClaimedEvent, EVENT, EndTry, EventRecord, FORGOTTEN_MAX, NewEvent,
        Outbox, Replay, Tried,
    },
    tables::Fault,
};

/// Writes an event down, in the transaction of what happened. What happened once is told once: one that is there stays
/// as it is.
pub(super) fn insert(connection: &Connection, event: &NewEvent) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO event (id, merchant, kind, subject, at, body, next_try)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5) ON CONFLICT DO NOTHING",
        )?
        .execute((
            event.id.as_bytes(),
            event.merchant.as_str(),
            event.kind,
            event.subject,
            signed(event.at.0)?,
            &event.body,
        ))?;
    Ok(())
}

fn end(connection: &Connection, ended: &EndTry) -> Result<(), Fault> {
    let (next_try, delivered_at, given_up_at, why) = ended.change();
    let seconds = |time: Option<Timestamp>| time.map(|time| signed(time.0)).transpose();
    connection
        .prepare_cached(
            "UPDATE event SET next_try = ?2, delivered_at = ?3, given_up_at = ?4,
                 last_failure = coalesce(?5, last_failure)
             WHERE id = ?1 AND delivered_at IS NULL
                 AND (?6 OR (tries = ?7 AND next_try IS NOT NULL))",
        )?
        .execute((
            ended.id.as_bytes(),
            seconds(next_try)?,
            seconds(delivered_at)?,
            seconds(given_up_at)?,
            why,
            ended.outcome == Tried::Delivered,
            ended.tries,
        ))?;
    Ok(())
}

/// Makes an event pending as if it had never been tried.
const REPLAY: &str = "UPDATE event SET tries = 0, next_try = ?1, delivered_at = NULL, \
     given_up_at = NULL, last_failure = NULL";

fn replay(connection: &Connection, which: &Replay, now: Timestamp) -> Result<Vec<EventId>, Fault> {
    let now = signed(now.0)?;
    match which {
        Replay::These(ids) => {
            let query = format!("{REPLAY} WHERE id = ?2 RETURNING id");
            let mut replayed = Vec::new();
            for id in ids {
                let found = one(connection, &query, (now, id.as_bytes()), |row| {
                    outbox::event_id(row)
                })?;
                replayed.extend(found);
            }
            Ok(replayed)
        }
        Replay::GivenUp(merchant) => all(
            connection,
            &format!(
                "{REPLAY} WHERE given_up_at IS NOT NULL AND (?2 IS NULL OR merchant = ?2)
                 RETURNING id"
            ),
            (now, merchant.as_ref().map(MerchantName::as_str)),
            |row| outbox::event_id(row),
        ),
    }
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn with_due_events(
        &self,
        merchants: &[MerchantName],
        now: Timestamp,
    ) -> Result<Vec<MerchantName>, StoreError> {
        self.readers.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT 1 FROM event WHERE merchant = ?1 AND next_try <= ?2")?;
            let mut due = Vec::new();
            for merchant in merchants {
                if statement.exists((merchant.as_str(), signed(now.0)?))? {
                    due.push(merchant.clone());
                }
            }
            Ok(due)
        })
    }

    async fn claim_events(
        &self,
        command: ClaimEvents,
        deadline: Instant,
    ) -> Result<Vec<ClaimedEvent>, StoreError> {
        self.writer
            .run(deadline, move |connection| {
                all(
                    connection,
                    "UPDATE event SET tries = tries + 1, next_try = ?4
                     WHERE id IN (SELECT id FROM event WHERE merchant = ?1 AND next_try <= ?2
                         ORDER BY next_try LIMIT ?3)
                     RETURNING id, kind, body, tries",
                    (
                        command.merchant.as_str(),
                        signed(command.now.0)?,
                        command.count,
                        signed(command.until.0)?,
                    ),
                    |row| outbox::claimed(row),
                )
            })
            .await
    }

    async fn end_try(&self, command: EndTry, deadline: Instant) -> Result<(), StoreError> {
        self.writer
            .run(deadline, move |connection| end(connection, &command))
            .await
    }

    async fn replay_events(
        &self,
        which: Replay,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Vec<EventId>, StoreError> {
        self.writer
            .run(deadline, move |connection| replay(connection, &which, now))
            .await
    }

    async fn forget_events(&self, before: Timestamp, deadline: Instant) -> Result<u64, StoreError> {
        self.writer
            .run(deadline, move |connection| {
                let forgotten = connection.execute(
                    "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE at < ?1 LIMIT ?2)",
                    (signed(before.0)?, FORGOTTEN_MAX),
                )?;
                Ok(forgotten as u64)
            })
            .await
    }

    async fn pending_events(&self) -> Result<Vec<(MerchantName, u64)>, StoreError> {
        self.readers.read(|connection| {
            all(
                connection,
                "SELECT merchant, count(*) AS events FROM event WHERE next_try IS NOT NULL
                 GROUP BY merchant ORDER BY merchant",
                [],
                |row| outbox::count(row),
            )
        })
    }

    async fn events(
        &self,
        merchant: Option<&MerchantName>,
    ) -> Result<Vec<EventRecord>, StoreError> {
        self.readers.read(|connection| {
            all(
                connection,
                &format!("{EVENT} WHERE ?1 IS NULL OR merchant = ?1 ORDER BY at DESC, id"),
                [merchant.map(MerchantName::as_str)],
                |row| outbox::record(row),
            )
        })
    }
}
