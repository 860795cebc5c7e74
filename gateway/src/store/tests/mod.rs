//! The store: what is decided once, what survives, what is refused. What holds for every store is tested with each of
//! them: a file, a PostgreSQL database, and a model in memory.

use std::{path::PathBuf, sync::Arc, time::Duration};

use protocol::{
    authorization::Capture,
    identifiers::{AuthorizationId, ClientNonce, Digest, MerchantNonce, Sid},
    money::Amount,
    payment_information::Expiry,
    receipt::{Code, Decision},
    time::Timestamp,
};
use rusqlite::Connection;
use tempfile::TempDir;
use test_postgres::Server;

use self::model::Model;
use super::{
    commands::{Evidence, NewAccount, NewInstrument, SignedByPayer},
    outbox::Subscribers,
    *,
};
use crate::card_issuer::{Status, Velocity};

/// Has each test done with every store.
macro_rules! conformance {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Place::sqlite()).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Place::postgres()).await;
            })+
        }
        mod on_the_model {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Place::model()).await;
            })+
        }
    };
}

mod batches;
mod cancelling;
mod copying;
mod deciding;
mod files;
mod lifecycle;
mod migrating;
mod model;
mod moving;
mod outbox;
mod replicas;
mod storage_keys;
mod waiting;

const NOW: Timestamp = Timestamp(1_800_000_000);
const CARD: [u8; 32] = [7; 32];

/// Where a store keeps what it has.
enum Place {
    Sqlite(TempDir),
    Postgres { database: String },
    Model(Arc<Model>),
}

impl Place {
    fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap())
    }

    fn postgres() -> Self {
        Self::Postgres {
            database: Server::shared().new_database(),
        }
    }

    fn model() -> Self {
        Self::Model(Arc::default())
    }

    /// Opens the store: again, as another process would.
    async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(_) => Arc::new(SqliteStore::open(&self.path()).unwrap()),
            Self::Postgres { database } => Arc::new(
                PostgresStore::open(&configured(database), &PathBuf::new())
                    .await
                    .unwrap(),
            ),
            Self::Model(model) => Arc::clone(model) as Arc<dyn Store>,
        }
    }

    fn directory(&self) -> &std::path::Path {
        match self {
            Self::Sqlite(directory) => directory.path(),
            _ => panic!("it has no directory"),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory().join("gateway.db")
    }

    /// Available, held, and what the merchants are to be paid, open and settled.
    async fn books(&self) -> [i64; 4] {
        ["available", "held", "merchant", "settled"].map(|kind| self.sum(kind))
    }

    /// What all books of a kind have together.
    fn sum(&self, kind: &str) -> i64 {
        let query = format!("SELECT coalesce(sum(balance), 0) FROM book WHERE kind = '{kind}'");
        match self {
            Self::Sqlite(_) => Connection::open(self.path())
                .unwrap()
                .query_row(&query, [], |row| row.get(0))
                .unwrap(),
            Self::Postgres { database } => {
                Server::shared().query(database, &query).parse().unwrap()
            }
            Self::Model(model) => model.sum(kind),
        }
    }
}

/// The configuration of a database of the tests' server.
fn configured(database: &str) -> crate::config::Postgres {
    toml::from_str(&Server::shared().members(database)).unwrap()
}

/// The rules of the ledger that do not hold.
async fn broken(store: &dyn Store) -> Vec<&'static str> {
    let rules = store.reconcile().await.unwrap();
    rules
        .iter()
        .filter(|rule| !rule.differences.is_empty())
        .map(|rule| rule.rule)
        .collect()
}

/// A deadline that is far away.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Ends holds; nobody is told.
fn end_holds(now: Timestamp) -> EndHolds {
    EndHolds {
        now,
        subscribers: Subscribers::default(),
    }
}

fn client() -> ClientName {
    ClientName::new("payer").unwrap()
}

async fn with_account(place: &Place, funds: u64) -> Arc<dyn Store> {
    let store = place.open().await;
    add_account(&*store, funds).await;
    store
}

async fn add_account(store: &dyn Store, funds: u64) {
    let account = NewAccount {
        label: "everyday".to_owned(),
        client: client(),
        client_key: Digest::of(b"key"),
        currency: "EUR".parse().unwrap(),
        funds,
        amount_limit: None,
        velocity: None,
        status: Status::Active,
        instruments: vec![NewInstrument {
            index: CARD,
            kind: "card",
            last_four: "1111".to_owned(),
            expiry: Some(Expiry::new("2031-12").unwrap()),
            status: Status::Active,
        }],
    };
    assert!(
        store
            .add_account(AddAccount { account, now: NOW }, soon())
            .await
            .unwrap()
    );
}

fn command(value: u64) -> Authorize {
    Authorize {
        merchant: MerchantName::new("shop").unwrap(),
        jti: Jti::random().unwrap(),
        reqh: Digest::of(Jti::random().unwrap().as_bytes()),
        signed: signed(),
        client_key: Digest::of(b"key"),
        amount: Amount::new(value, "EUR".parse().unwrap()).unwrap(),
        capture: Capture::Later,
        instrument_index: CARD,
        instrument_expiry: Some(Expiry::new("2031-12").unwrap()),
        instrument_last_four: "1111".to_owned(),
        evidence: Evidence {
            request: "request".to_owned(),
            dual_signature: Some("signature".to_owned()),
            payment_information: Some(vec![1, 2, 3]),
        },
        receipt_jti: Jti::random().unwrap(),
        authorization: AuthorizationId::random().unwrap(),
        now: NOW,
        capture_before: NOW.plus(100),
    }
}

fn signed() -> SignedByPayer {
    SignedByPayer {
        xid: Xid::random().unwrap(),
        client: client(),
        client_x5t: Digest::of(b"certificate"),
        sid: Sid::random().unwrap(),
        nc: ClientNonce::random().unwrap(),
        nm: MerchantNonce::random().unwrap(),
        dsh: Digest::of(b"signature"),
    }
}

/// The same request, as another process would send it again.
fn again(command: &Authorize) -> Authorize {
    Authorize {
        merchant: command.merchant.clone(),
        jti: command.jti,
        reqh: command.reqh,
        signed: command.signed.clone(),
        ..self::command(command.amount.value())
    }
}

fn decided(outcome: Authorized) -> ReceiptRecord {
    match outcome {
        Authorized::Decided(decision) => decision,
        _ => panic!("it was not decided now"),
    }
}
