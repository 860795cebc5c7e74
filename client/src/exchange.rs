//! Answers over HTTP as what they say, and the patience to ask again with the same bytes.

use std::time::Duration;

use hyper::header::RETRY_AFTER;
use mtls::client::{Answer, ClientError};
use protocol::{
    json,
    problem::{ProblemDocument, Refusal, Retry},
};
use serde::de::DeserializeOwned;

use crate::{display::printable, output};

/// How long to wait before each further attempt.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// The longest that another party can have us wait with Retry-After (RFC 9110 section 10.2.3).
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// Why there is no answer to a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// None came, or the server is not the right one.
    #[error(transparent)]
    Transport(#[from] ClientError),
    /// It says what is wrong (RFC 9457).
    #[error("{who} answered \"{name}\" (its request {request_id}){}", advice(.retry))]
    Problem {
        who: &'static str,
        name: String,
        request_id: String,
        retry: Retry,
        retry_after: Option<Duration>,
    },
    /// It says nothing that is understood.
    #[error("{who} answered with HTTP status {status}; check its address")]
    Status { who: &'static str, status: u16 },
    /// Its answer is of another form.
    #[error(
        "the answer of {who} can't be read ({refusal}); check its address, or tell its operators"
    )]
    Unreadable { who: &'static str, refusal: Refusal },
}

fn advice(retry: &Retry) -> &'static str {
    match retry {
        Retry::SameRequest => "; try again in a moment",
        Retry::NewPurchase => "; it wants a new purchase",
        Retry::Never => "; tell its operators, if you can't explain it",
    }
}

impl NoAnswer {
    /// Whether the same bytes may get an answer later.
    fn may_be_asked_again(&self) -> bool {
        match self {
            NoAnswer::Transport(error) => matches!(
                error,
                ClientError::Connect { .. }
                    | ClientError::ConnectTimedOut { .. }
                    | ClientError::TimedOut { .. }
                    | ClientError::Closed { .. }
                    | ClientError::Body { .. }
            ),
            NoAnswer::Problem { retry, .. } => *retry == Retry::SameRequest,
            NoAnswer::Status { status, .. } => matches!(status, 429 | 503),
            NoAnswer::Unreadable { .. } => false,
        }
    }

    fn retry_after(&self) -> Duration {
        match self {
            NoAnswer::Problem {
                retry_after: Some(wait),
                ..
            } => *wait,
            _ => Duration::ZERO,
        }
    }
}

/// Reads an answer: its body when it is a success, its problem otherwise.
pub(crate) fn read<T: DeserializeOwned>(who: &'static str, answer: &Answer) -> Result<T, NoAnswer> {
    if answer.status.is_success() {
        return json::read(&answer.body).map_err(|refusal| NoAnswer::Unreadable { who, refusal });
    }
    let status = answer.status.as_u16();
    let document = json::read::<ProblemDocument>(&answer.body).ok();
    let Some((document, problem)) =
        document.and_then(|document| document.problem().map(|problem| (document, problem)))
    else {
        return Err(NoAnswer::Status { who, status });
    };
    Err(NoAnswer::Problem {
        who,
        name: problem.name().to_owned(),
        request_id: printable(&document.request_id),
        retry: document
            .retry
            .and_then(|word| {
                [Retry::SameRequest, Retry::NewPurchase, Retry::Never]
                    .into_iter()
                    .find(|retry| retry.as_str() == word)
            })
            .unwrap_or(problem.retry()),
        retry_after: answer
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
    })
}

/// Makes the same request until it is answered, a few times, with longer and longer pauses.
pub(crate) async fn patiently<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, NoAnswer>,
) -> Result<T, NoAnswer> {
    for pause in PAUSES {
        match attempt().await {
            Err(failure) if failure.may_be_asked_again() => {
                let pause = pause.max(failure.retry_after());
                output::say(&format!(
                    "       {failure}: the same request again in {} ms",
                    pause.as_millis()
                ));
                tokio::time::sleep(pause).await;
            }
            answered => return answered,
        }
    }
    attempt().await
}
