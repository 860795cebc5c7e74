//! Bodies of requests and responses, within a limit of size and time.

use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
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

/// Reads a whole body.
///
/// # Errors
/// When it is above the limit (told at once where its length is announced), too slow, or breaks
/// off.
pub async fn read(body: Incoming, bytes_max: usize, limit: Duration) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge { bytes_max };
    if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > bytes_max) {
        return Err(too_large);
    }
    let collected = tokio::time::timeout(limit, Limited::new(body, bytes_max).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(error)) => Err(BodyError::Broken(error)),
        Err(_) => Err(BodyError::TooSlow { limit }),
    }
}
