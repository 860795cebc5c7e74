//! A listener: TLS 1.3 or, on loopback, none; HTTP/1.1; each request goes to one handler, together
//! with the peer that sent it. It knows nothing of routes.

mod connection;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
};
use protocol::{
    names::Role,
    pki::{Usage, VerifiedCertificate},
};
use rustls::server::{NoServerSessionStorage, danger::ClientCertVerifier};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    ALPN, SharedTrust,
    identity::Identity,
    provider,
    verifier::{PeerRule, PeerVerifier},
};

/// How long to wait after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who sent a request. What is told of a party was judged for this very request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// Its certificate; none, when the listener asks for none or only offers to take one.
    pub certificate: Option<VerifiedCertificate>,
}

/// Whether clients of a listener show a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked to.
    None,
    /// They may; one that is shown must be good, and of one of these roles.
    Optional(Vec<Role>),
    /// They must, with one of these roles.
    Required(Vec<Role>),
}

/// What a listener allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; more wait unaccepted.
    pub connections_max: usize,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the moment that a request can come to the end of its header: so also how long a kept
    /// connection may be idle.
    pub header: Duration,
    /// How old a connection grows before it is closed, after the request that runs.
    pub connection_age: Duration,
    /// How long running requests may take to finish, once the listener stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(15),
            connection_age: Duration::from_secs(600),
            drain: Duration::from_secs(10),
        }
    }
}

/// The TLS side of a listener.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    /// None when no client is asked for a certificate.
    clients: Option<PeerRule>,
}

impl ServerTls {
    /// TLS 1.3 with this identity. Nothing is resumed: that would skip the client's verification.
    ///
    /// # Errors
    /// When rustls can't be set up this way.
    pub fn new(
        identity: &Identity,
        trust: SharedTrust,
        client_auth: ClientAuth,
    ) -> Result<Self, rustls::Error> {
        let provider = provider();
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let (roles, certificate_required) = match client_auth {
            ClientAuth::None => (None, false),
            ClientAuth::Optional(roles) => (Some(roles), false),
            ClientAuth::Required(roles) => (Some(roles), true),
        };
        let clients = roles.map(|roles| PeerRule {
            trust,
            roles,
            usage: Usage::TlsClient,
            name: None,
        });
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(rule) => builder.with_client_cert_verifier(Arc::new(PeerVerifier {
                rule: rule.clone(),
                provider,
                certificate_required,
            })
                as Arc<dyn ClientCertVerifier>),
        };
        let mut config = builder.with_cert_resolver(identity.resolver());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            clients,
        })
    }
}

/// A bound socket that does not serve yet.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<ServerTls>,
    limits: Limits,
}

impl Listener {
    /// Binds a listener for TLS.
    ///
    /// # Errors
    /// When the address can't be bound; the text names it.
    pub async fn bind_tls(address: SocketAddr, tls: ServerTls, limits: Limits) -> io::Result<Self> {
        Self::bind(address, Some(tls), limits).await
    }

    /// Binds a listener without TLS: for loopback, where the operator's tools are.
    ///
    /// # Errors
    /// When the address can't be bound; the text names it.
    pub async fn bind_plain(address: SocketAddr, limits: Limits) -> io::Result<Self> {
        Self::bind(address, None, limits).await
    }

    async fn bind(address: SocketAddr, tls: Option<ServerTls>, limits: Limits) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await.map_err(|error| {
            let text = format!("can't listen on {address} ({error}); configure one that is free");
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self {
            address: tcp.local_addr()?,
            tcp,
            tls,
            limits,
        })
    }

    /// Where it listens; tells the port when 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` completes, then accepts nothing more, lets running requests finish
    /// within the drain limit, and returns.
    ///
    /// A party whose certificate is no longer good is cut off at its next request, before the
    /// handler sees it.
    pub async fn serve<H, F>(self, handler: H, shutdown: impl Future<Output = ()>)
    where
        H: Fn(Peer, Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let permits = Arc::new(Semaphore::new(self.limits.connections_max));
        let (stop, stopped) = watch::channel(());
        let service = Arc::new(connection::Service {
            tls: self.tls,
            limits: self.limits,
            handler,
        });
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.tcp, &permits) => accepted,
                () = &mut shutdown => break,
            };
            // What has ended is taken out, so that the set does not grow.
            while connections.try_join_next().is_some() {}
            let Some((permit, stream, address)) = accepted else {
                continue;
            };
            let service = Arc::clone(&service);
            let stopped = stopped.clone();
            connections.spawn(async move {
                service.run(stream, address, stopped).await;
                drop(permit);
            });
        }
        drop(self.tcp);
        drop(stopped);
        drop(stop);
        // Each connection keeps to the drain limit by itself.
        while connections.join_next().await.is_some() {}
    }
}

/// Accepts the next connection, once one more is allowed. `None` when the system refuses one: the
/// next may do.
async fn accept(
    tcp: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    // The semaphore is never closed.
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match tcp.accept().await {
        Ok((stream, address)) => Some((permit, stream, address)),
        Err(error) => {
            // Out of file descriptors, most likely: another try at once would fail the same way.
            tracing::warn!(%error, "no connection could be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
