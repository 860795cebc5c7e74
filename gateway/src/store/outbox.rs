//! The outbox: what merchants are to be told, written in the transaction of the change itself, and taken from there to
//! be sent. An event that is there happened; what happened to a merchant that is told is there.
//!
//! Whoever sends takes an event for a time (a lease): nobody else takes it meanwhile, and if the sender is gone then,
//! it is taken again. So every event is sent at least once, and as a rule by one gateway at a time.

use std::{collections::HashSet, sync::Arc, time::Instant};

use async_trait::async_trait;
use protocol::{
    identifiers::EventId,
    names::MerchantName,
    notice::{self, Happened},
    time::Timestamp,
};

use super::{
    StoreError,
    columns::{self, Columns},
    tables::{Fault, Tables},
};

/// How many events one command forgets: others are to have their turn.
pub(super) const FORGOTTEN_MAX: u32 = 1000;

/// The merchants that are told what happens. The store knows no configuration, so each command brings them: an event
/// that nobody is going to fetch is never written.
#[derive(Clone, Default)]
pub(crate) struct Subscribers(Arc<HashSet<MerchantName>>);

impl FromIterator<MerchantName> for Subscribers {
    fn from_iter<I: IntoIterator<Item = MerchantName>>(merchants: I) -> Self {
        Self(Arc::new(merchants.into_iter().collect()))
    }
}

impl Subscribers {
    /// Writes down what happened to a merchant, if it is told.
    pub(super) fn tell(
        &self,
        tables: &mut impl Tables,
        merchant: &MerchantName,
        at: Timestamp,
        happened: impl FnOnce() -> Result<Happened, Fault>,
    ) -> Result<(), Fault> {
        if !self.0.contains(merchant) {
            return Ok(());
        }
        tables.insert_event(&NewEvent::of(merchant, &happened()?, at)?)
    }
}

/// An event as it is inserted.
#[derive(Clone)]
pub(super) struct NewEvent {
    pub(super) id: EventId,
    pub(super) merchant: MerchantName,
    pub(super) kind: &'static str,
    /// The transaction or batch that it is about.
    pub(super) subject: [u8; 16],
    pub(super) at: Timestamp,
    /// The JSON, byte for byte as it is going to be sent.
    pub(super) body: String,
}

impl NewEvent {
    fn of(merchant: &MerchantName, happened: &Happened, at: Timestamp) -> Result<Self, Fault> {
        Ok(Self {
            id: happened.id(merchant),
            merchant: merchant.clone(),
            kind: happened.kind(),
            subject: happened.subject(),
            at,
            body: notice::write(happened, at).map_err(|_| Fault::strange("an event"))?,
        })
    }
}

/// Takes events of a merchant that are to be sent now.
#[derive(Clone)]
pub(crate) struct ClaimEvents {
    pub(crate) merchant: MerchantName,
    /// So many at most.
    pub(crate) count: u32,
    pub(crate) now: Timestamp,
    /// Until when nobody else takes them.
    pub(crate) until: Timestamp,
}

/// An event that is to be sent by who took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimedEvent {
    pub(crate) id: EventId,
    pub(crate) kind: String,
    pub(crate) body: String,
    /// How often it was tried, this time included.
    pub(crate) tries: u32,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tried {
    Delivered,
    /// To be tried again at a time.
    Again {
        at: Timestamp,
        why: String,
    },
    GivenUp {
        why: String,
    },
}

/// Keeps what came of a try.
#[derive(Debug, Clone)]
pub(crate) struct EndTry {
    pub(crate) id: EventId,
    /// The try that it is about: what came of an earlier one changes nothing any more, unless it was a delivery.
    pub(crate) tries: u32,
    pub(crate) outcome: Tried,
    pub(crate) now: Timestamp,
}

/// Which events are to be sent once more, from the first try on.
#[derive(Debug, Clone)]
pub(crate) enum Replay {
    /// These, delivered ones too.
    These(Vec<EventId>),
    /// All that were given up, or those of one merchant.
    GivenUp(Option<MerchantName>),
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventState {
    Pending { next_try: Timestamp },
    Delivered { at: Timestamp },
    GivenUp { at: Timestamp },
}

/// An event as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRecord {
    pub(crate) id: EventId,
    pub(crate) merchant: MerchantName,
    pub(crate) kind: String,
    pub(crate) subject: [u8; 16],
    pub(crate) at: Timestamp,
    pub(crate) body: String,
    pub(crate) tries: u32,
    pub(crate) state: EventState,
    /// Why the last try that failed did.
    pub(crate) last_failure: Option<String>,
}

