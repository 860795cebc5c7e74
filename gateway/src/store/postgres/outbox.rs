//! The outbox in PostgreSQL: one statement for each command, on its own.

use std::time::Instant;

use async_trait::async_trait;
use protocol::{identifiers::EventId, names::MerchantName, time::Timestamp};
use tokio::time::timeout_at;
use tokio_postgres::{Row, types::ToSql};

use super::PostgresStore;
use crate::store::{
    StoreError,
    columns::{parsed, signed},
    outbox::{
        self, ClaimEvents, ClaimedEvent, EVENT, EndTry, EventRecord, FORGOTTEN_MAX, Outbox, Replay,
        Tried,
    },
    tables::Fault,
};

/// Makes an event pending as if it had never been tried.
const REPLAY: &str = "UPDATE event SET tries = 0, next_try = $1, delivered_at = NULL, \
     given_up_at = NULL, last_failure = NULL";

impl PostgresStore {
    /// Has one statement done by the deadline. When it is not answered, it may have been done.
    pub(super) async fn statement<T>(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
        deadline: Option<Instant>,
        meaning: impl Fn(&Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, StoreError> {
        let done = async {
            let connection = self.pool.get().await?;
            let statement = connection.prepare_cached(query).await?;
            Ok::<_, StoreError>(connection.query(&statement, parameters).await?)
        };
        let rows = match deadline {
            None => done.await?,
            Some(deadline) => timeout_at(deadline.into(), done)
                .await
                .map_err(|_| StoreError::OutcomeUnknown)??,
        };
        Ok(rows.iter().map(meaning).collect::<Result<_, _>>()?)
    }
}

#[async_trait]
impl Outbox for PostgresStore {
    async fn with_due_events(
        &self,
        merchants: &[MerchantName],
        now: Timestamp,
    ) -> Result<Vec<MerchantName>, StoreError> {
        let merchants: Vec<&str> = merchants.iter().map(MerchantName::as_str).collect();
        self.statement(
            "SELECT merchant FROM unnest($1::text[]) AS asked (merchant)
             WHERE EXISTS (SELECT FROM event WHERE event.merchant = asked.merchant
                 AND next_try <= $2)",
            &[&merchants, &signed(now.0)?],
            None,
            |row| parsed(row, "merchant"),
        )
        .await
    }

    async fn claim_events(
        &self,
        command: ClaimEvents,
        deadline: Instant,
    ) -> Result<Vec<ClaimedEvent>, StoreError> {
        // What another gateway is taking at this moment is left to it. An array is made once, whatever the plan: no
        // more are taken than were asked for.
        self.statement(
            "UPDATE event SET tries = tries + 1, next_try = $4
             WHERE id = ANY (ARRAY(SELECT id FROM event WHERE merchant = $1 AND next_try <= $2
                 ORDER BY next_try LIMIT $3 FOR UPDATE SKIP LOCKED))
             RETURNING id, kind, body, tries",
            &[
                &command.merchant.as_str(),
                &signed(command.now.0)?,
                &i64::from(command.count),
                &signed(command.until.0)?,
            ],
            Some(deadline),
            outbox::claimed,
        )
        .await
    }

    async fn end_try(&self, command: EndTry, deadline: Instant) -> Result<(), StoreError> {
        let (next_try, delivered_at, given_up_at, why) = command.change();
        let seconds = |time: Option<Timestamp>| time.map(|time| signed(time.0)).transpose();
        self.statement(
            "UPDATE event SET next_try = $2, delivered_at = $3, given_up_at = $4,
                 last_failure = coalesce($5, last_failure)
             WHERE id = $1 AND delivered_at IS NULL
                 AND ($6 OR (tries = $7 AND next_try IS NOT NULL))",
            &[
                &&command.id.as_bytes()[..],
                &seconds(next_try)?,
                &seconds(delivered_at)?,
                &seconds(given_up_at)?,
                &why,
                &(command.outcome == Tried::Delivered),
                &i64::from(command.tries),
            ],
            Some(deadline),
            |_| Ok(()),
        )
        .await
        .map(drop)
    }

    async fn replay_events(
        &self,
        which: Replay,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Vec<EventId>, StoreError> {
        let now = signed(now.0)?;
        match which {
            Replay::These(ids) => {
                let ids: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
                self.statement(
                    &format!("{REPLAY} WHERE id = ANY ($2::bytea[]) RETURNING id"),
                    &[&now, &ids],
                    Some(deadline),
                    outbox::event_id,
                )
                .await
            }
            Replay::GivenUp(merchant) => {
                self.statement(
                    &format!(
                        "{REPLAY} WHERE given_up_at IS NOT NULL
                             AND ($2::text IS NULL OR merchant = $2) RETURNING id"
                    ),
                    &[&now, &merchant.as_ref().map(MerchantName::as_str)],
                    Some(deadline),
                    outbox::event_id,
                )
                .await
            }
        }
    }

    async fn forget_events(&self, before: Timestamp, deadline: Instant) -> Result<u64, StoreError> {
        let forgotten = self
            .statement(
                "DELETE FROM event WHERE id = ANY (ARRAY(SELECT id FROM event WHERE at < $1
                     LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING id",
                &[&signed(before.0)?, &i64::from(FORGOTTEN_MAX)],
                Some(deadline),
                outbox::event_id,
            )
            .await?;
        Ok(forgotten.len() as u64)
    }

    async fn pending_events(&self) -> Result<Vec<(MerchantName, u64)>, StoreError> {
        self.statement(
            "SELECT merchant, count(*) AS events FROM event WHERE next_try IS NOT NULL
             GROUP BY merchant ORDER BY merchant COLLATE \"C\"",
            &[],
            None,
            outbox::count,
        )
        .await
    }

    async fn events(
        &self,
        merchant: Option<&MerchantName>,
    ) -> Result<Vec<EventRecord>, StoreError> {
        self.statement(
            &format!("{EVENT} WHERE $1::text IS NULL OR merchant = $1 ORDER BY event.at DESC, id"),
            &[&merchant.map(MerchantName::as_str)],
            None,
            outbox::record,
        )
        .await
    }
}
