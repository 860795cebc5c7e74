//! A peer that shows what it is told to, whether or not the other side wants it, and hears what it is told then.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::DerefMut,
    sync::{Arc, mpsc},
    time::Duration,
};

use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct,
    ServerConfig, ServerConnection, SideData, SignatureAlgorithm, SignatureScheme, StreamOwned,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs::{self, sign::any_supported_type},
    server::{ClientHello, ResolvesServerCert},
    sign::{CertifiedKey, Signer, SigningKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::pki::Shown;

/// How long anything of a connection may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a connection, as the peer has it.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Everything that came over the connection once it was made.
    pub(crate) text: String,
    /// The alert that ended it.
    pub(crate) alert: Option<AlertDescription>,
}

/// Asks a server of ours for a path as a client that shows this, and gives its own address too.
pub(crate) fn ask(server: SocketAddr, shown: Option<&Shown>, path: &str) -> (SocketAddr, Heard) {
    let mut connection = Connection::to(server, shown);
    let heard = connection.get(path);
    (connection.address, heard)
}

/// A connection to a server of ours.
pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// Where the server sees it.
    pub(crate) address: SocketAddr,
}

impl Connection {
    /// As a client that shows this. The handshake comes with the first request.
    pub(crate) fn to(server: SocketAddr, shown: Option<&Shown>) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous));
        let mut config = match shown {
            Some(shown) => builder.with_client_cert_resolver(Arc::new(Insistent::of(shown))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = connected(TcpStream::connect(server).unwrap());
        Self {
            address: tcp.local_addr().unwrap(),
            stream: StreamOwned::new(tls, tcp),
        }
    }

    /// Asks for a path, and leaves the connection open.
    pub(crate) fn get(&mut self, path: &str) -> Heard {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let sent = self.stream.write_all(request.as_bytes());
        let (mut text, failure) = read_head(&mut self.stream);
        if failure.is_none() {
            text += &self.body_after(&text);
        }
        Heard {
            text,
            alert: [sent.err(), failure].into_iter().flatten().find_map(alert),
        }
    }

    /// The body of an answer whose head this is.
    fn body_after(&mut self, head: &str) -> String {
        let length = head.to_ascii_lowercase();
        let (_, length) = length.split_once("content-length: ").unwrap();
        let (length, _) = length.split_once("\r\n").unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }
}

/// A server that takes one connection.
pub(crate) struct Impostor {
    pub(crate) address: SocketAddr,
    heard: mpsc::Receiver<Heard>,
}

impl Impostor {
    /// Shows this, and answers a request, if there is one, with a JSON body.
    pub(crate) fn start(shown: &Shown, body: &'static str) -> Self {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Insistent::of(shown)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            let tls = ServerConnection::new(Arc::new(config)).unwrap();
            // Whoever waits for it gave up, if it is not taken.
            let _ = tell.send(serve(StreamOwned::new(tls, connected(tcp)), body));
        });
        Self { address, heard }
    }

    /// The URL that leads to it.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// What it heard.
    pub(crate) fn heard(self) -> Heard {
        self.heard.recv_timeout(PATIENCE).unwrap()
    }
}

fn serve(mut stream: StreamOwned<ServerConnection, TcpStream>, body: &str) -> Heard {
    let (text, failure) = read_head(&mut stream);
    if failure.is_none() {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    }
    Heard {
        text,
        alert: failure.and_then(alert),
    }
}

/// Reads to the end of a head, or to what came instead.
fn read_head<C, S>(stream: &mut StreamOwned<C, TcpStream>) -> (String, Option<io::Error>)
where
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    let mut head = String::new();
    let mut byte = [0];
    while !head.ends_with("\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) => return (head, Some(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => head.push(byte[0].into()),
            Err(error) => return (head, Some(error)),
        }
    }
    (head, None)
}

fn connected(tcp: TcpStream) -> TcpStream {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp
}

fn alert(error: io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// Shows one certificate to everybody, and signs by its key whatever the other side would take.
#[derive(Debug)]
struct Insistent(Arc<CertifiedKey>);

impl Insistent {
    fn of(shown: &Shown) -> Self {
        let key = any_supported_type(&PrivateKeyDer::Pkcs8(shown.pkcs8())).unwrap();
        let key = Arc::new(InsistentKey(key));
        Self(Arc::new(CertifiedKey::new(shown.chain.clone(), key)))
    }
}

impl ResolvesClientCert for Insistent {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Insistent {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct InsistentKey(Arc<dyn SigningKey>);

impl SigningKey for InsistentKey {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(&[
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
        ])
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Takes every server: who our server is, is not what is tried.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
