//! Servers that are known by the root alone.

use std::{fs, sync::Arc};

use mtls::{
    client::{ClientConfigError, ClientError, HttpClient, Limits},
    identity::Identity,
    rooted::{Root, RootError},
    server::{self, ClientAuth},
};
use protocol::{
    names::{PartyName, Role},
    pki::Usage,
    problem::Problem,
};
use rcgen::ExtendedKeyUsagePurpose;
use tempfile::TempDir;

use crate::{
    harness::{Running, ask_peer},
    pki::{Leaf, Pki, expired, for_signing, pkcs8},
};

fn root(pki: &Pki) -> Root {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("root.pem");
    fs::write(&path, pki.root.pem()).unwrap();
    Root::read(&path).unwrap()
}

/// A server that shows its CA beside its certificate.
async fn server(pki: &Pki, role: Role, leaf: Leaf) -> Running {
    let chain = vec![leaf.der.clone(), pki.ca(role).der().clone()];
    let identity = Identity::software(chain, pkcs8(&leaf.key)).unwrap();
    Running::tls_as(
        identity,
        pki.trust(),
        ClientAuth::None,
        server::Limits::default(),
    )
    .await
}

/// Whom the test's gateway certificates name.
fn name() -> PartyName {
    PartyName::new(Role::Gateway, "test").unwrap()
}

fn client(url: &str, root: Root) -> HttpClient {
    HttpClient::rooted(url, root, name(), None, None, Limits::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_s_server_that_shows_its_ca_is_known_by_the_root() {
    let pki = Pki::new();
    let server = server(&pki, Role::Gateway, pki.leaf(Role::Gateway)).await;
    let client = client(&server.url(), root(&pki));
    ask_peer(&client).await.unwrap();
    // On a kept connection, too.
    ask_peer(&client).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_roots_roles_uses_hosts_and_times_are_refused() {
    let pki = Pki::new();
    let gateway = |change: fn(&mut rcgen::CertificateParams)| pki.leaf_with(Role::Gateway, change);
    let (root, other) = (root(&pki), Pki::new());
    for (what, pki, role, leaf, problem) in [
        (
            "another root",
            &other,
            Role::Gateway,
            other.leaf(Role::Gateway),
            Problem::CertificateUntrusted,
        ),
        (
            "a merchant",
            &pki,
            Role::Merchant,
            pki.leaf(Role::Merchant),
            Problem::RoleMismatch,
        ),
        (
            "a client of TLS",
            &pki,
            Role::Gateway,
            gateway(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]
            }),
            Problem::CertificateUntrusted,
        ),
        (
            "for signing",
            &pki,
            Role::Gateway,
            gateway(for_signing),
            Problem::CertificateUntrusted,
        ),
        (
            "another host",
            &pki,
            Role::Gateway,
            gateway(|params| params.subject_alt_names.truncate(1)),
            Problem::CertificateUntrusted,
        ),
        (
            "nobody's name",
            &pki,
            Role::Gateway,
            gateway(|params| drop(params.subject_alt_names.remove(0))),
            Problem::CertificateUntrusted,
        ),
        (
            "expired",
            &pki,
            Role::Gateway,
            gateway(expired),
            Problem::CertificateExpired,
        ),
    ] {
        let server = server(pki, role, leaf).await;
        let refused = ask_peer(&client(&server.url(), root.clone())).await;
        assert!(
            matches!(&refused, Err(ClientError::ServerRefused { refusal, .. }) if refusal.problem == problem),
            "{what}: {refused:?}"
        );
        assert_eq!(server.request_count(), 0);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_show_its_ca_is_refused() {
    let pki = Pki::new();
    let server = Running::tls(&pki, ClientAuth::None, server::Limits::default()).await;
    let refused = ask_peer(&client(&server.url(), root(&pki))).await;
    assert!(
        matches!(refused, Err(ClientError::ServerRefused { .. })),
        "{refused:?}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_trust_a_revoked_server_is_refused() {
    let pki = Pki::new();
    let server = server(&pki, Role::Gateway, pki.leaf(Role::Gateway)).await;
    let trust = pki.trust();
    let limits = Limits::default();
    let client = HttpClient::rooted(
        &server.url(),
        root(&pki),
        name(),
        Some(Arc::clone(&trust)),
        None,
        limits,
    )
    .unwrap();
    ask_peer(&client).await.unwrap();
    trust.store(Arc::new(pki.trust_without(&[7])));
    assert!(matches!(
        ask_peer(&client).await,
        Err(ClientError::ServerRefused { refusal, .. })
            if refusal.problem == Problem::CertificateRevoked
    ));
    server.stop().await;
}

#[test]
fn a_certificate_is_held_against_the_root_and_says_whose_it_is() {
    let pki = Pki::new();
    let root = root(&pki);
    let leaf = pki.leaf_with(Role::Client, for_signing);
    let chain = [leaf.der.clone(), pki.ca(Role::Client).der().clone()];
    let check = |chain: &[_], usage| root.check(chain, usage, mtls::now());
    let shown = check(&chain, Usage::MessageSigning).unwrap();
    assert_eq!(shown.name.as_str(), "urn:twinseal:client:test");
    assert_eq!(
        shown.public_key.as_ref(),
        rcgen::PublicKeyData::subject_public_key_info(&leaf.key)
    );
    for usage in [Usage::TlsClient, Usage::TlsServer, Usage::Encryption] {
        assert!(check(&chain, usage).is_err(), "{usage:?}");
    }
    assert!(check(&chain[..1], Usage::MessageSigning).is_err());
    assert!(check(&[], Usage::MessageSigning).is_err());
}

#[test]
fn what_is_no_root_or_no_server_s_address_is_told() {
    let pki = Pki::new();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("root.pem");
    assert!(matches!(Root::read(&path), Err(RootError::File(_))));
    let refused = HttpClient::rooted(
        "localhost",
        root(&pki),
        name(),
        None,
        None,
        Limits::default(),
    );
    assert!(matches!(
        refused.map(drop),
        Err(ClientConfigError::Url { .. })
    ));
}
