//! A listener: TLS 1.3 or, on loopback, none; HTTP/1.1; each request goes to one handler, together
//! with the peer that sent it. It knows nothing of routes.

mod connection;
mod progress;
mod slots;

pub use connection::HEADER_BYTES_MAX;
pub use slots::Source;

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
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    ALPN, SharedTrust,
    identity::Identity,
    provider,
    server::slots::Slots,
    verifier::{PeerRule, PeerVerifier, Rule},
};

/// How long to wait after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many connections the system keeps for us to accept.
const BACKLOG: u32 = 1024;

/// What the system keeps of answers that a peer does not take, per connection (it doubles this). Left to
/// itself it grows to megabytes, and frees so much at a time that a slow reader would look like none.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;

/// Who sent a request. What is told of a party was judged for this very request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// Its certificate; none, when the listener asks for none or only offers to take one.
    pub certificate: Option<VerifiedCertificate>,
}

impl Peer {
    /// What counts as its address.
    pub fn source(&self) -> Source {
        Source::of(self.address)
    }
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
    /// They may; one that is shown must be good for one of these uses, of that role. It is for a service that renews
    /// certificates, where each proves its owner by the key that it is of, also one for signing messages. Everywhere
    /// else a certificate for TLS is wanted.
    OptionalFor(Vec<(Role, Usage)>),
}

/// What a listener allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Established connections at a time. One more waits, as long as a handshake may take.
    pub connections_max: usize,
    /// Established connections of one address at a time; the newest is closed. An IPv6 /64 is one
    /// address.
    pub connections_per_address_max: usize,
    /// Established connections at a time of one party, by the name in its certificate; the newest is
    /// closed.
    pub connections_per_party_max: usize,
    /// Connections at a time that are not established yet; more wait unaccepted.
    pub handshakes_max: usize,
    /// Those of one address; the newest is closed.
    pub handshakes_per_address_max: usize,
    /// From the accepted connection to the established one: the TLS handshake, and the wait for one of
    /// the [`Self::connections_max`] to end.
    pub handshake: Duration,
    /// How long bytes may wait to be written without one of them being taken.
    pub write: Duration,
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
            connections_per_address_max: 256,
            connections_per_party_max: 128,
            handshakes_max: 512,
            handshakes_per_address_max: 64,
            handshake: Duration::from_secs(5),
            write: Duration::from_secs(10),
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
        let for_tls = |roles: Vec<Role>| {
            let uses = roles.into_iter().map(|role| (role, Usage::TlsClient));
            Some(uses.collect())
        };
        let (uses, certificate_required) = match client_auth {
            ClientAuth::None => (None, false),
            ClientAuth::Optional(roles) => (for_tls(roles), false),
            ClientAuth::Required(roles) => (for_tls(roles), true),
            ClientAuth::OptionalFor(uses) => (Some(uses), false),
        };
        let clients = uses.map(|uses| PeerRule {
            trust,
            uses,
            name: None,
        });
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(rule) => builder.with_client_cert_verifier(Arc::new(PeerVerifier {
                rule: Rule::Party(rule.clone()),
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
        let tcp = listen(address).map_err(|error| {
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
        let (stop, stopped) = watch::channel(());
        let service = Arc::new(connection::Service {
            tls: self.tls,
            slots: Slots::new(&self.limits),
            limits: self.limits,
            handler,
        });
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.tcp, &service.slots) => accepted,
                () = &mut shutdown => break,
            };
            // What has ended is taken out, so that the set does not grow.
            while connections.try_join_next().is_some() {}
            let Some((permit, stream, address)) = accepted else {
                continue;
            };
            let slot = match service.slots.handshake(permit, address) {
                Ok(slot) => slot,
                Err(above) => {
                    above.note(address, None);
                    continue;
                }
            };
            let service = Arc::clone(&service);
            let stopped = stopped.clone();
            connections.spawn(async move {
                service.run(stream, address, slot, stopped).await;
            });
        }
        drop(self.tcp);
        drop(stopped);
        drop(stop);
        // Each connection keeps to the drain limit by itself.
        while connections.join_next().await.is_some() {}
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart need not wait for the connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts the next connection, once one more handshake may be under way. `None` when the system refuses
/// one: the next may do.
async fn accept(
    tcp: &TcpListener,
    slots: &Slots,
) -> Option<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let permit = slots.handshake_permit().await?;
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
