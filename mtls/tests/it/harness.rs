//! A gateway's listener with a small handler, and merchants that ask it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Bytes, Incoming},
};
use mtls::{
    SharedTrust,
    body::{self, BodyError},
    client::{self, HttpClient, Server},
    identity::Identity,
    server::{self, ClientAuth, Listener, Peer, ServerTls},
};
use protocol::names::Role;
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use crate::pki::Pki;

pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long a test waits for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A listener that serves.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) events: Arc<Events>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

/// What the handler sees, and what lets it go on.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) requests: AtomicUsize,
    /// A request for `/hold` has come.
    pub(crate) held: Notify,
    /// It may be answered.
    pub(crate) release: Notify,
}

impl Running {
    pub(crate) fn of(listener: Listener) -> Self {
        let address = listener.local_address();
        let events = Arc::new(Events::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let for_handler = Arc::clone(&events);
        let served = tokio::spawn(listener.serve(
            move |peer, request| handle(Arc::clone(&for_handler), peer, request),
            async {
                let _ = stopped.await;
            },
        ));
        Self {
            address,
            events,
            stop: Some(stop),
            served,
        }
    }

    pub(crate) async fn tls(pki: &Pki, client_auth: ClientAuth, limits: server::Limits) -> Self {
        Self::tls_as(
            pki.identity(Role::Gateway),
            pki.trust(),
            client_auth,
            limits,
        )
        .await
    }

    pub(crate) async fn tls_as(
        identity: Identity,
        trust: SharedTrust,
        client_auth: ClientAuth,
        limits: server::Limits,
    ) -> Self {
        let tls = ServerTls::new(&identity, trust, client_auth).unwrap();
        Self::of(Listener::bind_tls(ANY_PORT, tls, limits).await.unwrap())
    }

    pub(crate) async fn plain(limits: server::Limits) -> Self {
        Self::of(Listener::bind_plain(ANY_PORT, limits).await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub(crate) fn request_count(&self) -> usize {
        self.events.requests.load(Ordering::SeqCst)
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        self.stopped().await;
    }

    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn stopped(self) {
        in_time(self.served).await.unwrap();
    }

    /// A merchant's client of this listener.
    pub(crate) fn merchant(&self, pki: &Pki) -> HttpClient {
        self.client(pki, Some(pki.identity(Role::Merchant)))
    }

    pub(crate) fn client(&self, pki: &Pki, identity: Option<Identity>) -> HttpClient {
        self.client_with(
            Server {
                identity,
                ..self.as_server(pki)
            },
            client::Limits::default(),
        )
    }

    pub(crate) fn client_with(&self, server: Server, limits: client::Limits) -> HttpClient {
        HttpClient::new(server, limits).unwrap()
    }

    pub(crate) fn as_server(&self, pki: &Pki) -> Server {
        Server {
            url: self.url(),
            role: Role::Gateway,
            name: None,
            trust: pki.trust(),
            identity: None,
        }
    }
}

/// `/peer` names the peer, `/hold` waits, `/echo` gives the body back, `/large` gives much.
async fn handle(
    events: Arc<Events>,
    peer: Peer,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    events.requests.fetch_add(1, Ordering::SeqCst);
    let answer = match request.uri().path() {
        "/peer" => {
            let name = peer.certificate.map_or("nobody".to_owned(), |certificate| {
                certificate.name().to_string()
            });
            Ok(Bytes::from(format!("{name} {}", peer.address)))
        }
        "/hold" => {
            events.held.notify_one();
            events.release.notified().await;
            Ok(Bytes::from("released"))
        }
        "/echo" => body::read(
            request.into_body(),
            body::REQUEST_BYTES_MAX,
            Duration::from_millis(200),
        )
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        }),
        "/large" => Ok(Bytes::from(vec![b'x'; 1024 * 1024])),
        _ => Err(StatusCode::NOT_FOUND),
    };
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(status) => (status, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

/// Asks for `/peer`: the name that the server sees, and the address that it sees it at.
pub(crate) async fn ask_peer(client: &HttpClient) -> Result<(String, String), client::ClientError> {
    let answer = client.get("/peer", HeaderMap::new()).await?;
    assert_eq!(answer.status, StatusCode::OK);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let (name, address) = text.split_once(' ').unwrap();
    Ok((name.to_owned(), address.to_owned()))
}

/// Everything that comes until the other side closes.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}
