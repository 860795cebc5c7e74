//! One connection of a client: how it is made, used, and found to be unusable.

use std::{error::Error, io, iter, sync::Arc};

use http_body_util::Full;
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header::HeaderValue,
};
use hyper_util::rt::TokioIo;
use protocol::pki::Usage;
use rustls::{AlertDescription, client::Resumption, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;
use tracing::{Instrument as _, debug_span};

use super::{Answer, ClientConfigError, ClientError, Limits, Server, server_of};
use crate::{
    ALPN, body,
    identity::Identity,
    now, provider,
    verifier::{PeerRule, PeerVerifier, Rule, refusal_in},
};

/// Makes connections to one server.
pub(super) struct Connector {
    host: String,
    port: u16,
    authority: String,
    host_header: HeaderValue,
    server_name: ServerName<'static>,
    rule: Rule,
    identity: Option<Identity>,
    tls: TlsConnector,
}

impl Connector {
    pub(super) fn new(server: Server) -> Result<Self, ClientConfigError> {
        let rule = Rule::Party(PeerRule {
            trust: server.trust,
            uses: vec![(server.role, Usage::TlsServer)],
            name: server.name,
        });
        Self::by(rule, &server.url, server.identity.as_ref())
    }

    /// One whose server is judged by this rule.
    pub(super) fn by(
        rule: Rule,
        url: &str,
        identity: Option<&Identity>,
    ) -> Result<Self, ClientConfigError> {
        let bad_url = || ClientConfigError::Url {
            url: url.to_owned(),
        };
        let (host, port) = server_of(url).ok_or_else(bad_url)?;
        let server_name = ServerName::try_from(host.clone()).map_err(|_| bad_url())?;
        let authority = match &server_name {
            ServerName::IpAddress(rustls_pki_types::IpAddr::V6(_)) => format!("[{host}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        let host_header = HeaderValue::try_from(&authority).map_err(|_| bad_url())?;
        let provider = provider();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(ClientConfigError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PeerVerifier {
                rule: rule.clone(),
                provider,
                certificate_required: true,
            }));
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            host,
            port,
            authority,
            host_header,
            server_name,
            rule,
            identity: identity.cloned(),
        })
    }

    /// Host and port.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// Connects, verifies the server, and starts HTTP.
    pub(super) async fn connect(&self) -> Result<Connection, ClientError> {
        let connect_error = |source| ClientError::Connect {
            authority: self.authority.clone(),
            source,
        };
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(connect_error)?;
        // Requests are small and written whole.
        tcp.set_nodelay(true).map_err(connect_error)?;
        // Taken before the handshake: should it be replaced meanwhile, this connection is used once.
        let shown = self.shown();
        let tls = self
            .tls
            .connect(self.server_name.clone(), tcp)
            .await
            .map_err(|error| self.tls_error(error))?;
        let (_, session) = tls.get_ref();
        if session.alpn_protocol() != Some(ALPN) {
            let reason = "the server did not choose http/1.1 (ALPN)";
            return Err(self.tls_error(io::Error::other(reason)));
        }
        let server_chain = session
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|der| der.clone().into_owned())
            .collect();

        let (sender, connection) = http1::handshake(TokioIo::new(tls))
            .await
            .map_err(|error| self.no_answer(error))?;
        let span = debug_span!("connection", server = self.authority);
        Ok(Connection {
            sender,
            driver: tokio::spawn(connection.instrument(span)),
            server_chain,
            shown,
        })
    }

    fn shown(&self) -> Option<Arc<CertifiedKey>> {
        self.identity.as_ref().map(Identity::shown)
    }

    fn tls_error(&self, source: io::Error) -> ClientError {
        let authority = self.authority.clone();
        match rustls_error(&source).and_then(refusal_in) {
            Some(refusal) => ClientError::ServerRefused {
                refusal: refusal.clone(),
                authority,
            },
            None => ClientError::Tls { authority, source },
        }
    }

    /// What it means that a fresh connection gave no answer. In TLS 1.3 the server judges our
    /// certificate after our side of the handshake is done, so its refusal comes in place of an
    /// answer (RFC 8446 section 4.4.2.4).
    pub(super) fn no_answer(&self, error: hyper::Error) -> ClientError {
        let alert = iter::successors(Some(&error as &dyn Error), |&error| error.source())
            .find_map(|error| rustls_error(error.downcast_ref()?));
        let authority = self.authority.clone();
        match alert {
            Some(rustls::Error::AlertReceived(alert)) if refuses_certificate(*alert) => {
                ClientError::Tls {
                    authority,
                    source: io::Error::other(rustls::Error::AlertReceived(*alert)),
                }
            }
            _ => ClientError::Closed {
                authority,
                source: error,
            },
        }
    }
}

/// A connection that HTTP runs on.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes; ends with the connection.
    driver: JoinHandle<hyper::Result<()>>,
    server_chain: Vec<CertificateDer<'static>>,
    /// The certificate of ours that the server saw.
    shown: Option<Arc<CertifiedKey>>,
}

/// Why a request got no answer on a connection.
pub(super) enum SendFailure {
    /// Nothing of an answer came.
    NoAnswer(hyper::Error),
    /// An answer began.
    Broken(ClientError),
}

impl Connection {
    /// Whether it is open, our certificate still the one that is shown, and its server still good: it may have expired,
    /// or been revoked.
    pub(super) async fn is_usable(&mut self, connector: &Connector) -> bool {
        let now_shown = connector.shown();
        let is_shown = match (&self.shown, &now_shown) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, now),
            (then, now) => then.is_none() && now.is_none(),
        };
        if !is_shown {
            return false;
        }
        if self.sender.ready().await.is_err() {
            return false;
        }
        match connector.rule.judge(&self.server_chain, now()) {
            Ok(_) => true,
            Err(refusal) => {
                tracing::info!(%refusal, server = connector.authority, "a server is no longer good");
                false
            }
        }
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        limits: &Limits,
        authority: &str,
    ) -> Result<Answer, SendFailure> {
        let answer = match self.sender.send_request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                // What ended the connection may have come before the request was written; then
                // only the driver knows it.
                let cause = (&mut self.driver).await.ok().and_then(Result::err);
                return Err(SendFailure::NoAnswer(cause.unwrap_or(error)));
            }
        };
        let (head, body) = answer.into_parts();
        // The caller's time limit holds for head and body together.
        let body = body::read(body, limits.answer_bytes_max, limits.request)
            .await
            .map_err(|source| {
                SendFailure::Broken(ClientError::Body {
                    authority: authority.to_owned(),
                    source,
                })
            })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            was_sent_twice: false,
        })
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The alerts by which a server says that it does not take our certificate, or wants one.
fn refuses_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}
