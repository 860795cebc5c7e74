//! An HTTP client for one server: TLS 1.3, the server's party verified, connections kept.

mod connection;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::Bytes,
    header::{CONTENT_TYPE, HOST, HeaderValue},
};
use protocol::{
    names::{PartyName, Role},
    problem::Refusal,
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    SharedTrust,
    body::BodyError,
    client::connection::{Connection, Connector, SendFailure},
    identity::Identity,
    rooted::Root,
    verifier::Rule,
};

/// Whom a client talks to, and as whom.
pub struct Server {
    /// `https://host[:port]`; the host is to be among the names of the server's certificate.
    pub url: String,
    /// The role of the server.
    pub role: Role,
    /// The party, where it is known beforehand.
    pub name: Option<PartyName>,
    /// What its certificate is judged by.
    pub trust: SharedTrust,
    /// Our certificate, where the server wants one.
    pub identity: Option<Identity>,
}

/// What a client allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time, idle ones included; more requests wait.
    pub connections_max: usize,
    /// From the name look-up to the end of the TLS handshake.
    pub connect: Duration,
    /// From the call to the last byte of the answer.
    pub request: Duration,
    /// The answer's body.
    pub answer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            connect: Duration::from_secs(5),
            request: Duration::from_secs(20),
            answer_bytes_max: 256 * 1024,
        }
    }
}

/// A complete answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whether the request was sent before, on a kept connection that broke without an answer: the server may
    /// have acted on that one, too.
    pub was_sent_twice: bool,
}

/// Why there is no answer. [`ClientError::may_have_been_done`] tells whether the server may have
/// acted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No TCP connection.
    #[error("could not connect to {authority}: {source}; check that it is running and reachable")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system says.
        source: io::Error,
    },
    /// No TCP connection and TLS handshake in time.
    #[error("{authority} could not be reached within {limit:?}; check that it is running")]
    ConnectTimedOut {
        /// Host and port.
        authority: String,
        /// The limit.
        limit: Duration,
    },
    /// We refuse the server's certificate.
    #[error("the certificate of {authority} was refused: {refusal}")]
    ServerRefused {
        /// Host and port.
        authority: String,
        /// Why.
        refusal: Refusal,
    },
    /// The TLS connection failed, or the server refused ours.
    #[error("TLS with {authority} failed: {source}; check our certificate and the server's log")]
    Tls {
        /// Host and port.
        authority: String,
        /// What rustls says.
        source: io::Error,
    },
    /// The request could not be written: a path or header that HTTP does not allow.
    #[error("the request is no HTTP request")]
    Request(#[source] hyper::http::Error),
    /// No complete answer in time.
    #[error("no answer from {authority} within {limit:?}; ask again with the same request")]
    TimedOut {
        /// Host and port.
        authority: String,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke before a complete answer.
    #[error("{authority} closed the connection without an answer; ask again with the same request")]
    Closed {
        /// Host and port.
        authority: String,
        /// What broke.
        source: hyper::Error,
    },
    /// The answer's body can't be taken.
    #[error("the answer of {authority} can't be taken: {source}")]
    Body {
        /// Host and port.
        authority: String,
        /// Why.
        source: BodyError,
    },
}

impl ClientError {
    /// Whether the request may have reached the server, so that its outcome is unknown.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            ClientError::Connect { .. }
            | ClientError::ConnectTimedOut { .. }
            | ClientError::ServerRefused { .. }
            | ClientError::Tls { .. }
            | ClientError::Request(_) => false,
            ClientError::TimedOut { .. }
            | ClientError::Closed { .. }
            | ClientError::Body { .. } => true,
        }
    }
}

/// Why a client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientConfigError {
    /// Not the URL of a server.
    #[error("{url} is not of the form https://host[:port]; correct it in the configuration")]
    Url {
        /// What was given.
        url: String,
    },
    /// rustls can't be set up this way.
    #[error("TLS can't be set up")]
    Tls(#[source] rustls::Error),
}

