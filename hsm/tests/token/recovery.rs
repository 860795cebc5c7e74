//! Tokens that go away and come back while they are used: nothing is wrong meanwhile, and no restart is needed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::{
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    digest::{SHA256, digest},
    signature::{self, ECDSA_P256_SHA256_FIXED},
};
use hsm::{
    AgreementKey, Condition, DataKey, HsmError, IndexKey, P256Point, SigningKey, TokenConfig,
    Tokens, WorkClass, provision::TokenAdmin, uri::Pkcs11Uri,
};
use tokio::task::JoinSet;

use crate::{
    directory::{LABEL, TokenDirectory, block_on, in_a_new_directory},
    misbehaving::{Misbehaving, duplicate},
};

/// How long a token may take to be used again once it is back.
const BACK: Duration = Duration::from_secs(5);

/// A call of a test's module that takes longer is stuck.
const CALL_MAX: Duration = Duration::from_secs(1);

/// The keys of a gateway, and what is known of them.
struct Keys {
    tokens: Tokens,
    signing: SigningKey,
    encryption: AgreementKey,
    encryption_public: [u8; 65],
    data: DataKey,
    index: IndexKey,
    /// A MAC by the right key.
    mac: [u8; 32],
}

impl Keys {
    fn open(admin: &TokenAdmin, configs: &[TokenConfig]) -> Arc<Self> {
        let tokens = Tokens::open(configs, CALL_MAX).unwrap();
        let public = |label| admin.find(label).unwrap().unwrap().public.unwrap();
        let uri = Pkcs11Uri::for_key;
        let index = tokens.index_key(&uri("index")).unwrap();
        Arc::new(Self {
            signing: tokens
                .signing_key(&uri("signing"), public("signing"), WorkClass::Receipts)
                .unwrap(),
            encryption: tokens
                .agreement_key(&uri("encryption"), public("encryption"))
                .unwrap(),
            encryption_public: public("encryption"),
            data: tokens.data_key(&uri("data")).unwrap(),
            mac: block_on(index.mac(b"card", soon())).unwrap(),
            index,
            tokens,
        })
    }

    /// One of each operation. What comes back is right, or the test fails.
    async fn use_all(&self) -> Result<(), HsmError> {
        let hash = digest(&SHA256, b"receipt").as_ref().try_into().unwrap();
        let signature = self.signing.sign(hash, soon()).await?;
        signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.signing.public())
            .verify(b"receipt", &signature)
            .unwrap();
        let other = PrivateKey::generate(&ECDH_P256).unwrap();
        let public = other.compute_public_key().unwrap();
        let point = P256Point::from_uncompressed(public.as_ref().try_into().unwrap())?;
        let secret = self.encryption.derive(&point, soon()).await?;
        let peer = UnparsedPublicKey::new(&ECDH_P256, self.encryption_public);
        agreement::agree(&other, peer, (), |theirs| {
            assert!(theirs == secret.expose());
            Ok(())
        })
        .unwrap();
        assert!(self.index.mac(b"card", soon()).await? == self.mac);
        let sealed = self.data.encrypt(b"payment", b"evidence", soon()).await?;
        let opened = self.data.decrypt(b"payment", &sealed, soon()).await?;
        assert_eq!(opened.as_slice(), b"evidence");
        Ok(())
    }

    /// Returns once everything works.
    async fn until_all_works(&self) {
        let end = Instant::now() + BACK;
        while let Err(error) = self.use_all().await {
            assert!(Instant::now() < end, "{error}");
            tokio::task::yield_now().await;
        }
    }

    fn condition(&self, place: usize) -> Condition {
        self.tokens.status()[place].condition.clone()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Uses the keys from several tasks until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tasks: JoinSet<Vec<HsmError>>,
}

impl Load {
    fn start(keys: &Arc<Keys>) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            done: Arc::default(),
            tasks: JoinSet::new(),
        };
        for _ in 0..4 {
            let (keys, stop, done) = (
                Arc::clone(keys),
                Arc::clone(&load.stop),
                Arc::clone(&load.done),
            );
            load.tasks.spawn(async move {
                let mut errors = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match keys.use_all().await {
                        Ok(()) => {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => errors.push(error),
                    }
                    tokio::task::yield_now().await;
                }
                errors
            });
        }
        load
    }

    /// Returns when so many more rounds were done.
    async fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        let end = Instant::now() + Duration::from_secs(30);
        while self.done.load(Ordering::Relaxed) < before + 20 {
            assert!(Instant::now() < end, "nothing is done any more");
            tokio::task::yield_now().await;
        }
    }

    /// What failed.
    async fn stop(mut self) -> Vec<HsmError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut errors = Vec::new();
        while let Some(outcome) = self.tasks.join_next().await {
            errors.extend(outcome.unwrap());
        }
        errors
    }
}

