//! What the workers do with the keys: right results, deadlines, a full queue, failures that leave nothing
//! behind.

use std::time::{Duration, Instant};

use aws_lc_rs::{
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    digest::{SHA256, digest},
    signature::{self, ECDSA_P256_SHA256_FIXED},
};
use cryptoki::{
    mechanism::{Mechanism, aead::GcmParams},
    object::Attribute,
};
use hsm::{
    AgreementKey, DataKey, HsmError, IndexKey, P256Point, SigningKey, TokenConfig, WorkClass,
    policy::KeyUse, uri::Pkcs11Uri,
};

use crate::{
    directory::{TokenDirectory, block_on, in_a_new_directory, open, secret_part},
    metering::Meter,
    templates,
};

/// The keys as a program that serves has them.
#[derive(Clone)]
struct Keys {
    signing: SigningKey,
    encryption: AgreementKey,
    encryption_public: [u8; 65],
    data: DataKey,
    index: IndexKey,
}

fn keys(directory: &TokenDirectory, sessions: usize, queue_max: usize) -> Keys {
    let admin = directory.gateway_token();
    let token = open(&TokenConfig {
        sessions,
        queue_max,
        ..directory.config()
    })
    .unwrap();
    let public = |label| admin.find(label).unwrap().unwrap().public.unwrap();
    let encryption_public = public("encryption");
    let uri = Pkcs11Uri::for_key;
    Keys {
        signing: token
            .signing_key(&uri("signing"), public("signing"), WorkClass::Receipts)
            .unwrap(),
        encryption: token
            .agreement_key(&uri("encryption"), encryption_public)
            .unwrap(),
        encryption_public,
        data: token.data_key(&uri("data")).unwrap(),
        index: token.index_key(&uri("index")).unwrap(),
    }
}

/// Later than any of these tests takes.
fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn sha256(data: &[u8]) -> [u8; 32] {
    digest(&SHA256, data).as_ref().try_into().unwrap()
}

fn is_signature_of(key: &SigningKey, data: &[u8], signature: &[u8; 64]) -> bool {
    signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public())
        .verify(data, signature)
        .is_ok()
}

fn point_of(key: &PrivateKey) -> P256Point {
    let public = key.compute_public_key().unwrap();
    P256Point::from_uncompressed(public.as_ref().try_into().unwrap()).unwrap()
}

/// What the software's side of an agreement gets.
fn agreed(own: &PrivateKey, public: &[u8; 65]) -> [u8; 32] {
    let peer = UnparsedPublicKey::new(&ECDH_P256, public);
    agreement::agree(own, peer, (), |secret| Ok(secret.try_into().unwrap())).unwrap()
}

#[test]
fn a_signature_is_the_public_key_s_over_the_digest() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 2, 64);
        let signature = block_on(keys.signing.sign(sha256(b"receipt"), in_time())).unwrap();
        assert!(is_signature_of(&keys.signing, b"receipt", &signature));
        assert!(!is_signature_of(&keys.signing, b"another", &signature));
        let blocking = keys
            .signing
            .sign_blocking(sha256(b"handshake"), in_time())
            .unwrap();
        assert!(is_signature_of(&keys.signing, b"handshake", &blocking));
        // As TLS and X.509 write it.
        signature::UnparsedPublicKey::new(
            &signature::ECDSA_P256_SHA256_ASN1,
            keys.signing.public(),
        )
        .verify(b"receipt", &hsm::signature::der(&signature))
        .unwrap();
    });
}

#[test]
fn an_agreement_is_what_the_other_side_computes() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 2, 64);
        let other = PrivateKey::generate(&ECDH_P256).unwrap();
        let secret = block_on(keys.encryption.derive(&point_of(&other), in_time())).unwrap();
        assert!(*secret.expose() == agreed(&other, &keys.encryption_public));
        let third = PrivateKey::generate(&ECDH_P256).unwrap();
        assert!(*secret.expose() != agreed(&third, &keys.encryption_public));
    });
}

#[test]
fn a_derived_secret_leaves_no_object_behind() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 1, 64);
        let session = directory.bare_session();
        let count = || session.find_objects(&[]).unwrap().len();
        let before = count();
        let other = PrivateKey::generate(&ECDH_P256).unwrap();
        for _ in 0..5 {
            block_on(keys.encryption.derive(&point_of(&other), in_time())).unwrap();
        }
        assert_eq!(count(), before);
    });
}

