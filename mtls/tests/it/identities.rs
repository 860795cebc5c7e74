//! Keys in this process, and keys that sign elsewhere.

use std::sync::Arc;

use mtls::{
    client::ClientError,
    identity::{Identity, IdentityError, RemoteSign},
    server::{ClientAuth, Limits},
};
use protocol::names::Role;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, SigningKey as _};

use crate::{
    harness::{Running, ask_peer},
    pki::{Leaf, Pki, pkcs8},
};

/// What a token does: it gives signatures and nothing else.
fn signing_with(key: KeyPair) -> RemoteSign {
    Arc::new(move |message| key.sign(message).map_err(|error| error.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_key_is_elsewhere_shakes_hands() {
    let pki = Pki::new();
    let Leaf { der, key, .. } = pki.leaf(Role::Gateway);
    let identity = Identity::remote(vec![der], signing_with(key)).unwrap();
    let server = Running::tls_as(
        identity,
        pki.trust(),
        ClientAuth::Required(vec![Role::Merchant]),
        Limits::default(),
    )
    .await;
    ask_peer(&server.merchant(&pki)).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_elsewhere_that_fails_later_fails_the_handshake_alone() {
    let pki = Pki::new();
    let Leaf { der, key, .. } = pki.leaf(Role::Gateway);
    let signed_once = std::sync::atomic::AtomicBool::new(false);
    let sign: RemoteSign = Arc::new(move |message| {
        if signed_once.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return Err("the token is gone".to_owned());
        }
        key.sign(message).map_err(|error| error.to_string())
    });
    let identity = Identity::remote(vec![der], sign).unwrap();
    let server = Running::tls_as(identity, pki.trust(), ClientAuth::None, Limits::default()).await;
    let error = ask_peer(&server.client(&pki, None)).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls { .. }), "{error:?}");
    server.stop().await;
}

#[test]
fn a_key_that_is_not_the_certificates_makes_no_identity() {
    let pki = Pki::new();
    let other = || KeyPair::generate().unwrap();
    let chain = || vec![pki.leaf(Role::Gateway).der];
    assert!(matches!(
        Identity::software(chain(), pkcs8(&other())),
        Err(IdentityError::Mismatch)
    ));
    assert!(matches!(
        Identity::remote(chain(), signing_with(other())),
        Err(IdentityError::Mismatch)
    ));
    assert!(matches!(
        Identity::remote(chain(), Arc::new(|_| Err("no token".to_owned()))),
        Err(IdentityError::RemoteKey(reason)) if reason == "no token"
    ));
    assert!(matches!(
        Identity::remote(vec![], signing_with(other())),
        Err(IdentityError::Certificate(_))
    ));
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    assert!(Identity::software(chain(), pkcs8(&p384)).is_err());
}

#[test]
fn an_identity_is_read_from_two_files() {
    let pki = Pki::new();
    let leaf = pki.leaf(Role::Merchant);
    let directory = tempfile::tempdir().unwrap();
    let chain = directory.path().join("tls.pem");
    let key = directory.path().join("tls.key");
    std::fs::write(&chain, &leaf.pem).unwrap();
    std::fs::write(&key, leaf.key.serialize_pem()).unwrap();
    let mode = |mode| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&key, permissions).unwrap();
    };
    mode(0o644);
    let open = Identity::from_files(&chain, &key)
        .err()
        .unwrap()
        .to_string();
    assert!(open.contains("chmod 600"), "{open}");
    mode(0o600);
    assert!(Identity::from_files(&chain, &key).is_ok());
    let error = Identity::from_files(&key, &key).err().unwrap().to_string();
    assert!(error.contains("tls.key"), "{error}");
    assert!(error.contains("CERTIFICATE"), "{error}");
}
