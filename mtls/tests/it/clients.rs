//! Which servers a client takes, how it keeps connections, and what its errors tell.

use std::{sync::Arc, time::Duration};

use hyper::{HeaderMap, StatusCode, body::Bytes};
use mtls::{
    body::BodyError,
    client::{Answer, ClientError, Limits, Server},
    server::{self, ClientAuth, Listener, ServerTls},
};
use protocol::{
    names::{PartyName, Role},
    problem::Problem,
};
use rcgen::SanType;

use crate::{
    harness::{ANY_PORT, Running, ask_peer, in_time},
    pki::{Leaf, Pki, expired},
};

async fn serve_as(pki: &Pki, leaf: Leaf) -> Running {
    Running::tls_as(
        leaf.identity(),
        pki.trust(),
        ClientAuth::None,
        server::Limits::default(),
    )
    .await
}

async fn gateway(pki: &Pki) -> Running {
    serve_as(pki, pki.leaf(Role::Gateway)).await
}

/// Why the client refuses the server.
async fn refused(pki: &Pki, leaf: Leaf, change: impl FnOnce(&mut Server)) -> Problem {
    let running = serve_as(pki, leaf).await;
    let mut server = running.as_server(pki);
    change(&mut server);
    let client = running.client_with(server, Limits::default());
    let error = ask_peer(&client).await.unwrap_err();
    assert!(!error.may_have_been_done());
    assert_eq!(running.request_count(), 0);
    running.stop().await;
    match error {
        ClientError::ServerRefused { refusal, .. } => refusal.problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_refused_that_is_not_the_one_wanted() {
    let pki = Pki::new();
    let same = |_: &mut Server| {};
    let own = |role| pki.leaf(role);
    assert_eq!(
        refused(&pki, own(Role::Merchant), same).await,
        Problem::RoleMismatch
    );
    assert_eq!(
        refused(&pki, Pki::new().leaf(Role::Gateway), same).await,
        Problem::CertificateUntrusted
    );
    assert_eq!(
        refused(&pki, pki.leaf_with(Role::Gateway, expired), same).await,
        Problem::CertificateExpired
    );
    let elsewhere = pki.leaf_with(Role::Gateway, |params| {
        params.subject_alt_names[1] = SanType::DnsName("elsewhere.example".try_into().unwrap());
    });
    assert_eq!(
        refused(&pki, elsewhere, same).await,
        Problem::CertificateUntrusted
    );
    let no_address = pki.leaf_with(Role::Gateway, |params| {
        params.subject_alt_names.truncate(2);
    });
    assert_eq!(
        refused(&pki, no_address, |server| {
            server.url = server.url.replace("localhost", "127.0.0.1");
        })
        .await,
        Problem::CertificateUntrusted
    );
    assert_eq!(
        refused(&pki, own(Role::Gateway), |server| {
            server.name = Some(PartyName::new(Role::Gateway, "other").unwrap());
        })
        .await,
        Problem::CertificateUntrusted
    );
    assert_eq!(
        refused(&pki, own(Role::Gateway), |server| {
            server.trust.store(Arc::new(pki.trust_without(&[7])));
        })
        .await,
        Problem::CertificateRevoked
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_taken_by_name_and_by_address() {
    let pki = Pki::new();
    let gateway = gateway(&pki).await;
    for host in ["localhost", "127.0.0.1"] {
        let server = Server {
            url: gateway.url().replace("localhost", host),
            name: Some(PartyName::new(Role::Gateway, "test").unwrap()),
            ..gateway.as_server(&pki)
        };
        let client = gateway.client_with(server, Limits::default());
        ask_peer(&client).await.unwrap();
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_comes_as_json_and_the_answer_comes_back() {
    let pki = Pki::new();
    let gateway = gateway(&pki).await;
    let client = gateway.client(&pki, None);
    let body = Bytes::from_static(br#"{"version":1}"#);
    let answer = client
        .post_json("/echo", body.clone(), HeaderMap::new())
        .await
        .unwrap();
    assert_eq!((answer.status, answer.body), (StatusCode::OK, body));
    let missing = client.get("/nowhere", HeaderMap::new()).await.unwrap();
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again() {
    let pki = Pki::new();
    let gateway = gateway(&pki).await;
    let client = gateway.client(&pki, None);
    let (_, first) = ask_peer(&client).await.unwrap();
    let (_, second) = ask_peer(&client).await.unwrap();
    assert_eq!(first, second);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let pki = Pki::new();
    let first = gateway(&pki).await;
    let client = first.client(&pki, None);
    ask_peer(&client).await.unwrap();
    let address = first.address;
    first.stop().await;

    let tls = ServerTls::new(&pki.identity(Role::Gateway), pki.trust(), ClientAuth::None).unwrap();
    let listener = Listener::bind_tls(address, tls, server::Limits::default())
        .await
        .unwrap();
    let second = Running::of(listener);
    ask_peer(&client).await.unwrap();
    assert_eq!(second.request_count(), 1);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_to_a_server_that_was_revoked_is_not_used() {
    let pki = Pki::new();
    let gateway = gateway(&pki).await;
    let server = gateway.as_server(&pki);
    let trust = Arc::clone(&server.trust);
    let client = gateway.client_with(server, Limits::default());
    ask_peer(&client).await.unwrap();
    trust.store(Arc::new(pki.trust_without(&[7])));
    assert!(matches!(
        ask_peer(&client).await,
        Err(ClientError::ServerRefused { refusal, .. })
            if refusal.problem == Problem::CertificateRevoked
    ));
    assert_eq!(gateway.request_count(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_in_time_leaves_the_outcome_unknown() {
    let pki = Pki::new();
    let gateway = gateway(&pki).await;
    let limits = Limits {
        request: Duration::from_millis(300),
        ..Limits::default()
    };
    let client = gateway.client_with(gateway.as_server(&pki), limits);
    let error = client.get("/hold", HeaderMap::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    assert!(error.may_have_been_done());
    gateway.events.release.notify_one();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_leaves_the_outcome_unknown() {
    let pki = Pki::new();
    let limits = server::Limits {
        drain: Duration::ZERO,
        ..server::Limits::default()
    };
    let mut gateway = Running::tls(&pki, ClientAuth::None, limits).await;
    let client = gateway.client(&pki, None);
    let asking = tokio::spawn(async move { client.get("/hold", HeaderMap::new()).await });
    in_time(gateway.events.held.notified()).await;
    gateway.begin_stop();
    let error = in_time(asking).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Closed { .. }), "{error:?}");
    assert!(error.may_have_been_done());
    gateway.stopped().await;
}

/// A client with a kept connection on which a request is held, and the listener that holds it.
async fn held_on_a_kept_connection(
    pki: &Pki,
) -> (
    Running,
    tokio::task::JoinHandle<Result<Answer, ClientError>>,
) {
    let limits = server::Limits {
        drain: Duration::ZERO,
        ..server::Limits::default()
    };
    let gateway = Running::tls(pki, ClientAuth::None, limits).await;
    let client = gateway.client(pki, None);
    let first = ask_peer(&client).await;
    first.unwrap();
    let asking = tokio::spawn(async move { client.get("/hold", HeaderMap::new()).await });
    in_time(gateway.events.held.notified()).await;
    (gateway, asking)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_the_second_copy_of_a_request_says_that_there_was_a_first() {
    let pki = Pki::new();
    let (mut gateway, asking) = held_on_a_kept_connection(&pki).await;
    let address = gateway.address;
    gateway.begin_stop();
    gateway.stopped().await;
    let tls = ServerTls::new(&pki.identity(Role::Gateway), pki.trust(), ClientAuth::None).unwrap();
    let listener = Listener::bind_tls(address, tls, server::Limits::default()).await;
    let second = listener.map(Running::of).unwrap();
    second.events.release.notify_one();
    // Whether the second copy finds the new listener, or nobody: that the first was sent is known.
    match in_time(asking).await.unwrap() {
        Ok(answer) => assert!(answer.was_sent_twice),
        Err(error) => assert!(error.may_have_been_done(), "{error:?}"),
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_nothing_was_done() {
    let pki = Pki::new();
    let gateway = gateway(&pki).await;
    let client = gateway.client(&pki, None);
    gateway.stop().await;
    let error = ask_peer(&client).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    assert!(!error.may_have_been_done());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_shakes_hands_was_not_reached() {
    let pki = Pki::new();
    let silent = tokio::net::TcpListener::bind(ANY_PORT).await.unwrap();
    let server = Server {
        url: format!("https://localhost:{}", silent.local_addr().unwrap().port()),
        role: Role::Gateway,
        name: None,
        trust: pki.trust(),
        identity: None,
    };
    let limits = Limits {
        connect: Duration::from_millis(100),
        ..Limits::default()
    };
    let client = mtls::client::HttpClient::new(server, limits).unwrap();
    let error = ask_peer(&client).await.unwrap_err();
    assert!(
        matches!(error, ClientError::ConnectTimedOut { .. }),
        "{error:?}"
    );
    assert!(!error.may_have_been_done());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_above_the_limit_is_not_taken() {
    let pki = Pki::new();
    let gateway = gateway(&pki).await;
    let error = gateway
        .client(&pki, None)
        .get("/large", HeaderMap::new())
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ClientError::Body {
            source: BodyError::TooLarge { .. },
            ..
        }
    ));
    gateway.stop().await;
}