/// Under load, the module of the only token does something; then that is over. What is wrong is never answered, what
/// fails meanwhile is told, and everything works again without a restart.
fn is_survived(directory: &TokenDirectory, fault: &str, afterwards: &str) {
    let admin = directory.gateway_token();
    let module = Misbehaving::new(directory, "module");
    module.does(steady(fault));
    let keys = Keys::open(&admin, &[module.config(directory, LABEL)]);
    block_on(async {
        let load = Load::start(&keys);
        load.goes_on().await;
        module.does(fault);
        until_away_or_used(&keys).await;
        module.does(afterwards);
        keys.until_all_works().await;
        load.goes_on().await;
        for error in load.stop().await {
            assert!(
                matches!(
                    error,
                    HsmError::Unavailable(_) | HsmError::DeadlinePassed | HsmError::Overloaded
                ),
                "{fault}: {error}"
            );
        }
    });
    assert_eq!(keys.condition(0), Condition::Up);
}

/// What of a fault is a way of the module's from the beginning.
fn steady(fault: &str) -> &str {
    if fault.contains("handles-reused") {
        "handles-reused"
    } else {
        ""
    }
}

/// Returns when the token was found away, or was used often enough to have been.
async fn until_away_or_used(keys: &Keys) {
    for _ in 0..50 {
        if keys.condition(0) != Condition::Up || keys.use_all().await.is_err() {
            return;
        }
    }
}

#[test]
fn lost_sessions_are_survived() {
    in_a_new_directory(|directory| {
        is_survived(directory, "lose-sessions 1", "lose-sessions 1");
    });
}

#[test]
fn somebody_else_s_logout_is_survived() {
    in_a_new_directory(|directory| is_survived(directory, "logout 1", "logout 1"));
}

#[test]
fn a_token_that_is_removed_and_back_is_used_again() {
    in_a_new_directory(|directory| is_survived(directory, "removed", ""));
}

#[test]
fn a_token_whose_objects_vanish_in_silence_is_used_again_once_they_are_back() {
    in_a_new_directory(|directory| is_survived(directory, "silent-removal", ""));
}

#[test]
fn a_module_that_lost_its_state_is_initialised_anew() {
    in_a_new_directory(|directory| {
        is_survived(directory, "needs-initialize 1", "needs-initialize 1");
    });
}

#[test]
fn a_module_that_can_t_even_be_finalised_is_initialised_anew() {
    in_a_new_directory(|directory| {
        is_survived(
            directory,
            "needs-initialize 1 hard",
            "needs-initialize 1 hard",
        );
    });
}

#[test]
fn a_handle_that_means_another_key_after_initialising_is_never_used() {
    in_a_new_directory(|directory| {
        let fault = "handles-reused\nneeds-initialize 1";
        is_survived(directory, fault, fault);
    });
}

#[test]
fn return_codes_now_and_then_fail_no_request() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        let module = Misbehaving::new(directory, "module");
        let keys = Keys::open(&admin, &[module.config(directory, LABEL)]);
        module.does(
            "fail C_Sign CKR_DEVICE_ERROR every 17\nfail C_DeriveKey CKR_GENERAL_ERROR every 29\n\
             fail C_SignInit CKR_SESSION_CLOSED every 37\nfail C_Encrypt CKR_FUNCTION_FAILED every 23",
        );
        block_on(async {
            for _ in 0..200 {
                keys.use_all().await.unwrap();
            }
        });
    });
}

#[test]
fn rubbish_is_blamed_on_who_sent_it_and_honest_operations_go_on() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        let module = Misbehaving::new(directory, "module");
        let keys = Keys::open(&admin, &[module.config(directory, LABEL)]);
        block_on(async {
            let mut hostile = JoinSet::new();
            let stop = Arc::new(AtomicBool::new(false));
            for _ in 0..8 {
                let (keys, stop) = (Arc::clone(&keys), Arc::clone(&stop));
                hostile.spawn(async move {
                    let mut refused = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let outcome = keys.data.decrypt(b"payment", &[7; 64], soon()).await;
                        assert_eq!(outcome.err(), Some(HsmError::InvalidInput));
                        refused += 1;
                    }
                    refused
                });
            }
            for _ in 0..200 {
                keys.use_all().await.unwrap();
                assert_eq!(keys.condition(0), Condition::Up);
            }
            stop.store(true, Ordering::Relaxed);
            while let Some(refused) = hostile.join_next().await {
                assert!(refused.unwrap() > 0);
            }
        });
        assert_eq!(keys.tokens.status()[0].generation, 1);
    });
}

