//! One connection: handshake, requests one after the other, end.

use std::{
    error::Error as _, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::problem::Refusal;
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::server::TlsStream;
use tracing::{Instrument as _, debug, debug_span, info};

use super::{
    Limits, Peer, ServerTls,
    progress::{Progress, Stalled},
    slots::{Above, HandshakeSlot, Slots, note_closed},
};
use crate::{
    ALPN, now,
    verifier::{PeerRule, refusal_in},
};

/// A request's line and header fields together (431 above it).
pub const HEADER_BYTES_MAX: usize = 8 * 1024;

/// What one connection buffers of what it reads. hyper takes no less than 8 KiB.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// How much is read, and for how long, of a client whose handshake failed.
const REFUSED_BYTES_MAX: u64 = 64 * 1024;
const REFUSED_MAX: Duration = Duration::from_millis(500);

/// What the connections of a listener share.
pub(super) struct Service<H> {
    pub(super) tls: Option<ServerTls>,
    pub(super) slots: Slots,
    pub(super) limits: Limits,
    pub(super) handler: H,
}

/// Why a connection did not come to its first request.
#[derive(Debug, thiserror::Error)]
enum HandshakeFailure {
    #[error("no handshake in time")]
    TooSlow,
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No certificate where one is wanted, or one whose key the client did not sign with.
    #[error("not proven: {0}")]
    NotProven(rustls::Error),
    #[error("failed")]
    Tls(#[source] std::io::Error),
    #[error("the client did not choose http/1.1 (ALPN)")]
    Protocol,
}

/// A peer that is no longer good, in the middle of a connection.
#[derive(Debug, thiserror::Error)]
#[error("cut off: {0}")]
struct CutOff(Refusal);

impl<H, F> Service<H>
where
    H: Fn(Peer, Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    /// Serves one connection to its end.
    pub(super) async fn run(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        slot: HandshakeSlot,
        stopped: watch::Receiver<()>,
    ) {
        let span = debug_span!("connection", %address);
        async {
            // Answers are small and written whole.
            if let Err(error) = stream.set_nodelay(true) {
                debug!(%error, "the socket is gone");
                return;
            }
            let stream = Progress::new(stream, self.limits.write);
            let until = Instant::now() + self.limits.handshake;
            let Some(tls) = &self.tls else {
                let shown = ShownChain {
                    address,
                    judged: None,
                };
                return self.establish(stream, shown, slot, until, stopped).await;
            };
            let mut stopped_early = stopped.clone();
            let handshake = tokio::select! {
                handshake = handshake(tls, stream, address, until) => handshake,
                _ = stopped_early.changed() => return,
            };
            match handshake {
                Ok((stream, shown)) => self.establish(stream, shown, slot, until, stopped).await,
                Err(HandshakeFailure::Tls(error)) => debug!(%error, "TLS handshake failed"),
                // Whoever floods us with silence is not to flood the log as well.
                Err(failure @ HandshakeFailure::TooSlow) => {
                    note_closed("handshake");
                    debug!(%failure, "TLS handshake failed");
                }
                // The span, which has the address too, is there at debug alone.
                Err(failure) => info!(%address, %failure, "TLS handshake failed"),
            }
        }
        .instrument(span)
        .await;
    }

    /// Gives the connection a slot among the established ones and serves it, or closes it.
    async fn establish<S>(
        self: &Arc<Self>,
        stream: S,
        shown: ShownChain,
        slot: HandshakeSlot,
        until: Instant,
        mut stopped: watch::Receiver<()>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let party = match shown.peer() {
            Ok(peer) => peer
                .certificate
                .map(|certificate| certificate.name().clone()),
            Err(refusal) => {
                return info!(address = %shown.address, %refusal, "a peer is no longer good");
            }
        };
        let established = self.slots.established(slot, party.clone());
        let slot = tokio::select! {
            slot = timeout_at(until, established) => slot.unwrap_or(Err(Above::Connections)),
            _ = stopped.changed() => return,
        };
        match slot {
            Ok(slot) => {
                Arc::clone(self).serve(stream, shown, stopped).await;
                drop(slot);
            }
            Err(above) => above.note(shown.address, party.as_ref()),
        }
    }

    /// HTTP/1.1 until one side ends it, the connection is too old, or the listener stops.
    async fn serve<S>(
        self: Arc<Self>,
        stream: S,
        shown: ShownChain,
        mut stopped: watch::Receiver<()>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| {
            let peer = shown.peer();
            let service = Arc::clone(&self);
            async move {
                match peer {
                    Ok(peer) => Ok((service.handler)(peer, request).await),
                    Err(refusal) => Err(CutOff(refusal)),
                }
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header)
            .max_header_size(HEADER_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            _ = stopped.changed() => None,
            () = sleep(self.limits.connection_age) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                // Ends at once when no request runs, otherwise after its answer.
                connection.as_mut().graceful_shutdown();
                match timeout(self.limits.drain, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return info!("a request did not finish in time"),
                }
            }
        };
        let Err(error) = ended else { return };
        if let Some(CutOff(refusal)) = error.source().and_then(|source| source.downcast_ref()) {
            info!(address = %shown.address, %refusal, "a peer is no longer good");
        } else {
            if Stalled::is_behind(&error) {
                note_closed("write_seconds");
            }
            debug!(%error, "connection ended");
        }
    }
}

async fn handshake(
    tls: &ServerTls,
    stream: Progress<TcpStream>,
    address: SocketAddr,
    until: Instant,
) -> Result<(TlsStream<Progress<TcpStream>>, ShownChain), HandshakeFailure> {
    let accepting = tls.acceptor.accept(stream).into_fallible();
    let stream = match timeout_at(until, accepting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, tcp))) => {
            let_the_alert_arrive(tcp).await;
            let inner: Option<&rustls::Error> =
                error.get_ref().and_then(|inner| inner.downcast_ref());
            return Err(match (inner.and_then(refusal_in), inner) {
                (Some(refusal), _) => HandshakeFailure::Refused(refusal.clone()),
                (
                    None,
                    Some(
                        inner @ (rustls::Error::InvalidCertificate(_)
                        | rustls::Error::NoCertificatesPresented),
                    ),
                ) => HandshakeFailure::NotProven(inner.clone()),
                (None, _) => HandshakeFailure::Tls(error),
            });
        }
        Err(_) => return Err(HandshakeFailure::TooSlow),
    };
    let (_, session) = stream.get_ref();
    // A client that offers no protocol at all passes rustls.
    if session.alpn_protocol() != Some(ALPN) {
        return Err(HandshakeFailure::Protocol);
    }
    let shown = ShownChain {
        address,
        judged: tls.clients.clone().zip(
            session
                .peer_certificates()
                .map(|chain| chain.iter().map(|der| der.clone().into_owned()).collect()),
        ),
    };
    Ok((stream, shown))
}

/// Closes after the client did, or soon. Closing while something of it is unread would reset the
/// connection, and the client would be told of that instead of the alert.
async fn let_the_alert_arrive(mut tcp: Progress<TcpStream>) {
    let until_closed = async {
        tcp.shutdown().await?;
        copy(&mut tcp.take(REFUSED_BYTES_MAX), &mut sink()).await
    };
    // Whatever comes of it, the connection ends here.
    let _ = timeout(REFUSED_MAX, until_closed).await;
}

/// What a peer showed at the handshake. It is judged again for each request: meanwhile it may have
/// expired, or a new CRL may name it.
struct ShownChain {
    address: SocketAddr,
    judged: Option<(PeerRule, Vec<CertificateDer<'static>>)>,
}

impl ShownChain {
    /// The peer as it is now.
    fn peer(&self) -> Result<Peer, Refusal> {
        let certificate = self
            .judged
            .as_ref()
            .map(|(rule, chain)| rule.judge(chain, now()))
            .transpose()?;
        Ok(Peer {
            address: self.address,
            certificate,
        })
    }
}
