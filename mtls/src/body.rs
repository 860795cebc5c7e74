//! Bodies of requests and responses, within a limit of size and time.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};

/// A request's body holds at most 64 KiB.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Above the limit (413). Nothing above it was kept.
    #[error("the body is above {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// It did not come in time (408).
    #[error("the body took longer than {limit:?}")]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// The connection broke, or the framing is wrong.
    #[error("the body broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How much of a body above the limit is read and dropped, and for how long. Whoever writes a request before it
/// reads the answer would otherwise find the connection broken, and not the answer.
const DROPPED_BYTES_MAX: usize = 1024 * 1024;
const DROPPING_MAX: Duration = Duration::from_secs(1);

/// Reads a whole body.
///
/// # Errors
/// When it is above the limit, too slow, or breaks off. Nothing above the limit is kept.
pub async fn read(body: Incoming, bytes_max: usize, limit: Duration) -> Result<Bytes, BodyError> {
    let mut body = body;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let read = if announced > bytes_max {
        Err(BodyError::TooLarge { bytes_max })
    } else {
        tokio::time::timeout(limit, collect(&mut body, bytes_max))
            .await
            .unwrap_or(Err(BodyError::TooSlow { limit }))
    };
    if let Err(BodyError::TooLarge { .. }) = read {
        // Whatever comes of it, the answer is the same.
        let _ = tokio::time::timeout(DROPPING_MAX, drop_rest(&mut body)).await;
    }
    read
}

async fn collect(body: &mut Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.into()))?;
        if let Some(data) = frame.data_ref() {
            if data.len() > bytes_max - collected.len() {
                return Err(BodyError::TooLarge { bytes_max });
            }
            collected.extend_from_slice(data);
        }
    }
    Ok(collected.into())
}

async fn drop_rest(body: &mut Incoming) {
    let mut dropped = 0;
    while let Some(Ok(frame)) = body.frame().await {
        dropped += frame.data_ref().map_or(0, Bytes::len);
        if dropped > DROPPED_BYTES_MAX {
            return;
        }
    }
}
