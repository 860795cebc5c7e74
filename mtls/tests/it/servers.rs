//! Whom a server lets in, and for how long.

use std::sync::Arc;

use mtls::{
    client::ClientError,
    server::{ClientAuth, Limits},
};
use protocol::{names::Role, pki::Usage};
use rcgen::SanType;
use rustls::{
    AlertDescription, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs, version,
};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    harness::{Running, ask_peer, in_time},
    pki::{Pki, expired, for_signing},
};

fn merchants() -> ClientAuth {
    ClientAuth::Required(vec![Role::Merchant])
}

async fn gateway(pki: &Pki) -> Running {
    Running::tls(pki, merchants(), Limits::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_is_known_by_the_name_in_its_certificate() {
    let pki = Pki::new();
    let gateway = gateway(&pki).await;
    let (name, _) = ask_peer(&gateway.merchant(&pki)).await.unwrap();
    assert_eq!(name, "urn:twinseal:merchant:test");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reaches_the_handler() {
    let pki = Pki::new();
    let gateway = gateway(&pki).await;
    let bad = [
        ("no certificate", None),
        ("a client's", Some(pki.identity(Role::Client))),
        ("a gateway's", Some(pki.identity(Role::Gateway))),
        ("another PKI's", Some(Pki::new().identity(Role::Merchant))),
        (
            "an expired one",
            Some(pki.leaf_with(Role::Merchant, expired).identity()),
        ),
        (
            "a gateway's name from the merchant CA",
            Some(
                pki.leaf_with(Role::Merchant, |params| {
                    params.subject_alt_names = vec![SanType::URI(
                        "urn:twinseal:gateway:test".try_into().unwrap(),
                    )];
                })
                .identity(),
            ),
        ),
    ];
    for (what, identity) in bad {
        let error = ask_peer(&gateway.client(&pki, identity)).await.unwrap_err();
        assert!(
            matches!(error, ClientError::Tls { .. }),
            "{what}: {error:?}"
        );
        assert!(!error.may_have_been_done());
    }
    assert_eq!(gateway.request_count(), 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_certificates_are_optional_a_bad_one_is_still_refused() {
    let pki = Pki::new();
    let auth = ClientAuth::Optional(vec![Role::Client, Role::Merchant]);
    let server = Running::tls(&pki, auth, Limits::default()).await;
    let (nobody, _) = ask_peer(&server.client(&pki, None)).await.unwrap();
    assert_eq!(nobody, "nobody");
    for role in [Role::Client, Role::Merchant] {
        let client = server.client(&pki, Some(pki.identity(role)));
        let (name, _) = ask_peer(&client).await.unwrap();
        assert_eq!(name, format!("urn:twinseal:{role}:test"));
    }
    let gateway = server.client(&pki, Some(pki.identity(Role::Gateway)));
    assert!(matches!(
        ask_peer(&gateway).await,
        Err(ClientError::Tls { .. })
    ));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_listener_for_renewals_takes_certificates_for_signing() {
    let pki = Pki::new();
    let uses = vec![
        (Role::Client, Usage::MessageSigning),
        (Role::Merchant, Usage::TlsClient),
    ];
    let renewals = Running::tls(&pki, ClientAuth::OptionalFor(uses), Limits::default()).await;
    let (nobody, _) = ask_peer(&renewals.client(&pki, None)).await.unwrap();
    assert_eq!(nobody, "nobody");
    let signing = |role| pki.leaf_with(role, for_signing).identity();
    for (identity, name) in [
        (signing(Role::Client), "urn:twinseal:client:test"),
        (pki.identity(Role::Merchant), "urn:twinseal:merchant:test"),
    ] {
        let client = renewals.client(&pki, Some(identity));
        assert_eq!(ask_peer(&client).await.unwrap().0, name);
    }
    let every_tls = ClientAuth::Optional(Role::ALL.to_vec());
    let others = Running::tls(&pki, every_tls, Limits::default()).await;
    for (listener, identity) in [
        (&renewals, signing(Role::Merchant)),
        (&renewals, pki.identity(Role::Client)),
        (&others, signing(Role::Client)),
        (&others, signing(Role::Merchant)),
    ] {
        let refused = ask_peer(&listener.client(&pki, Some(identity))).await;
        assert!(
            matches!(refused, Err(ClientError::Tls { .. })),
            "{refused:?}"
        );
    }
    renewals.stop().await;
    others.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_is_revoked_is_cut_off_at_its_next_request() {
    let pki = Pki::new();
    let trust = pki.trust();
    let gateway = Running::tls_as(
        pki.identity(Role::Gateway),
        Arc::clone(&trust),
        merchants(),
        Limits::default(),
    )
    .await;
    let merchant = gateway.merchant(&pki);
    ask_peer(&merchant).await.unwrap();
    trust.store(Arc::new(pki.trust_without(&[7])));
    assert!(matches!(
        ask_peer(&merchant).await,
        Err(ClientError::Tls { .. })
    ));
    assert_eq!(gateway.request_count(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_is_refused() {
    let pki = Pki::new();
    let server = Running::tls(&pki, ClientAuth::None, Limits::default()).await;
    let error = connect(&server, config(&pki, &version::TLS12, &[b"http/1.1"]))
        .await
        .unwrap_err();
    assert_eq!(
        alert(&error),
        Some(AlertDescription::ProtocolVersion),
        "{error}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_application_protocols_are_refused() {
    let pki = Pki::new();
    let server = Running::tls(&pki, ClientAuth::None, Limits::default()).await;
    let error = connect(&server, config(&pki, &version::TLS13, &[b"h2"]))
        .await
        .unwrap_err();
    assert_eq!(
        alert(&error),
        Some(AlertDescription::NoApplicationProtocol),
        "{error}"
    );
    // Without any, the handshake itself is complete.
    let mut stream = connect(&server, config(&pki, &version::TLS13, &[]))
        .await
        .unwrap();
    let _ = stream
        .write_all(b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let mut answer = Vec::new();
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    assert!(answer.is_empty());
    assert_eq!(server.request_count(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_resumed() {
    let pki = Pki::new();
    let server = Running::tls(&pki, ClientAuth::None, Limits::default()).await;
    // One configuration, which would keep tickets if there were any.
    let config = config(&pki, &version::TLS13, &[b"http/1.1"]);
    for _ in 0..3 {
        let mut stream = connect(&server, Arc::clone(&config)).await.unwrap();
        stream
            .write_all(b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        in_time(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (_, session) = stream.get_ref();
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
    server.stop().await;
}

/// A client of rustls alone, which trusts the gateway CA.
pub(crate) fn config(
    pki: &Pki,
    version: &'static SupportedProtocolVersion,
    protocols: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(pki.ca(Role::Gateway).der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

pub(crate) async fn connect(
    server: &Running,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    shake_hands(TcpStream::connect(server.address).await?, config).await
}

pub(crate) async fn shake_hands(
    tcp: TcpStream,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    in_time(TlsConnector::from(config).connect(name, tcp)).await
}

fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}
