//! What is counted, by token, class and key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cryptoki::error::Error;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::{queue::WorkClass, sealed::OpeningWay};

/// How one operation with one key of one token is counted.
#[derive(Clone)]
pub(crate) struct OperationMetrics {
    queued: Histogram,
    executed: Histogram,
    failed: Counter,
    blamed: Counter,
}

impl OperationMetrics {
    pub(crate) fn new(token: &str, class: WorkClass, key: &str, operation: &'static str) -> Self {
        let labels = [
            ("token", token.to_owned()),
            ("class", class.name().to_owned()),
            ("key", key.to_owned()),
            ("operation", operation.to_owned()),
        ];
        Self {
            queued: histogram!("twinseal_hsm_queue_seconds", &labels),
            executed: histogram!("twinseal_hsm_execution_seconds", &labels),
            failed: counter!("twinseal_hsm_failures_total", &labels),
            blamed: counter!("twinseal_hsm_inputs_blamed_total", &labels),
        }
    }

    pub(crate) fn queued(&self, waited: Duration) {
        self.queued.record(waited);
    }

    pub(crate) fn executed(&self, took: Duration) {
        self.executed.record(took);
    }

    pub(crate) fn failed(&self) {
        self.failed.increment(1);
    }

    pub(crate) fn blamed(&self) {
        self.blamed.increment(1);
    }
}

/// How a token is counted.
pub(crate) struct TokenMetrics {
    token: String,
    up: Gauge,
    generation: Gauge,
    sessions: Gauge,
    logins: Counter,
    recoveries: Counter,
    canary: Gauge,
}

impl TokenMetrics {
    pub(crate) fn new(token: &str) -> Self {
        let labels = [("token", token.to_owned())];
        Self {
            up: gauge!("twinseal_hsm_token_up", &labels),
            generation: gauge!("twinseal_hsm_generation", &labels),
            sessions: gauge!("twinseal_hsm_sessions", &labels),
            logins: counter!("twinseal_hsm_logins_total", &labels),
            recoveries: counter!("twinseal_hsm_recoveries_total", &labels),
            canary: gauge!("twinseal_hsm_canary_timestamp_seconds", &labels),
            token: token.to_owned(),
        }
    }

    pub(crate) fn is_up(&self, is_up: bool) {
        self.up.set(if is_up { 1.0 } else { 0.0 });
    }

    pub(crate) fn logged_in(&self, generation: u64) {
        self.logins.increment(1);
        self.generation.set(generation as f64);
    }

    /// Says how a key opens.
    pub(crate) fn opens(&self, key: &str, way: OpeningWay) {
        gauge!(
            "twinseal_hsm_opens_in_token",
            "token" => self.token.clone(),
            "key" => key.to_owned(),
        )
        .set(if way == OpeningWay::InToken { 1.0 } else { 0.0 });
    }

    pub(crate) fn recovered(&self) {
        self.recoveries.increment(1);
    }

    pub(crate) fn session_opened(&self) {
        self.sessions.increment(1.0);
    }

    pub(crate) fn session_gone(&self) {
        self.sessions.decrement(1.0);
    }

    pub(crate) fn canaries_sang(&self) {
        if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
            self.canary.set(now.as_secs_f64());
        }
    }

    /// Counts a return code by the function that gave it.
    pub(crate) fn returned(&self, error: &Error) {
        if let Error::Pkcs11(code, function) = error {
            counter!(
                "twinseal_hsm_return_codes_total",
                "token" => self.token.clone(),
                "function" => format!("C_{function:?}"),
                "code" => format!("{code:?}"),
            )
            .increment(1);
        }
    }

    /// Counts an operation that found no room.
    pub(crate) fn shed(&self, class: WorkClass) {
        counter!(
            "twinseal_hsm_sheds_total",
            "token" => self.token.clone(),
            "class" => class.name(),
        )
        .increment(1);
    }
}
