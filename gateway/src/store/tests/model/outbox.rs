//! The model's outbox.

use std::time::Instant;

use async_trait::async_trait;
use protocol::{identifiers::EventId, names::MerchantName, time::Timestamp};

use super::Model;
use crate::store::{
    StoreError,
    outbox::{
        ClaimEvents, ClaimedEvent, EndTry, EventRecord, EventState, NewEvent, Outbox, Replay, Tried,
    },
};

pub(super) fn insert(events: &mut Vec<EventRecord>, event: &NewEvent) {
    if events.iter().any(|known| known.id == event.id) {
        return;
    }
    events.push(EventRecord {
        id: event.id,
        merchant: event.merchant.clone(),
        kind: event.kind.to_owned(),
        subject: event.subject,
        at: event.at,
        body: event.body.clone(),
        tries: 0,
        state: EventState::Pending { next_try: event.at },
        last_failure: None,
    });
}

fn is_due(event: &EventRecord, merchant: &MerchantName, now: Timestamp) -> bool {
    matches!(event.state, EventState::Pending { next_try } if next_try <= now)
        && &event.merchant == merchant
}

#[async_trait]
impl Outbox for Model {
    async fn with_due_events(
        &self,
        merchants: &[MerchantName],
        now: Timestamp,
    ) -> Result<Vec<MerchantName>, StoreError> {
        let rows = self.rows();
        let has_due = |merchant: &&MerchantName| {
            let mut events = rows.events.iter();
            events.any(|event| is_due(event, merchant, now))
        };
        Ok(merchants.iter().filter(has_due).cloned().collect())
    }

    async fn claim_events(
        &self,
        command: ClaimEvents,
        _: Instant,
    ) -> Result<Vec<ClaimedEvent>, StoreError> {
        let mut rows = self.rows();
        let mut due: Vec<&mut EventRecord> = rows
            .events
            .iter_mut()
            .filter(|event| is_due(event, &command.merchant, command.now))
            .collect();
        due.sort_by_key(|event| match event.state {
            EventState::Pending { next_try } => next_try,
            _ => event.at,
        });
        due.truncate(command.count as usize);
        let claimed = due.into_iter().map(|event| {
            event.tries += 1;
            event.state = EventState::Pending {
                next_try: command.until,
            };
            ClaimedEvent {
                id: event.id,
                kind: event.kind.clone(),
                body: event.body.clone(),
                tries: event.tries,
            }
        });
        Ok(claimed.collect())
    }

    async fn end_try(&self, command: EndTry, _: Instant) -> Result<(), StoreError> {
        let mut rows = self.rows();
        let mut events = rows.events.iter_mut();
        let Some(event) = events.find(|event| event.id == command.id) else {
            return Ok(());
        };
        let is_this_try =
            matches!(event.state, EventState::Pending { .. }) && event.tries == command.tries;
        match command.outcome {
            Tried::Delivered if !matches!(event.state, EventState::Delivered { .. }) => {
                event.state = EventState::Delivered { at: command.now };
            }
            Tried::Again { at, why } if is_this_try => {
                event.state = EventState::Pending { next_try: at };
                event.last_failure = Some(why);
            }
            Tried::GivenUp { why } if is_this_try => {
                event.state = EventState::GivenUp { at: command.now };
                event.last_failure = Some(why);
            }
            _ => {}
        }
        Ok(())
    }

    async fn replay_events(
        &self,
        which: Replay,
        now: Timestamp,
        _: Instant,
    ) -> Result<Vec<EventId>, StoreError> {
        let mut rows = self.rows();
        let is_meant = |event: &EventRecord| match &which {
            Replay::These(ids) => ids.contains(&event.id),
            Replay::GivenUp(merchant) => {
                let is_theirs = merchant.as_ref().is_none_or(|name| name == &event.merchant);
                matches!(event.state, EventState::GivenUp { .. }) && is_theirs
            }
        };
        let mut replayed = Vec::new();
        for event in rows.events.iter_mut().filter(|event| is_meant(event)) {
            event.tries = 0;
            event.state = EventState::Pending { next_try: now };
            event.last_failure = None;
            replayed.push(event.id);
        }
        Ok(replayed)
    }

    async fn forget_events(&self, before: Timestamp, _: Instant) -> Result<u64, StoreError> {
        let mut rows = self.rows();
        let there = rows.events.len();
        rows.events.retain(|event| event.at >= before);
        Ok((there - rows.events.len()) as u64)
    }

    async fn pending_events(&self) -> Result<Vec<(MerchantName, u64)>, StoreError> {
        let rows = self.rows();
        let mut counts = std::collections::BTreeMap::<MerchantName, u64>::new();
        for event in &rows.events {
            if matches!(event.state, EventState::Pending { .. }) {
                *counts.entry(event.merchant.clone()).or_default() += 1;
            }
        }
        Ok(counts.into_iter().collect())
    }

    async fn events(
        &self,
        merchant: Option<&MerchantName>,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let mut events = self.rows().events.clone();
        events.retain(|event| merchant.is_none_or(|name| name == &event.merchant));
        events.sort_by_key(|event| (std::cmp::Reverse(event.at), event.id));
        Ok(events)
    }
}