/// A client of one server. A clone shares its connections.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    connector: Connector,
    limits: Limits,
    /// Bounds the connections: each running request has one, and an idle one had one.
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl HttpClient {
    /// Makes a client; nothing is connected yet.
    ///
    /// # Errors
    /// For a URL that names no server, or when TLS can't be set up.
    pub fn new(server: Server, limits: Limits) -> Result<Self, ClientConfigError> {
        Ok(Self::over(Connector::new(server)?, limits))
    }

    /// Makes a client of a server of this name that shows its issuing CA, too, and is known by the root: for whoever has no
    /// more than the root yet. With `trust` its certificate must be good by that as well, revocation included.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn rooted(
        url: &str,
        root: Root,
        name: PartyName,
        trust: Option<SharedTrust>,
        identity: Option<&Identity>,
        limits: Limits,
    ) -> Result<Self, ClientConfigError> {
        let rule = Rule::Rooted(root.rule(name, trust));
        Ok(Self::over(Connector::by(rule, url, identity)?, limits))
    }

    fn over(connector: Connector, limits: Limits) -> Self {
        Self(Arc::new(Inner {
            connector,
            permits: Semaphore::new(limits.connections_max),
            limits,
            idle: Mutex::default(),
        }))
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// When there is no complete answer; an answer of any status is none.
    pub async fn get(&self, path: &str, headers: HeaderMap) -> Result<Answer, ClientError> {
        self.exchange(Method::GET, path, headers, Bytes::new())
            .await
    }

    /// Posts a JSON document, which has to be one that may be sent twice: where a kept connection
    /// turns out to be closed, it is sent again on a fresh one.
    ///
    /// # Errors
    /// When there is no complete answer; an answer of any status is none.
    pub async fn post_json(
        &self,
        path: &str,
        body: Bytes,
        headers: HeaderMap,
    ) -> Result<Answer, ClientError> {
        self.post(path, "application/json", body, headers).await
    }

    /// Posts a document of some media type, which has to be one that may be sent twice, as with [`Self::post_json`].
    ///
    /// # Errors
    /// When there is no complete answer; an answer of any status is none.
    pub async fn post(
        &self,
        path: &str,
        media_type: &'static str,
        body: Bytes,
        mut headers: HeaderMap,
    ) -> Result<Answer, ClientError> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        self.exchange(Method::POST, path, headers, body).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        headers.insert(HOST, self.0.connector.host_header().clone());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(body))
            .map_err(ClientError::Request)?;
        *request.headers_mut() = headers;
        let limit = self.0.limits.request;
        timeout(limit, self.0.send(request))
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::TimedOut {
                    authority: self.0.connector.authority().to_owned(),
                    limit,
                })
            })
    }
}

impl Inner {
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await.ok();
        let mut broken = None;
        if let Some(kept) = self.take_idle().await {
            match self.send_on(kept, request.clone()).await {
                Ok(answer) => return Ok(answer),
                // The server had closed it, most likely before the request came: every request of
                // this system may be sent twice.
                Err(SendFailure::NoAnswer(error)) => {
                    tracing::debug!(%error, "a kept connection was closed");
                    broken = Some(error);
                }
                Err(SendFailure::Broken(error)) => return Err(error),
            }
        }
        let connected = timeout(self.limits.connect, self.connector.connect())
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::ConnectTimedOut {
                    authority: self.connector.authority().to_owned(),
                    limit: self.limits.connect,
                })
            });
        let was_sent_twice = broken.is_some();
        let fresh = match (connected, broken) {
            (Ok(fresh), _) => fresh,
            (Err(error), None) => return Err(error),
            // What was sent on the kept connection may have been done.
            (Err(_), Some(source)) => {
                return Err(ClientError::Closed {
                    authority: self.connector.authority().to_owned(),
                    source,
                });
            }
        };
        self.send_on(fresh, request)
            .await
            .map(|answer| Answer {
                was_sent_twice,
                ..answer
            })
            .map_err(|failure| match failure {
                SendFailure::NoAnswer(error) => self.connector.no_answer(error),
                SendFailure::Broken(error) => error,
            })
    }

    async fn send_on(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, SendFailure> {
        let answer = connection
            .send(request, &self.limits, self.connector.authority())
            .await?;
        self.idle().push(connection);
        Ok(answer)
    }

    /// The connection used last that is open, with a server that is still good.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle().pop()?;
            if connection.is_usable(&self.connector).await {
                return Some(connection);
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // Pushing and popping leave nothing half done.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits `https://host[:port]`.
fn server_of(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let plain = uri.scheme_str() == Some("https")
        && uri.path() == "/"
        && uri.query().is_none()
        && !authority.as_str().contains('@');
    let host = authority.host().trim_matches(['[', ']']);
    (plain && !host.is_empty()).then(|| (host.to_owned(), uri.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_https_with_a_host_and_nothing_more() {
        let server = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(
            server_of("https://shop.example"),
            server("shop.example", 443)
        );
        assert_eq!(
            server_of("https://127.0.0.1:8443/"),
            server("127.0.0.1", 8443)
        );
        assert_eq!(server_of("https://[::1]:8443"), server("::1", 8443));
        for bad in [
            "http://shop.example",
            "https://shop.example/path",
            "https://shop.example?query",
            "https://user@shop.example",
            "https://",
            "shop.example:443",
            "",
        ] {
            assert_eq!(server_of(bad), None, "{bad}");
        }
    }
}