#[test]
fn a_ciphertext_is_a_nonce_and_aes_gcm_under_the_key_in_the_token() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 2, 64);
        let sealed = block_on(keys.data.encrypt(b"payment 1", b"evidence", in_time())).unwrap();
        assert_eq!(sealed.len(), 12 + b"evidence".len() + 16);
        let opened = block_on(keys.data.decrypt(b"payment 1", &sealed, in_time())).unwrap();
        assert_eq!(opened.as_slice(), b"evidence");
        // The same by hand, without our crate.
        let session = directory.bare_session();
        let mut nonce = sealed[..12].to_vec();
        let parameters = GcmParams::new(&mut nonce, b"payment 1", 128.into()).unwrap();
        let plaintext = session
            .decrypt(
                &Mechanism::AesGcm(parameters),
                secret_part(&session, "data"),
                &sealed[12..],
            )
            .unwrap();
        assert_eq!(plaintext, b"evidence");
        // A nonce is never used twice.
        let again = block_on(keys.data.encrypt(b"payment 1", b"evidence", in_time())).unwrap();
        assert_ne!(sealed[..12], again[..12]);
    });
}

#[test]
fn a_mac_is_hmac_sha_256_under_the_key_in_the_token() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 2, 64);
        let mac = block_on(keys.index.mac(b"card", in_time())).unwrap();
        let session = directory.bare_session();
        let key = secret_part(&session, "index");
        let is_mac_of = |data: &[u8]| session.verify(&Mechanism::Sha256Hmac, key, data, &mac);
        assert!(is_mac_of(b"card").is_ok());
        assert!(is_mac_of(b"another").is_err());
        assert_eq!(block_on(keys.index.mac(b"card", in_time())).unwrap(), mac);
    });
}

#[test]
fn every_canary_sings() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 2, 64);
        block_on(async {
            keys.signing.canary(in_time()).await.unwrap();
            keys.encryption.canary(in_time()).await.unwrap();
            keys.data.canary(in_time()).await.unwrap();
            keys.index.canary(in_time()).await.unwrap();
        });
    });
}

#[test]
fn a_token_that_has_lost_a_key_is_out_of_service_and_says_which() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 1, 64);
        let session = directory.bare_session();
        session
            .destroy_object(secret_part(&session, "data"))
            .unwrap();
        // Another key of that name is not the one that was lost.
        templates::make(&session, "data", KeyUse::Encrypt, &[]);
        block_on(async {
            for outcome in [
                keys.data.canary(in_time()).await,
                keys.index.canary(in_time()).await,
            ] {
                let Err(HsmError::Unavailable(reason)) = &outcome else {
                    panic!("{outcome:?}");
                };
                assert!(reason.contains("key data"), "{reason}");
            }
        });
    });
}

#[test]
fn many_tasks_at_once_get_each_its_own_answer() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 4, 1024);
        block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0u32..64 {
                let keys = keys.clone();
                tasks.spawn(async move {
                    let data = number.to_be_bytes();
                    for _ in 0..5 {
                        let signature = keys.signing.sign(sha256(&data), in_time()).await.unwrap();
                        assert!(is_signature_of(&keys.signing, &data, &signature));
                        let other = PrivateKey::generate(&ECDH_P256).unwrap();
                        let peer = point_of(&other);
                        let secret = keys.encryption.derive(&peer, in_time()).await.unwrap();
                        assert!(*secret.expose() == agreed(&other, &keys.encryption_public));
                        let sealed = keys.data.encrypt(&data, &data, in_time()).await.unwrap();
                        let opened = keys.data.decrypt(&data, &sealed, in_time()).await.unwrap();
                        assert_eq!(opened.as_slice(), data);
                        let mac = keys.index.mac(&data, in_time()).await.unwrap();
                        assert_eq!(keys.index.mac(&data, in_time()).await.unwrap(), mac);
                    }
                });
            }
            let mut done = 0;
            while let Some(outcome) = tasks.join_next().await {
                outcome.unwrap();
                done += 1;
            }
            assert_eq!(done, 64);
        });
    });
}