/// The store's outbox. Commands are durable when they are answered.
#[async_trait]
pub(crate) trait Outbox: Send + Sync {
    /// Which of these merchants have events that are to be sent now.
    async fn with_due_events(
        &self,
        merchants: &[MerchantName],
        now: Timestamp,
    ) -> Result<Vec<MerchantName>, StoreError>;

    /// Takes events that are to be sent now, the longest due first.
    async fn claim_events(
        &self,
        command: ClaimEvents,
        deadline: Instant,
    ) -> Result<Vec<ClaimedEvent>, StoreError>;

    /// Keeps what came of a try.
    async fn end_try(&self, command: EndTry, deadline: Instant) -> Result<(), StoreError>;

    /// Has events sent once more; gives those that are going to be.
    async fn replay_events(
        &self,
        which: Replay,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Vec<EventId>, StoreError>;

    /// Forgets events of before a moment; a number of them at a time, none when none is left.
    async fn forget_events(&self, before: Timestamp, deadline: Instant) -> Result<u64, StoreError>;

    /// How many events of each merchant are neither delivered nor given up.
    async fn pending_events(&self) -> Result<Vec<(MerchantName, u64)>, StoreError>;

    /// All events, or those of one merchant; newest first.
    async fn events(&self, merchant: Option<&MerchantName>)
    -> Result<Vec<EventRecord>, StoreError>;
}

/// The columns of an event as [`record`] reads them.
pub(super) const EVENT: &str = "SELECT id, merchant, kind, subject, at, body, tries, next_try, \
     delivered_at, given_up_at, last_failure FROM event";

/// Reads an [`EVENT`] row.
pub(super) fn record(row: &impl Columns) -> Result<EventRecord, Fault> {
    let state = match (
        columns::optional(row, "next_try")?,
        columns::optional(row, "delivered_at")?,
        columns::optional(row, "given_up_at")?,
    ) {
        (Some(next), None, None) => EventState::Pending {
            next_try: Timestamp(next),
        },
        (None, Some(at), None) => EventState::Delivered { at: Timestamp(at) },
        (None, None, Some(at)) => EventState::GivenUp { at: Timestamp(at) },
        _ => return Err(Fault::strange("an event's state")),
    };
    let claimed = claimed(row)?;
    Ok(EventRecord {
        id: claimed.id,
        merchant: columns::parsed(row, "merchant")?,
        kind: claimed.kind,
        subject: columns::id(row, "subject")?,
        at: columns::time(row, "at")?,
        body: claimed.body,
        tries: claimed.tries,
        state,
        last_failure: row.text("last_failure")?,
    })
}

/// Reads what is sent of an event.
pub(super) fn claimed(row: &impl Columns) -> Result<ClaimedEvent, Fault> {
    Ok(ClaimedEvent {
        id: event_id(row)?,
        kind: columns::text(row, "kind")?,
        body: columns::text(row, "body")?,
        tries: columns::small(columns::unsigned(row, "tries")?, "tries")?,
    })
}

pub(super) fn event_id(row: &impl Columns) -> Result<EventId, Fault> {
    columns::id(row, "id").map(EventId::from_bytes)
}

/// Reads how many events a merchant has.
pub(super) fn count(row: &impl Columns) -> Result<(MerchantName, u64), Fault> {
    Ok((
        columns::parsed(row, "merchant")?,
        columns::unsigned(row, "events")?,
    ))
}

/// What a try changes of a row: the next one, the delivery, the giving up, why it failed.
pub(super) type Change<'a> = (
    Option<Timestamp>,
    Option<Timestamp>,
    Option<Timestamp>,
    Option<&'a str>,
);

impl EndTry {
    pub(super) fn change(&self) -> Change<'_> {
        match &self.outcome {
            Tried::Delivered => (None, Some(self.now), None, None),
            Tried::Again { at, why } => (Some(*at), None, None, Some(why)),
            Tried::GivenUp { why } => (None, None, Some(self.now), Some(why)),
        }
    }
}
