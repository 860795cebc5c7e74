//! Many connections of one: what is left for the others, and that nothing stays taken.

use std::{net::Ipv4Addr, time::Duration};

use hyper::HeaderMap;
use mtls::{
    client::HttpClient,
    server::{ClientAuth, Limits},
};
use protocol::names::Role;
use rcgen::SanType;
use rustls::version;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::{
    harness::{Running, ask_peer, in_time, read_to_end},
    pki::Pki,
    servers::{config, connect, shake_hands},
};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(3600);

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A TCP connection from an address of this machine.
async fn tcp_from(source: Ipv4Addr, server: &Running) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    in_time(socket.connect(server.address)).await.unwrap()
}

/// A connection that was answered and is kept; `None` when it was closed instead.
async fn kept<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Option<S> {
    let request = b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = [0; 8];
    in_time(stream.read_exact(&mut answer)).await.ok()?;
    Some(stream)
}

async fn kept_plain(source: Ipv4Addr, server: &Running) -> Option<TcpStream> {
    kept(tcp_from(source, server).await).await
}

/// Asks, with new connections, until one is answered: a slot may be given back a moment later.
async fn in_time_answered(client: &HttpClient) {
    in_time(async { while ask_peer(client).await.is_err() {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_with_silence_keeps_nobody_but_its_own_address_out() {
    let pki = Pki::new();
    let limits = Limits {
        handshakes_per_address_max: 4,
        handshakes_max: 9,
        handshake: LONG,
        ..Limits::default()
    };
    let server = Running::tls(&pki, ClientAuth::None, limits).await;
    let mut flood = Vec::new();
    for _ in 0..4 {
        flood.push(tcp_from(ELSEWHERE, &server).await);
    }
    for _ in 0..50 {
        let mut above = tcp_from(ELSEWHERE, &server).await;
        assert_eq!(read_to_end(&mut above).await, "");
    }
    ask_peer(&server.client(&pki, None)).await.unwrap();

    for _ in 0..4 {
        flood.push(tcp_from(HERE, &server).await);
    }
    let client = server.client(&pki, None);
    ask_peer(&client).await.unwrap_err();
    drop(flood);
    in_time_answered(&client).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_many_connections_keeps_nobody_but_its_own_address_out() {
    let limits = Limits {
        connections_per_address_max: 2,
        ..Limits::default()
    };
    let server = Running::plain(limits).await;
    let first = kept_plain(HERE, &server).await.unwrap();
    let _second = kept_plain(HERE, &server).await.unwrap();
    for _ in 0..50 {
        assert!(kept_plain(HERE, &server).await.is_none());
    }
    assert!(kept_plain(ELSEWHERE, &server).await.is_some());
    drop(first);
    in_time(async { while kept_plain(HERE, &server).await.is_none() {} }).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_begun_together_do_not_lead_above_the_connections_of_an_address() {
    let pki = Pki::new();
    let limits = Limits {
        connections_per_address_max: 1,
        ..Limits::default()
    };
    let server = Running::tls(&pki, ClientAuth::None, limits).await;
    let (first, second) = (tcp_from(HERE, &server).await, tcp_from(HERE, &server).await);
    let answered = async |tcp: TcpStream| {
        let config = config(&pki, &version::TLS13, &[b"http/1.1"]);
        kept(shake_hands(tcp, config).await.ok()?).await
    };
    let _kept = answered(first).await.unwrap();
    assert!(answered(second).await.is_none());
    assert_eq!(server.request_count(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_many_connections_keeps_nobody_but_its_own_party_out() {
    let pki = Pki::new();
    let limits = Limits {
        connections_per_party_max: 1,
        ..Limits::default()
    };
    let auth = ClientAuth::Required(vec![Role::Merchant]);
    let server = Running::tls(&pki, auth, limits).await;
    let first = server.merchant(&pki);
    ask_peer(&first).await.unwrap();
    // Another certificate of the same name.
    let second = server.merchant(&pki);
    ask_peer(&second).await.unwrap_err();
    // The newest is closed, not the one that was there.
    ask_peer(&first).await.unwrap();
    let other = pki.leaf_with(Role::Merchant, |params| {
        let name = "urn:twinseal:merchant:other".try_into().unwrap();
        params.subject_alt_names = vec![SanType::URI(name)];
    });
    let other = server.client(&pki, Some(other.identity()));
    ask_peer(&other).await.unwrap();

    drop(first);
    in_time_answered(&second).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_and_established_connections_do_not_take_one_another_s_places() {
    let pki = Pki::new();
    let limits = Limits {
        connections_max: 1,
        handshakes_max: 1,
        handshake: LONG,
        ..Limits::default()
    };
    let server = Running::tls(&pki, ClientAuth::None, limits).await;
    let first = server.client(&pki, None);
    ask_peer(&first).await.unwrap();
    let silent = tcp_from(ELSEWHERE, &server).await;
    ask_peer(&first).await.unwrap();

    // Waits first for the silent one's place, then for the first one's.
    let second = server.client(&pki, None);
    let waiting = tokio::spawn(async move { second.get("/hold", HeaderMap::new()).await });
    drop(silent);
    drop(first);
    in_time(server.events.held.notified()).await;
    server.events.release.notify_one();
    in_time(waiting).await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_for_another_to_end_is_closed() {
    let limits = Limits {
        connections_max: 1,
        handshake: SHORT,
        ..Limits::default()
    };
    let server = Running::plain(limits).await;
    let _kept = kept_plain(HERE, &server).await.unwrap();
    assert!(kept_plain(ELSEWHERE, &server).await.is_none());
    assert_eq!(server.request_count(), 1);
    server.stop().await;
}

/// Far more than the system keeps for a peer that does not read.
async fn ask_for_much(stream: &mut (impl AsyncWrite + Unpin)) {
    let requests = "GET /large HTTP/1.1\r\nhost: a\r\n\r\n".repeat(32);
    stream.write_all(requests.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_its_answers_does_not_keep_its_place() {
    let limits = Limits {
        connections_max: 1,
        connection_age: LONG,
        header: LONG,
        write: SHORT,
        ..Limits::default()
    };
    let server = Running::plain(limits.clone()).await;
    let mut unread = tcp_from(HERE, &server).await;
    ask_for_much(&mut unread).await;
    in_time(async { while kept_plain(HERE, &server).await.is_none() {} }).await;
    server.stop().await;

    let pki = Pki::new();
    let server = Running::tls(&pki, ClientAuth::None, limits).await;
    let config = config(&pki, &version::TLS13, &[b"http/1.1"]);
    let mut unread = connect(&server, config).await.unwrap();
    ask_for_much(&mut unread).await;
    in_time_answered(&server.client(&pki, None)).await;
    server.stop().await;
}
