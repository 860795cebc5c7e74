//! Where one merchant is told: its server, known by its certificate, and the secrets that sign for it.

use std::{path::PathBuf, time::Duration};

use hyper::{
    HeaderMap, StatusCode,
    body::Bytes,
    header::{HeaderValue, InvalidHeaderValue, RETRY_AFTER},
};
use mtls::{
    SharedTrust,
    client::{Answer, ClientConfigError, ClientError, HttpClient, Limits, Server},
};
use protocol::{
    names::{MerchantName, Role},
    time::Timestamp,
    webhook::{self, NotASecret, Secret},
};
use secret_file::SecretFileError;

use crate::{config::Config, store::outbox::ClaimedEvent};

/// Nothing of an answer but its status is looked at.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A webhook that can't be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error(
        "{} holds no secret of a webhook: {source}; make one with `twinseal-gateway webhooks new-secret`",
        path.display()
    )]
    Secret { path: PathBuf, source: NotASecret },
    #[error("the webhook of {0} has no secret; name a file in its secret_files")]
    NoSecret(MerchantName),
    #[error("the webhook of {merchant}: {source}")]
    Client {
        merchant: MerchantName,
        source: ClientConfigError,
    },
}

/// One merchant's server.
pub(crate) struct Endpoint {
    merchant: MerchantName,
    client: HttpClient,
    path: String,
    secrets: Vec<Secret>,
}

/// What a merchant made of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Taken,
    /// It wants no more of them.
    Gone,
    Failed {
        why: String,
        /// It asks not to be told again for so many seconds.
        retry_after: u64,
    },
}

/// The endpoints of the configured webhooks.
pub(crate) fn endpoints(
    config: &Config,
    trust: &SharedTrust,
) -> Result<Vec<Endpoint>, EndpointError> {
    let limits = Limits {
        connections_max: config.webhooks.at_once_per_merchant.get().into(),
        request: Duration::from_secs(config.webhooks.timeout_seconds.get().into()),
        answer_bytes_max: ANSWER_BYTES_MAX,
        ..Limits::default()
    };
    let mut endpoints = Vec::new();
    for configured in &config.merchants {
        let Some(webhook) = &configured.webhook else {
            continue;
        };
        let merchant = configured.name.clone();
        let mut secrets = Vec::new();
        for file in &webhook.secret_files {
            let path = config.path(file);
            let secret = Secret::read(&secret_file::read(&path)?)
                .map_err(|source| EndpointError::Secret { path, source })?;
            secrets.push(secret);
        }
        if secrets.is_empty() {
            return Err(EndpointError::NoSecret(merchant));
        }
        let server = Server {
            url: webhook.url.server.clone(),
            role: Role::Merchant,
            // Whoever else is at that address is told nothing.
            name: Some(merchant.party().clone()),
            trust: SharedTrust::clone(trust),
            identity: None,
        };
        let client =
            HttpClient::new(server, limits.clone()).map_err(|source| EndpointError::Client {
                merchant: merchant.clone(),
                source,
            })?;
        endpoints.push(Endpoint {
            merchant,
            client,
            path: webhook.url.path.clone(),
            secrets,
        });
    }
    Ok(endpoints)
}

impl Endpoint {
    pub(crate) fn merchant(&self) -> MerchantName {
        self.merchant.clone()
    }

    /// Signs an event anew, with the time of sending, and posts it.
    pub(super) async fn send(&self, event: &ClaimedEvent, now: Timestamp) -> Answered {
        let headers = match self.headers(event, now) {
            Ok(headers) => headers,
            Err(error) => return failed(error.to_string()),
        };
        let body = Bytes::copy_from_slice(event.body.as_bytes());
        answered(self.client.post_json(&self.path, body, headers).await)
    }

    fn headers(
        &self,
        event: &ClaimedEvent,
        now: Timestamp,
    ) -> Result<HeaderMap, InvalidHeaderValue> {
        let id = event.id.to_string();
        let signature = webhook::sign(&self.secrets, &id, now, event.body.as_bytes());
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (webhook::ID, id),
            (webhook::TIMESTAMP, now.0.to_string()),
            (webhook::SIGNATURE, signature),
        ] {
            headers.insert(name, HeaderValue::try_from(value)?);
        }
        Ok(headers)
    }
}

fn failed(why: String) -> Answered {
    Answered::Failed {
        why,
        retry_after: 0,
    }
}

fn answered(answer: Result<Answer, ClientError>) -> Answered {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return failed(error.to_string()),
    };
    match answer.status {
        status if status.is_success() => Answered::Taken,
        StatusCode::GONE => Answered::Gone,
        status => Answered::Failed {
            why: format!("HTTP {}", status.as_u16()),
            retry_after: answer
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .unwrap_or(0),
        },
    }
}
