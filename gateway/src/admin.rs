//! The operators' listener: is it alive, is it ready, what does it count. Plain HTTP, for the loopback.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{Method, Request, StatusCode, body::Incoming};
use metrics_exporter_prometheus::PrometheusHandle;
use mtls::exchange::{Answer, with_type};
use serde_json::json;

use crate::gateway::Gateway;

/// How long the canaries may take together.
const CANARY_TIME_MAX: Duration = Duration::from_secs(2);

/// Answers an operator.
pub(crate) async fn answer(
    gateway: Arc<Gateway>,
    prometheus: PrometheusHandle,
    request: Request<Incoming>,
) -> Answer {
    if request.method() != Method::GET {
        return with_type(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n");
    }
    match request.uri().path() {
        "/health" => with_type(StatusCode::OK, "text/plain", "alive\n"),
        "/ready" => ready(&gateway).await,
        "/metrics" => with_type(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            prometheus.render(),
        ),
        _ => with_type(
            StatusCode::NOT_FOUND,
            "text/plain",
            "/health, /ready or /metrics\n",
        ),
    }
}

/// Ready is what has just used every key and the store: a session that looks alive may not be.
async fn ready(gateway: &Gateway) -> Answer {
    let mut is_ready = true;
    let mut parts = serde_json::Map::new();
    let deadline = Instant::now() + CANARY_TIME_MAX;
    for (key, outcome) in gateway.keys.canary(deadline).await {
        let said = match &outcome {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                tracing::warn!(key, %error, "canary failed");
                is_ready = false;
                error.to_string()
            }
        };
        parts.insert(format!("key {key}"), said.into());
    }
    let said = match gateway.store.canary(deadline).await {
        Ok(()) => "ok".to_owned(),
        Err(error) => {
            tracing::warn!(%error, "the store does not answer");
            is_ready = false;
            error.to_string()
        }
    };
    parts.insert("store".to_owned(), said.into());
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({ "ready": is_ready, "parts": parts });
    with_type(status, "application/json", body.to_string())
}
