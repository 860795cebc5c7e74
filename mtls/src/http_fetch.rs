//! One request by plain HTTP to whoever publishes what is signed itself: CRLs, OCSP answers. Bounded in time and size,
//! on a connection of its own, without redirections.

use std::{io, time::Duration};

use http_body_util::Full;
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST},
    http::request,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::body::{self, BodyError};

/// After a failure, at first and at most.
const AGAIN_MIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(600);

/// What an answer may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From the name look-up to the end of the body.
    pub(crate) time: Duration,
    /// The body's.
    pub(crate) bytes_max: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// There is no connection, or it broke.
    #[error("no connection: {0}")]
    Connection(#[from] io::Error),
    /// Not HTTP.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// Nothing there.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// No body within the limits.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TooSlow(Duration),
}

/// An address that can be fetched from: `http://host[:port][/path]`.
pub(crate) fn http_url(text: &str) -> Option<Uri> {
    text.parse::<Uri>()
        .ok()
        .filter(|url| url.scheme_str() == Some("http") && url.host().is_some())
}

/// Gets what is there.
pub(crate) async fn get(url: &Uri, bounds: Bounds) -> Result<Bytes, FetchError> {
    send(url, Request::get(path(url)), Bytes::new(), bounds).await
}

/// Posts a body of a media type, and takes the answer.
pub(crate) async fn post(
    url: &Uri,
    media_type: &str,
    body: Vec<u8>,
    bounds: Bounds,
) -> Result<Bytes, FetchError> {
    let request = Request::post(path(url)).header(CONTENT_TYPE, media_type);
    send(url, request, body.into(), bounds).await
}

fn path(url: &Uri) -> &str {
    url.path_and_query().map_or("/", |path| path.as_str())
}

async fn send(
    url: &Uri,
    request: request::Builder,
    body: Bytes,
    bounds: Bounds,
) -> Result<Bytes, FetchError> {
    let host = url.host().unwrap_or_default();
    let address = (host.trim_matches(['[', ']']), url.port_u16().unwrap_or(80));
    let authority = url.authority().map_or(host, |authority| authority.as_str());
    let request = request
        .header(HOST, authority)
        .header(CONNECTION, "close")
        .body(Full::new(body))
        .map_err(io::Error::other)?;
    // Ends with this function, however that ends.
    let mut driver = JoinSet::new();
    let exchange = async {
        let tcp = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
        driver.spawn(connection);
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        Ok(body::read(answer.into_body(), bounds.bytes_max, bounds.time).await?)
    };
    timeout(bounds.time, exchange)
        .await
        .unwrap_or(Err(FetchError::TooSlow(bounds.time)))
}

/// How long to wait after failures: twice as long after each.
pub(crate) struct BackOff {
    next: Duration,
}

impl BackOff {
    pub(crate) fn new() -> Self {
        Self { next: AGAIN_MIN }
    }

    /// The pause after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(AGAIN_MAX);
        pause
    }
}

/// The pause after what was fetched is good for so many seconds more: half of them.
pub(crate) fn half_of(seconds: u64) -> Duration {
    Duration::from_secs(seconds / 2).max(AGAIN_MIN)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn who_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let bounds = Bounds {
            time: Duration::from_millis(50),
            bytes_max: 1,
        };
        // The system accepts the connection.
        let outcome = get(&http_url(&url).unwrap(), bounds).await;
        assert!(
            matches!(outcome, Err(FetchError::TooSlow(_))),
            "{outcome:?}"
        );
    }

    #[test]
    fn what_is_fetched_is_there_by_plain_http_and_has_a_host() {
        for good in ["http://ca.example/a.crl", "http://[::1]:8080/a", "http://a"] {
            assert!(http_url(good).is_some(), "{good}");
        }
        for bad in ["https://a.example/a", "ldap://a/b", "a.crl", "http:///a"] {
            assert!(http_url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn pauses_grow_to_ten_minutes() {
        let mut back_off = BackOff::new();
        let pauses: Vec<u64> = (0..9).map(|_| back_off.failed().as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    }
}
