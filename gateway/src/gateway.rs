//! The running gateway: what every operation works with.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use mtls::{SharedTrust, rate_limit::RateLimit};
use protocol::{
    names::{ClientName, GatewayName, MerchantName},
    pki::Trust,
    time::{Skew, Timestamp},
};

use crate::{
    access::MerchantDirectory,
    config::Limits,
    evidence_key::EvidenceKey,
    keys::GatewayKeys,
    store::{Store, outbox::Subscribers},
};

/// Keys, trust, store and limits of one gateway.
pub(crate) struct Gateway {
    pub(crate) name: GatewayName,
    keys: ArcSwap<GatewayKeys>,
    /// Keeps payment information.
    pub(crate) evidence: EvidenceKey,
    trust: SharedTrust,
    pub(crate) merchants: MerchantDirectory,
    pub(crate) store: Box<dyn Store>,
    /// The merchants that are told what happens.
    pub(crate) subscribers: Subscribers,
    pub(crate) skew: Skew,
    /// Authorization requests by merchant.
    pub(crate) requests: RateLimit<MerchantName>,
    /// Declined purchases by client.
    pub(crate) declines: RateLimit<ClientName>,
    /// Cancellations by client.
    pub(crate) cancellations: RateLimit<ClientName>,
    /// Proven questions by client.
    pub(crate) inquiries: RateLimit<ClientName>,
    operation: Duration,
    capture_days: u64,
}

impl Gateway {
    pub(crate) fn new(
        name: GatewayName,
        (keys, evidence): (GatewayKeys, EvidenceKey),
        trust: SharedTrust,
        merchants: MerchantDirectory,
        store: Box<dyn Store>,
        subscribers: Subscribers,
        limits: &Limits,
    ) -> Self {
        Self {
            name,
            keys: ArcSwap::from_pointee(keys),
            evidence,
            trust,
            merchants,
            store,
            subscribers,
            skew: Skew::default(),
            requests: RateLimit::new(limits.requests_per_second, Duration::from_secs(1)),
            declines: RateLimit::new(limits.declines_per_minute, Duration::from_secs(60)),
            cancellations: RateLimit::new(limits.cancellations_per_minute, Duration::from_secs(60)),
            inquiries: RateLimit::new(limits.inquiries_per_minute, Duration::from_secs(60)),
            operation: Duration::from_secs(limits.operation_seconds),
            capture_days: limits.capture_days,
        }
    }

    /// Local time.
    pub(crate) fn now(&self) -> Timestamp {
        mtls::now()
    }

    /// The keys in use at this moment. What belongs to one request takes them once.
    pub(crate) fn keys(&self) -> Arc<GatewayKeys> {
        self.keys.load_full()
    }

    /// Uses other keys from the next request on. Running ones finish with those that they have.
    pub(crate) fn replace_keys(&self, keys: GatewayKeys) {
        self.keys.store(Arc::new(keys));
    }

    /// The trust in force at this moment.
    pub(crate) fn trust(&self) -> Arc<Trust> {
        self.trust.load_full()
    }

    /// When an operation that arrives now must be done.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.operation
    }

    /// Until when what is approved now can be captured.
    pub(crate) fn capture_before(&self, now: Timestamp) -> Timestamp {
        now.plus(self.capture_days * 24 * 60 * 60)
    }
}
