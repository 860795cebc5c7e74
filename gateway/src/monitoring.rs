//! The Prometheus side of the metrics: buckets, descriptions, upkeep. What is counted is counted where it
//! happens.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use mtls::reload::Set;
use protocol::{pki::Term, time::Timestamp};

/// Upper bounds in seconds: from an operation of a fast software token to a request at its deadline.
const SECONDS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
    5.0,
];

/// The exporter keeps every sample until it is asked, or told to fold them.
const UPKEEP: Duration = Duration::from_secs(60);

/// Counts that a set was taken over, or refused.
pub(crate) fn reloaded(set: Set, is_taken: bool) {
    let outcome = if is_taken { "taken" } else { "refused" };
    metrics::counter!("twinseal_reloads_total", "set" => set.name(), "outcome" => outcome)
        .increment(1);
}

/// Keeps how long things are good. Of those that were `counted` before and are gone nothing is known any more (NaN): a
/// series can't be taken back, and a frozen one would alarm for ever.
pub(crate) fn days_left(terms: &[Term], counted: &[Term], now: Timestamp) {
    let gauge = |term: &Term| metrics::gauge!("twinseal_days_left", "kind" => term.kind, "of" => term.of.clone());
    for gone in counted {
        gauge(gone).set(f64::NAN);
    }
    for term in terms {
        gauge(term).set(term.days_left(now));
    }
}

/// Has everything that is counted from now on kept for Prometheus.
///
/// # Errors
/// When something else records the metrics of this process already.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .install_recorder()?;
    describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut minutes = tokio::time::interval(UPKEEP);
        loop {
            minutes.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

fn describe() {
    describe_histogram!(
        "twinseal_request_seconds",
        Unit::Seconds,
        "From a request's arrival to its answer, by listener"
    );
    describe_counter!(
        "twinseal_requests_total",
        "Answered requests, by listener and HTTP status"
    );
    describe_counter!(
        "twinseal_connections_closed_total",
        "Connections that a limit closed, by the limit as the configuration names it; \"handshake\" took too long"
    );
    describe_counter!(
        "twinseal_problems_total",
        "Refused requests, by the problem that they were told"
    );
    describe_counter!(
        "twinseal_decisions_total",
        "Decided authorizations, by the receipt's code"
    );
    describe_counter!(
        "twinseal_operations_total",
        "What was done with approved payments, by action; holds that ended are \"expiry\""
    );
    describe_counter!(
        "twinseal_webhook_tries_total",
        "Events sent, or tried to be, by merchant and outcome: delivered, failed, given-up"
    );
    describe_gauge!(
        "twinseal_webhooks_pending",
        "Events that are neither delivered nor given up, by merchant; of the whole store"
    );
    describe_counter!(
        "twinseal_store_conflicts_total",
        "Groups of commands that were done again because another gateway on the same database was faster"
    );
    describe_counter!(
        "twinseal_reloads_total",
        "Times that trust, or keys and certificates, were to be replaced while running, by set and outcome"
    );
    describe_gauge!(
        "twinseal_days_left",
        "Days until a certificate or CRL ends, by kind and whose; negative afterwards"
    );
    describe_gauge!(
        "twinseal_hsm_opens_in_token",
        "1 where PI is opened in the token, 0 where the token agrees on the secret only; by token and key"
    );
    describe_histogram!(
        "twinseal_hsm_queue_seconds",
        Unit::Seconds,
        "How long operations waited for a PKCS#11 session, by token, class, key and operation"
    );
    describe_histogram!(
        "twinseal_hsm_execution_seconds",
        Unit::Seconds,
        "How long operations took in the token, by token, class, key and operation"
    );
    describe_counter!(
        "twinseal_hsm_failures_total",
        "Operations that the token did not do, by token, class, key and operation"
    );
    describe_counter!(
        "twinseal_hsm_inputs_blamed_total",
        "Operations that failed although the key's canary sang: the input was wrong, not the token"
    );
    describe_counter!(
        "twinseal_hsm_return_codes_total",
        "Failures by token, PKCS#11 function and return code"
    );
    describe_counter!(
        "twinseal_hsm_sheds_total",
        "Operations that found no room in the queue, by token and class"
    );
    describe_gauge!(
        "twinseal_hsm_token_up",
        "1 while the token works, 0 while it is away"
    );
    describe_gauge!(
        "twinseal_hsm_generation",
        "How often the token's module was initialised"
    );
    describe_gauge!(
        "twinseal_hsm_sessions",
        "PKCS#11 sessions that workers have open, by token"
    );
    describe_counter!(
        "twinseal_hsm_logins_total",
        "Times that the token was connected to, by token"
    );
    describe_counter!(
        "twinseal_hsm_recoveries_total",
        "Times that the token came back, by token"
    );
    describe_gauge!(
        "twinseal_hsm_canary_timestamp_seconds",
        Unit::Seconds,
        "When the canaries of all keys sang last, by token (Unix time)"
    );
}