#[test]
fn one_of_two_tokens_is_lost_under_load_and_no_operation_fails() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        duplicate(directory, "second");
        let (one, other) = (
            Misbehaving::new(directory, "one"),
            Misbehaving::new(directory, "other"),
        );
        let keys = Keys::open(
            &admin,
            &[
                one.config(directory, LABEL),
                other.config(directory, "second"),
            ],
        );
        block_on(async {
            let load = Load::start(&keys);
            for module in [&one, &other] {
                let place = usize::from(std::ptr::eq(module, &other));
                load.goes_on().await;
                module.does("removed");
                let end = Instant::now() + BACK;
                while keys.condition(place) == Condition::Up {
                    assert!(Instant::now() < end, "it was not noticed");
                    tokio::task::yield_now().await;
                }
                load.goes_on().await;
                module.does("");
                let end = Instant::now() + BACK;
                while keys.condition(place) != Condition::Up {
                    assert!(Instant::now() < end, "{:?}", keys.condition(place));
                    tokio::task::yield_now().await;
                }
            }
            load.goes_on().await;
            assert_eq!(load.stop().await, []);
        });
    });
}

#[test]
fn two_tokens_of_one_module_share_the_work_and_its_initialising() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        duplicate(directory, "second");
        let module = Misbehaving::new(directory, "module");
        let keys = Keys::open(
            &admin,
            &[
                module.config(directory, LABEL),
                module.config(directory, "second"),
            ],
        );
        block_on(async {
            let load = Load::start(&keys);
            load.goes_on().await;
            module.does("needs-initialize 1");
            load.goes_on().await;
            keys.until_all_works().await;
            load.stop().await;
        });
        let end = Instant::now() + BACK;
        while (0..2).any(|place| keys.condition(place) != Condition::Up) {
            assert!(Instant::now() < end);
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_token_with_other_keys_of_the_same_names_is_refused() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        directory.init_token("second");
        let second = TokenAdmin::open(
            directory.module(),
            &Pkcs11Uri::for_token("second"),
            &hsm::pin::Pin::new(crate::directory::PIN),
        )
        .unwrap();
        second.generate_aes256("data").unwrap();
        second.generate_hmac("index").unwrap();
        drop(admin);
        let configs = [
            directory.config(),
            TokenConfig {
                uri: Pkcs11Uri::for_token("second"),
                ..directory.config()
            },
        ];
        let tokens = Tokens::open(&configs, CALL_MAX).unwrap();
        for error in [
            tokens.data_key(&Pkcs11Uri::for_key("data")).err().unwrap(),
            tokens
                .index_key(&Pkcs11Uri::for_key("index"))
                .err()
                .unwrap(),
        ] {
            assert!(error.to_string().contains("does not work"), "{error}");
        }
    });
}

#[test]
fn a_call_that_does_not_come_back_is_noticed_and_who_waits_is_answered() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        let module = Misbehaving::new(directory, "module");
        let keys = Keys::open(&admin, &[module.config(directory, LABEL)]);
        block_on(async {
            module.does("hang C_Sign");
            let load = Load::start(&keys);
            let died = tokio::time::timeout(Duration::from_secs(20), keys.tokens.died());
            assert!(died.await.is_ok());
            assert_eq!(keys.condition(0), Condition::Dead);
            // At once, not at the deadline.
            let outcome = keys.index.mac(b"card", soon()).await;
            assert!(
                matches!(outcome, Err(HsmError::Unavailable(_))),
                "{outcome:?}"
            );
            module.does("");
            assert!(!load.stop().await.is_empty());
        });
    });
}

#[test]
fn a_pin_is_not_tried_again_when_the_next_wrong_one_would_lock_the_token() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        let module = Misbehaving::new(directory, "module");
        let keys = Keys::open(&admin, &[module.config(directory, LABEL)]);
        assert_eq!(module.reported("logins"), LOGINS_OF_ONE_START);
        module.does("pin-final-try\nlogout 1");
        let end = Instant::now() + BACK;
        while !matches!(keys.condition(0), Condition::PinRefused(_)) {
            let _ = block_on(keys.use_all());
            assert!(Instant::now() < end, "{:?}", keys.condition(0));
        }
        // The next try is the security officer's affair, not ours: nobody looks at the token any more.
        module.does("");
        assert!(block_on(keys.use_all()).is_err());
        assert!(matches!(keys.condition(0), Condition::PinRefused(_)));
    });
}

/// A start logs in once.
const LOGINS_OF_ONE_START: &str = "1 CKR_OK 1";

#[test]
fn fewer_sessions_than_workers_are_enough() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        let module = Misbehaving::new(directory, "module");
        module.does("sessions-max 2");
        let config = TokenConfig {
            sessions: 6,
            ..module.config(directory, LABEL)
        };
        let keys = Keys::open(&admin, &[config]);
        block_on(async {
            let load = Load::start(&keys);
            load.goes_on().await;
            load.goes_on().await;
            assert_eq!(load.stop().await, []);
        });
    });
}
