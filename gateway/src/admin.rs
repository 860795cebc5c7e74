//! The operators' listener: is it alive, is it ready, what does it count. Plain HTTP, for the loopback.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use crate::gateway::Gateway;

/// How long the canaries may take together.
const CANARY_TIME_MAX: Duration = Duration::from_secs(2);

/// Answers an operator.
pub(crate) async fn answer(
    gateway: Arc<Gateway>,
    prometheus: PrometheusHandle,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n");
    }
    match request.uri().path() {
        "/health" => text(StatusCode::OK, "text/plain", "alive\n"),
        "/ready" => ready(&gateway).await,
        "/metrics" => text(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            prometheus.render(),
        ),
        _ => text(
            StatusCode::NOT_FOUND,
            "text/plain",
            "/health, /ready or /metrics\n",
        ),
    }
}

/// Ready is what has just used every key and the store: a session that looks alive may not be.
async fn ready(gateway: &Gateway) -> Response<Full<Bytes>> {
    let mut is_ready = true;
    let mut parts = serde_json::Map::new();
    for (key, outcome) in gateway.keys.canary(Instant::now() + CANARY_TIME_MAX).await {
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
    let said = match gateway.store.ping() {
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
    text(status, "application/json", body.to_string())
}

fn text(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<String>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.into())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