#[test]
fn a_changed_ciphertext_is_refused_and_the_workers_stay_usable() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 1, 64);
        let (aad, data) = (&b"payment 1"[..], &keys.data);
        let module = directory.bare_module();
        let sessions = || {
            let info = module.get_token_info(directory.slot(&module)).unwrap();
            info.session_count()
        };
        let before = sessions();
        block_on(async {
            let sealed = data.encrypt(aad, b"evidence", in_time()).await.unwrap();
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                let outcome = data.decrypt(aad, &changed, in_time()).await;
                assert_eq!(outcome.err(), Some(HsmError::InvalidInput), "byte {at}");
            }
            assert!(
                data.decrypt(b"payment 2", &sealed, in_time())
                    .await
                    .is_err()
            );
            let opened = data.decrypt(aad, &sealed, in_time()).await;
            assert_eq!(opened.unwrap().as_slice(), b"evidence");
            keys.signing.canary(in_time()).await.unwrap();
        });
        // Each failure had its session replaced, not added.
        assert_eq!(sessions(), before);
    });
}

#[test]
fn the_login_lasts_as_long_as_a_key_although_every_worker_failed() {
    in_a_new_directory(|directory| {
        // Nothing but the keys is left of the token here.
        let keys = keys(directory, 3, 64);
        block_on(async {
            for _ in 0..6 {
                let (one, two, three) = tokio::join!(
                    keys.data.decrypt(b"", &[0; 28], in_time()),
                    keys.data.decrypt(b"", &[0; 28], in_time()),
                    keys.data.decrypt(b"", &[0; 28], in_time()),
                );
                assert!(one.is_err() && two.is_err() && three.is_err());
            }
            keys.data.canary(in_time()).await.unwrap();
            keys.signing.canary(in_time()).await.unwrap();
        });
    });
}

#[test]
fn what_is_too_short_for_a_ciphertext_never_reaches_the_token() {
    in_a_new_directory(|directory| {
        let meter = Meter::install();
        let keys = keys(directory, 1, 64);
        block_on(async {
            let sealed = keys.data.encrypt(b"", b"", in_time()).await.unwrap();
            assert_eq!(sealed.len(), 28);
            for length in [0, 11, 12, 27] {
                let outcome = keys.data.decrypt(b"", &sealed[..length], in_time()).await;
                assert_eq!(outcome.unwrap_err(), HsmError::InvalidInput, "{length}");
            }
            assert_eq!(meter.executed("decrypt"), 0);
            assert!(keys.data.decrypt(b"", &sealed, in_time()).await.is_ok());
            assert_eq!(meter.executed("decrypt"), 1);
        });
    });
}

#[test]
fn only_an_uncompressed_point_of_the_curve_can_be_given_to_a_key() {
    let other = PrivateKey::generate(&ECDH_P256).unwrap();
    let good = *point_of(&other).as_bytes();
    let changed = |at: usize, byte: u8| {
        let mut point = good;
        point[at] = byte;
        point
    };
    let off_the_curve = changed(64, good[64] ^ 1);
    let compressed_form = changed(0, 2);
    let hybrid_form = changed(0, 6 + (good[64] & 1));
    let mut infinity = [0; 65];
    infinity[0] = 4;
    let mut past_the_field = [0xff; 65];
    past_the_field[0] = 4;
    for bad in [
        off_the_curve,
        compressed_form,
        hybrid_form,
        infinity,
        past_the_field,
        [0; 65],
    ] {
        let outcome = P256Point::from_uncompressed(&bad);
        assert!(matches!(outcome, Err(HsmError::InvalidInput)), "{bad:?}");
    }
}

#[test]
fn a_full_queue_is_overloaded_at_once_and_takes_more_when_it_has_room() {
    in_a_new_directory(|directory| {
        let meter = Meter::install();
        let keys = keys(directory, 1, 1);
        block_on(async {
            let mac = |data: &'static [u8]| {
                let index = keys.index.clone();
                tokio::spawn(async move { index.mac(data, in_time()).await })
            };
            meter.hold("mac");
            let worked_on = mac(b"worked on");
            meter.wait_until_held();
            // The worker has one, the queue has room for one: of two more, one is refused.
            let one = keys.index.mac(b"one", in_time());
            let other = keys.index.mac(b"other", in_time());
            let release_after_both = async {
                tokio::task::yield_now().await;
                assert_eq!(
                    keys.index.mac(b"third", in_time()).await,
                    Err(HsmError::Overloaded)
                );
                meter.release();
            };
            let (one, other, ()) = tokio::join!(one, other, release_after_both);
            assert!(one.is_ok());
            assert_eq!(other, Err(HsmError::Overloaded));
            assert!(worked_on.await.unwrap().is_ok());
            assert!(mac(b"afterwards").await.unwrap().is_ok());
        });
        assert_eq!(meter.executed("mac"), 3);
    });
}

