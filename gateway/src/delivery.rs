//! Sends merchants what they are to be told: takes events from the outbox, signs them, posts them, and keeps what came
//! of it.
//!
//! Each merchant has its own few places, so that a slow or dead one delays no other, and nothing here is waited for by
//! a payment. An event is sent at least once; a merchant knows one that it has by its id.

mod endpoint;

use std::{collections::HashMap, sync::Arc, time::Duration};

use protocol::{identifiers::Jti, names::MerchantName, time::Timestamp};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};

use self::endpoint::Answered;
pub(crate) use self::endpoint::{Endpoint, endpoints};
use crate::{
    config::Webhooks,
    gateway::Gateway,
    store::{
        StoreError,
        outbox::{ClaimEvents, ClaimedEvent, EndTry, Tried},
    },
};

/// How often is looked for events that are to be sent.
const PAUSE: Duration = Duration::from_secs(1);

/// After so many rounds what is pending is counted.
const ROUNDS_PER_COUNT: u64 = 10;

/// After so many rounds old events are forgotten.
const ROUNDS_PER_FORGETTING: u64 = 3600;

/// How long events are kept, delivered or not, in seconds.
const KEPT_SECONDS: u64 = 30 * 24 * 60 * 60;

/// How much longer than its time a try may take until its event is another's, in seconds: for the store, and for
/// clocks that differ.
const LEASE_MARGIN_SECONDS: u64 = 15;

/// How long a merchant may put the next try off, in seconds.
const RETRY_AFTER_MAX: u64 = 60 * 60;

/// How long is waited for what is being sent when the gateway stops.
const STOPPING_MAX: Duration = Duration::from_secs(5);

/// When events are sent again, and when no more.
#[derive(Clone)]
pub(crate) struct Policy {
    timeout_seconds: u64,
    at_once: usize,
    retry_seconds: Vec<u32>,
}

impl Policy {
    pub(crate) fn of(config: &Webhooks) -> Self {
        Self {
            timeout_seconds: config.timeout_seconds.get().into(),
            at_once: config.at_once_per_merchant.get().into(),
            retry_seconds: config.retry_seconds.clone(),
        }
    }

    /// When the try after this one is; none after the last. Up to a tenth later by `random`, so that what failed
    /// together is not tried again together.
    fn next_try(&self, tries: u32, now: Timestamp, random: u8) -> Option<Timestamp> {
        let after = usize::try_from(tries).ok()?.checked_sub(1)?;
        let seconds = u64::from(*self.retry_seconds.get(after)?);
        let jitter = seconds * u64::from(random) / (10 * u64::from(u8::MAX));
        Some(now.plus(seconds + jitter))
    }

    /// What is kept of an answer.
    fn judge(&self, answered: Answered, tries: u32, now: Timestamp, random: u8) -> Tried {
        let (why, not_before) = match answered {
            Answered::Taken => return Tried::Delivered,
            Answered::Gone => {
                let why = "HTTP 410: the merchant wants no more of them".to_owned();
                return Tried::GivenUp { why };
            }
            Answered::Failed { why, retry_after } => {
                (why, now.plus(retry_after.min(RETRY_AFTER_MAX)))
            }
        };
        match self.next_try(tries, now, random) {
            Some(at) => Tried::Again {
                at: at.max(not_before),
                why,
            },
            None => Tried::GivenUp { why },
        }
    }
}

/// One merchant's places.
struct Merchant {
    endpoint: Arc<Endpoint>,
    places: Arc<Semaphore>,
}

/// The task that sends.
pub(crate) struct Delivery {
    gateway: Arc<Gateway>,
    merchants: Vec<Merchant>,
    policy: Arc<Policy>,
    running: JoinSet<()>,
}

impl Delivery {
    pub(crate) fn new(gateway: Arc<Gateway>, endpoints: Vec<Endpoint>, policy: Policy) -> Self {
        let merchant = |endpoint| Merchant {
            endpoint: Arc::new(endpoint),
            places: Arc::new(Semaphore::new(policy.at_once)),
        };
        Self {
            gateway,
            merchants: endpoints.into_iter().map(merchant).collect(),
            policy: Arc::new(policy),
            running: JoinSet::new(),
        }
    }

