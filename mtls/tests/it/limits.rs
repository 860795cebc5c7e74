//! Slow, large and many: what a listener does with them.

use std::time::Duration;

use hyper::HeaderMap;
use mtls::{
    body::REQUEST_BYTES_MAX,
    server::{ClientAuth, Limits},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    harness::{Running, ask_peer, in_time, read_to_end},
    pki::Pki,
};

const SHORT: Duration = Duration::from_millis(200);

/// What a plain listener answers to these bytes until it closes.
async fn answer_to(server: &Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

fn post(body_header: &str, body: &str) -> Vec<u8> {
    format!("POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{body_header}\r\n\r\n{body}")
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_have_64_kib_and_not_a_byte_more() {
    let server = Running::plain(Limits::default()).await;
    let body = "x".repeat(REQUEST_BYTES_MAX);
    let length = format!("content-length: {}", body.len());
    let answer = answer_to(&server, &post(&length, &body)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:.60}");
    // Announced: refused before any of it comes.
    let length = format!("content-length: {}", body.len() + 1);
    let answer = answer_to(&server, &post(&length, "")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:.60}");
    // Not announced: refused at the byte that is too many.
    let chunk = format!("{:x}\r\n{body}x\r\n", body.len() + 1);
    let answer = answer_to(&server, &post("transfer-encoding: chunked", &chunk)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:.60}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_given_up() {
    let server = Running::plain(Limits::default()).await;
    let answer = answer_to(&server, &post("content-length: 10", "x")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:.60}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_above_8_kib_is_refused() {
    let server = Running::plain(Limits::default()).await;
    let request = |filler: usize| {
        let filler = "x".repeat(filler);
        format!("GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\nfiller: {filler}\r\n\r\n")
    };
    let answer = answer_to(&server, request(8000).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:.60}");
    let answer = answer_to(&server, request(8192).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:.60}");
    assert_eq!(server.request_count(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_header_and_an_idle_connection_are_cut_off() {
    let limits = Limits {
        header: SHORT,
        ..Limits::default()
    };
    let server = Running::plain(limits).await;
    answer_to(&server, b"GET /pe").await;
    assert_eq!(server.request_count(), 0);
    // Answered, then idle.
    let answer = answer_to(&server, b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:.60}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_shake_hands_is_cut_off() {
    let limits = Limits {
        handshake: SHORT,
        ..Limits::default()
    };
    let server = Running::tls(&Pki::new(), ClientAuth::None, limits).await;
    assert_eq!(answer_to(&server, b"").await, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_is_closed_after_the_request_that_runs() {
    let limits = Limits {
        connection_age: SHORT,
        ..Limits::default()
    };
    let server = Running::plain(limits).await;
    let request = b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = answer_to(&server, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:.60}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_cap_a_connection_waits_until_another_ends() {
    let pki = Pki::new();
    let limits = Limits {
        connections_max: 1,
        ..Limits::default()
    };
    let server = Running::tls(&pki, ClientAuth::None, limits).await;
    let first = server.client(&pki, None);
    let held = {
        let first = first.clone();
        tokio::spawn(async move { first.get("/hold", HeaderMap::new()).await })
    };
    in_time(server.events.held.notified()).await;

    let second = server.client(&pki, None);
    let mut waiting = tokio::spawn(async move { ask_peer(&second).await });
    assert!(tokio::time::timeout(SHORT, &mut waiting).await.is_err());
    assert_eq!(server.request_count(), 1);

    server.events.release.notify_one();
    in_time(held).await.unwrap().unwrap();
    drop(first);
    in_time(waiting).await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_stops_lets_the_running_request_finish() {
    let pki = Pki::new();
    let mut server = Running::tls(&pki, ClientAuth::None, Limits::default()).await;
    let idle = server.client(&pki, None);
    ask_peer(&idle).await.unwrap();
    let client = server.client(&pki, None);
    let held = tokio::spawn(async move { client.get("/hold", HeaderMap::new()).await });
    in_time(server.events.held.notified()).await;

    server.begin_stop();
    // Once this is refused, the listener is gone and the request still runs.
    in_time(async { while ask_peer(&idle).await.is_ok() {} }).await;
    assert!(!held.is_finished());
    server.events.release.notify_one();
    let answer = in_time(held).await.unwrap().unwrap();
    assert_eq!(answer.body, "released");
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_finish_does_not_keep_a_listener_from_stopping() {
    let pki = Pki::new();
    let limits = Limits {
        drain: SHORT,
        ..Limits::default()
    };
    let server = Running::tls(&pki, ClientAuth::None, limits).await;
    let client = server.client(&pki, None);
    let held = tokio::spawn(async move { client.get("/hold", HeaderMap::new()).await });
    in_time(server.events.held.notified()).await;
    server.stop().await;
    in_time(held).await.unwrap().unwrap_err();
}