#[test]
fn a_full_queue_refuses_a_blocking_caller_too() {
    in_a_new_directory(|directory| {
        let meter = Meter::install();
        let keys = keys(directory, 1, 1);
        meter.hold("sign");
        let sign = |text: &'static [u8]| {
            let key = keys.signing.clone();
            std::thread::spawn(move || key.sign_blocking(sha256(text), in_time()))
        };
        let worked_on = sign(b"worked on");
        meter.wait_until_held();
        // Of two more, one waits and one is refused, whichever comes first.
        let (one, other) = (sign(b"one"), sign(b"other"));
        let refused = |outcome: &Result<[u8; 64], HsmError>| outcome == &Err(HsmError::Overloaded);
        while !one.is_finished() && !other.is_finished() {
            std::thread::yield_now();
        }
        meter.release();
        let outcomes = [one.join().unwrap(), other.join().unwrap()];
        assert_eq!(
            outcomes.iter().filter(|outcome| refused(outcome)).count(),
            1
        );
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert!(worked_on.join().unwrap().is_ok());
    });
}

#[test]
fn an_operation_whose_deadline_passed_while_it_waited_is_not_done() {
    in_a_new_directory(|directory| {
        let meter = Meter::install();
        let keys = keys(directory, 1, 64);
        block_on(async {
            meter.hold("sign");
            let signing = keys.signing.clone();
            let first = tokio::spawn(async move { signing.sign([1; 32], in_time()).await });
            meter.wait_until_held();
            let soon = Instant::now() + Duration::from_millis(5);
            assert_eq!(
                keys.index.mac(b"late", soon).await,
                Err(HsmError::DeadlinePassed)
            );
            meter.release();
            assert!(first.await.unwrap().is_ok());
            // The queue is first in, first out: the late one was taken before this one.
            keys.signing.sign([1; 32], in_time()).await.unwrap();
        });
        assert_eq!(meter.executed("mac"), 0);
        assert_eq!(meter.executed("sign"), 2);
    });
}

#[test]
fn an_operation_that_nobody_waits_for_any_more_is_not_done() {
    in_a_new_directory(|directory| {
        let meter = Meter::install();
        let keys = keys(directory, 1, 64);
        block_on(async {
            meter.hold("sign");
            let signing = keys.signing.clone();
            let first = tokio::spawn(async move { signing.sign([1; 32], in_time()).await });
            meter.wait_until_held();
            tokio::select! {
                biased;
                _ = keys.index.mac(b"given up", in_time()) => panic!("the only worker is held"),
                () = tokio::task::yield_now() => {}
            }
            meter.release();
            assert!(first.await.unwrap().is_ok());
            keys.signing.sign([1; 32], in_time()).await.unwrap();
        });
        assert_eq!(meter.executed("mac"), 0);
    });
}

#[test]
fn a_deadline_that_has_passed_already_says_so_and_nothing_else() {
    in_a_new_directory(|directory| {
        let meter = Meter::install();
        let keys = keys(directory, 2, 4096);
        let past = Instant::now();
        block_on(async {
            // Many, so that the workers are sometimes faster than the caller.
            for _ in 0..500 {
                let outcome = keys.index.mac(b"late", past).await;
                assert_eq!(outcome, Err(HsmError::DeadlinePassed));
            }
        });
        for _ in 0..100 {
            let outcome = keys.signing.sign_blocking([1; 32], past);
            assert_eq!(outcome, Err(HsmError::DeadlinePassed));
        }
        assert_eq!((meter.executed("mac"), meter.executed("sign")), (0, 0));
    });
}

#[test]
fn workers_go_on_while_another_program_makes_and_destroys_keys() {
    in_a_new_directory(|directory| {
        let keys = keys(directory, 2, 64);
        let session = directory.bare_session();
        block_on(async {
            for number in 0..10 {
                let label = format!("passing-{number}");
                let changes = [Attribute::Token(false)];
                let key = templates::make(&session, &label, KeyUse::Mac, &changes);
                keys.signing.canary(in_time()).await.unwrap();
                session.destroy_object(key).unwrap();
                keys.index.canary(in_time()).await.unwrap();
            }
        });
    });
}