    /// Sends until it is told to stop; then what is being sent gets a moment to be answered. What is not, is sent again
    /// after the next start.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut rounds = tokio::time::interval(PAUSE);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0u64;
        tokio::pin!(stop);
        loop {
            let done = tokio::select! {
                () = &mut stop => break,
                _ = rounds.tick() => {
                    self.upkeep(round).await;
                    round += 1;
                    self.begin().await
                }
                Some(_) = self.running.join_next() => self.begin().await,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "events could not be taken from the outbox");
            }
        }
        let all = async { while self.running.join_next().await.is_some() {} };
        if timeout(STOPPING_MAX, all).await.is_err() {
            tracing::warn!(
                events = self.running.len(),
                "not answered by the merchant yet; sent again after the next start"
            );
            self.running.shutdown().await;
        }
    }

    /// Takes as many events as there are places for, and sends them.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let names: Vec<MerchantName> = self
            .merchants
            .iter()
            .filter(|merchant| merchant.places.available_permits() > 0)
            .map(|merchant| merchant.endpoint.merchant())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let now = self.gateway.now();
        let due = self.gateway.store.with_due_events(&names, now).await?;
        for merchant in &self.merchants {
            if !due.contains(&merchant.endpoint.merchant()) {
                continue;
            }
            let mut places: Vec<OwnedSemaphorePermit> =
                std::iter::from_fn(|| Arc::clone(&merchant.places).try_acquire_owned().ok())
                    .collect();
            let claim = ClaimEvents {
                merchant: merchant.endpoint.merchant(),
                count: u32::try_from(places.len()).unwrap_or(u32::MAX),
                now,
                until: now.plus(self.policy.timeout_seconds + LEASE_MARGIN_SECONDS),
            };
            let deadline = self.gateway.deadline();
            for event in self.gateway.store.claim_events(claim, deadline).await? {
                let place = places.pop();
                let attempt = Attempt {
                    gateway: Arc::clone(&self.gateway),
                    endpoint: Arc::clone(&merchant.endpoint),
                    policy: Arc::clone(&self.policy),
                    event,
                };
                self.running.spawn(async move {
                    attempt.run().await;
                    drop(place);
                });
            }
        }
        Ok(())
    }

    /// Counts what is pending, and forgets what is old.
    async fn upkeep(&self, round: u64) {
        let mut done = Ok(());
        if round.is_multiple_of(ROUNDS_PER_COUNT) {
            done = self.count().await;
        }
        if round.is_multiple_of(ROUNDS_PER_FORGETTING) {
            done = done.and(self.forget().await);
        }
        if let Err(error) = done {
            tracing::warn!(%error, "the outbox could not be looked through");
        }
    }

    async fn count(&self) -> Result<(), StoreError> {
        let mut pending: HashMap<MerchantName, u64> = self
            .merchants
            .iter()
            .map(|merchant| (merchant.endpoint.merchant(), 0))
            .collect();
        pending.extend(self.gateway.store.pending_events().await?);
        for (merchant, events) in pending {
            metrics::gauge!("twinseal_webhooks_pending", "merchant" => merchant.to_string())
                .set(events as f64);
        }
        Ok(())
    }

    async fn forget(&self) -> Result<(), StoreError> {
        let store = &self.gateway.store;
        let before = self.gateway.now().minus(KEPT_SECONDS);
        while store.forget_events(before, self.gateway.deadline()).await? > 0 {}
        Ok(())
    }
}

/// One event on its way.
struct Attempt {
    gateway: Arc<Gateway>,
    endpoint: Arc<Endpoint>,
    policy: Arc<Policy>,
    event: ClaimedEvent,
}

impl Attempt {
    async fn run(self) {
        let ClaimedEvent {
            id, kind, tries, ..
        } = &self.event;
        let merchant = self.endpoint.merchant();
        let answered = self.endpoint.send(&self.event, self.gateway.now()).await;
        // Without randomness nothing is spread, and everything is sent all the same.
        let random = Jti::random().map_or(0, |random| random.as_bytes()[0]);
        let now = self.gateway.now();
        let outcome = self.policy.judge(answered, *tries, now, random);
        let word = match &outcome {
            Tried::Delivered => {
                tracing::info!(event = %id, %kind, %merchant, tries, "merchant told");
                "delivered"
            }
            Tried::Again { at, why } => {
                let seconds = at.0.saturating_sub(now.0);
                tracing::warn!(event = %id, %kind, %merchant, tries, why, "merchant not told, tried again in {seconds} s");
                "failed"
            }
            Tried::GivenUp { why } => {
                tracing::error!(event = %id, %kind, %merchant, tries, why, "merchant not told, given up; once it can be, run `twinseal-gateway webhooks replay {id}`");
                "given-up"
            }
        };
        metrics::counter!("twinseal_webhook_tries_total", "merchant" => merchant.to_string(), "outcome" => word)
            .increment(1);
        let ended = EndTry {
            id: *id,
            tries: *tries,
            outcome,
            now,
        };
        let deadline = self.gateway.deadline();
        if let Err(error) = self.gateway.store.end_try(ended, deadline).await {
            tracing::warn!(event = %id, %error, "what came of a try could not be kept; the event is sent again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn policy() -> Policy {
        Policy::of(&Webhooks::default())
    }

    #[test]
    fn the_schedule_is_the_proposed_one_spread_by_a_tenth() {
        let next = |tries, random| policy().next_try(tries, NOW, random);
        let hour = 3600;
        let delays = [
            5,
            300,
            1800,
            2 * hour,
            5 * hour,
            10 * hour,
            14 * hour,
            20 * hour,
            24 * hour,
        ];
        for (tries, delay) in (1..).zip(delays) {
            assert_eq!(next(tries, 0), Some(NOW.plus(delay)));
            assert_eq!(next(tries, 255), Some(NOW.plus(delay + delay / 10)));
        }
        assert_eq!(next(10, 0), None);
        assert_eq!(next(0, 0), None);
        assert_eq!(next(u32::MAX, 255), None);
    }

    #[test]
    fn an_answer_delivers_gives_up_or_puts_off() {
        let judge = |answered, tries| policy().judge(answered, tries, NOW, 0);
        let failed = |retry_after| Answered::Failed {
            why: "HTTP 503".to_owned(),
            retry_after,
        };
        let again = |seconds| Tried::Again {
            at: NOW.plus(seconds),
            why: "HTTP 503".to_owned(),
        };
        assert_eq!(judge(Answered::Taken, 1), Tried::Delivered);
        assert!(matches!(judge(Answered::Gone, 1), Tried::GivenUp { .. }));
        assert_eq!(judge(failed(0), 1), again(5));
        assert_eq!(judge(failed(60), 1), again(60));
        assert_eq!(judge(failed(u64::MAX), 1), again(3600));
        assert_eq!(judge(failed(60), 2), again(300));
        assert!(matches!(judge(failed(0), 10), Tried::GivenUp { .. }));
    }
}
