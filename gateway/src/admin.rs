//! The operators' listener: is it alive, is it ready, what does it count. Plain HTTP, for the loopback.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hsm::Condition;
use hyper::{Request, StatusCode, body::Incoming, header};
use metrics_exporter_prometheus::PrometheusHandle;
use mtls::{
    exchange::{Answer, Failure, allow, with_type},
    routes::{self, Route},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    document,
    gateway::Gateway,
    routes::{ForOperators, OPERATORS},
};

/// How long the canaries may take together.
const CANARY_TIME_MAX: Duration = Duration::from_secs(2);

/// Answers an operator.
pub(crate) async fn answer(
    gateway: Arc<Gateway>,
    prometheus: PrometheusHandle,
    request: Request<Incoming>,
) -> Answer {
    let operation = match routes::find(OPERATORS, request.method(), request.uri().path()) {
        Ok((operation, _)) => operation,
        Err(Failure::OtherMethod(methods)) => {
            let mut answer = with_type(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n");
            answer.headers_mut().insert(header::ALLOW, allow(&methods));
            return answer;
        }
        Err(_) => {
            let known: Vec<&str> = OPERATORS.iter().map(Route::path).collect();
            return with_type(
                StatusCode::NOT_FOUND,
                "text/plain",
                format!("there is {}\n", known.join(", ")),
            );
        }
    };
    match operation {
        ForOperators::Health => with_type(StatusCode::OK, "text/plain", "alive\n"),
        ForOperators::Ready => ready(&gateway).await,
        ForOperators::Metrics => with_type(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            prometheus.render(),
        ),
        ForOperators::Document => document::DOCUMENT.answer(),
    }
}

/// Whether the gateway can do its work now.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether every part has just worked.
    ready: bool,
    /// Keys, tokens and the store by their names: `ok`, or what is wrong. One token may be away where another has the same
    /// keys.
    parts: BTreeMap<String, String>,
}

/// Ready is what has just used every key and the store: a session that looks alive may not be.
async fn ready(gateway: &Gateway) -> Answer {
    let keys = gateway.keys();
    let mut is_ready = true;
    let mut parts = BTreeMap::new();
    let deadline = Instant::now() + CANARY_TIME_MAX;
    // At once, as one that is late leaves no time for the other.
    let (outcomes, store) = tokio::join!(keys.canary(deadline), gateway.store.canary(deadline));
    for (key, outcome) in outcomes {
        let said = match &outcome {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                tracing::warn!(key, %error, "canary failed");
                is_ready = false;
                error.to_string()
            }
        };
        parts.insert(format!("key {key}"), said);
    }
    for token in keys.tokens.status() {
        let said = match token.condition {
            Condition::Up => "ok".to_owned(),
            Condition::Away { reason, .. } => format!("away: {reason}"),
            Condition::PinRefused(reason) => format!("left alone until a restart: {reason}"),
            Condition::Dead => "a call does not come back".to_owned(),
        };
        parts.insert(format!("token {}", token.name), said);
    }
    let said = match store {
        Ok(()) => "ok".to_owned(),
        Err(error) => {
            tracing::warn!(%error, "the store does not answer");
            is_ready = false;
            error.to_string()
        }
    };
    parts.insert("store".to_owned(), said);
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let readiness = Readiness {
        ready: is_ready,
        parts,
    };
    let body = serde_json::to_vec(&readiness).unwrap_or_default();
    with_type(status, "application/json", body)
}
