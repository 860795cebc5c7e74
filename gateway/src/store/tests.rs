//! The store on real files: what is decided once, what survives, what is refused.

use std::time::Duration;

use protocol::{
    authorization::Capture,
    identifiers::{AuthorizationId, ClientNonce, Digest, MerchantNonce, Sid},
    money::Amount,
    payment_information::Expiry,
    receipt::{Code, Decision},
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    commands::{Evidence, NewInstrument, SignedByPayer},
    *,
};
use crate::card_issuer::{Status, Velocity};

mod cancelling;
mod copying;
mod lifecycle;
mod waiting;

const NOW: Timestamp = Timestamp(1_800_000_000);
const CARD: [u8; 32] = [7; 32];

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("gateway.db")
    }

    fn open(&self) -> Store {
        Store::open(&self.path()).unwrap()
    }

    /// A number that the database knows.
    fn number(&self, query: &str) -> i64 {
        Connection::open(self.path())
            .unwrap()
            .query_row(query, [], |row| row.get(0))
            .unwrap()
    }
}

/// A deadline that is far away.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn client() -> ClientName {
    ClientName::new("payer").unwrap()
}

async fn with_account(place: &Place, funds: u64) -> Store {
    let store = place.open();
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
    assert!(store.add_account(account, NOW, soon()).await.unwrap());
    store
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

#[tokio::test]
async fn an_approval_moves_the_amount_from_available_to_held() {
    let place = Place::new();
    let store = with_account(&place, 1000).await;
    let decision = decided(store.authorize(command(400), soon()).await.unwrap());
    assert_eq!(decision.code, Code::Approved);
    let account = &store.accounts(None).unwrap()[0];
    assert_eq!((account.available, account.held), (600, 400));
}

#[tokio::test]
async fn capture_now_books_the_amount_for_the_merchant() {
    let place = Place::new();
    let store = with_account(&place, 1000).await;
    let now = Authorize {
        capture: Capture::Now,
        ..command(400)
    };
    let decision = decided(store.authorize(now, soon()).await.unwrap());
    assert_eq!(decision.totals.captured, 400);
    let account = &store.accounts(None).unwrap()[0];
    assert_eq!((account.available, account.held), (600, 0));
    assert_eq!(
        place.number("SELECT balance FROM book WHERE kind = 'merchant'"),
        400
    );
}

#[tokio::test]
async fn the_same_request_gets_the_first_decision_also_after_a_restart() {
    let place = Place::new();
    let store = with_account(&place, 1000).await;
    let first = command(400);
    let second = again(&first);
    let third = again(&first);
    let decision = decided(store.authorize(first, soon()).await.unwrap());
    let Authorized::Answered(answer) = store.authorize(second, soon()).await.unwrap() else {
        panic!("it was decided twice");
    };
    assert_eq!(answer.receipt_jti, decision.receipt_jti);
    drop(store);
    let store = place.open();
    let Authorized::Answered(answer) = store.authorize(third, soon()).await.unwrap() else {
        panic!("it was decided again after a restart");
    };
    assert_eq!(answer.receipt_jti, decision.receipt_jti);
    assert_eq!(answer.authorization, decision.authorization);
    assert_eq!(store.accounts(None).unwrap()[0].held, 400);
}

#[tokio::test]
async fn another_request_with_the_same_jti_or_xid_is_refused_and_holds_nothing() {
    let place = Place::new();
    let store = with_account(&place, 1000).await;
    let first = command(400);
    let (jti, signed) = (first.jti, first.signed.clone());
    decided(store.authorize(first, soon()).await.unwrap());
    let same_jti = Authorize { jti, ..command(1) };
    let same_xid = Authorize {
        signed,
        ..command(1)
    };
    assert!(matches!(
        store.authorize(same_jti, soon()).await.unwrap(),
        Authorized::IdempotencyConflict
    ));
    assert!(matches!(
        store.authorize(same_xid, soon()).await.unwrap(),
        Authorized::Replayed
    ));
    assert_eq!(store.accounts(None).unwrap()[0].held, 400);
}

#[tokio::test]
async fn sixty_four_at_once_never_hold_more_than_there_is() {
    let place = Place::new();
    let store = std::sync::Arc::new(with_account(&place, 1000).await);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let store = std::sync::Arc::clone(&store);
        running.spawn(
            async move { decided(store.authorize(command(100), soon()).await.unwrap()).code },
        );
    }
    let codes = running.join_all().await;
    let approved = codes.iter().filter(|code| **code == Code::Approved).count();
    assert_eq!(approved, 10);
    let account = &store.accounts(None).unwrap()[0];
    assert_eq!((account.available, account.held), (0, 1000));
}

#[tokio::test]
async fn what_is_held_equals_the_open_authorizations_and_all_books_together_are_zero() {
    let place = Place::new();
    let store = with_account(&place, 1000).await;
    for value in [100, 250, 900] {
        let decision = decided(store.authorize(command(value), soon()).await.unwrap());
        assert_eq!(decision.code.decision() == Decision::Approved, value < 900);
    }
    assert_eq!(
        place.number("SELECT sum(held) FROM payment"),
        place.number("SELECT sum(balance) FROM book WHERE kind = 'held'")
    );
    assert_eq!(place.number("SELECT sum(balance) FROM book"), 0);
    assert_eq!(
        place.number(
            "SELECT count(*) FROM book WHERE balance <>
                 (SELECT coalesce(sum(CASE WHEN credit = book.id THEN amount ELSE -amount END), 0)
                  FROM transfer WHERE book.id IN (debit, credit))"
        ),
        0
    );
}

#[tokio::test]
async fn a_velocity_limit_counts_approvals_in_its_window() {
    let place = Place::new();
    let store = place.open();
    let account = NewAccount {
        label: "slow".to_owned(),
        client: client(),
        client_key: Digest::of(b"key"),
        currency: "EUR".parse().unwrap(),
        funds: 1000,
        amount_limit: None,
        velocity: Some(Velocity {
            count: 2,
            seconds: 60,
        }),
        status: Status::Active,
        instruments: vec![NewInstrument {
            index: CARD,
            kind: "card",
            last_four: "1111".to_owned(),
            expiry: Some(Expiry::new("2031-12").unwrap()),
            status: Status::Active,
        }],
    };
    store.add_account(account, NOW, soon()).await.unwrap();
    let mut codes = Vec::new();
    for seconds in [0, 1, 2, 60] {
        let later = Authorize {
            now: NOW.plus(seconds),
            ..command(1)
        };
        codes.push(decided(store.authorize(later, soon()).await.unwrap()).code);
    }
    assert_eq!(
        codes,
        [
            Code::Approved,
            Code::Approved,
            Code::VelocityLimit,
            Code::Approved
        ]
    );
}

#[tokio::test]
async fn the_files_are_their_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let _store = with_account(&place, 1000).await;
    for file in std::fs::read_dir(place.directory.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_stays_as_it_is() {
    let place = Place::new();
    std::fs::write(
        place.path(),
        "a letter, not a database, and a long one at that",
    )
    .unwrap();
    let error = Store::open(&place.path()).err().unwrap().to_string();
    assert!(error.contains("not an SQLite database"), "{error}");
    assert!(
        std::fs::read_to_string(place.path())
            .unwrap()
            .starts_with("a letter")
    );
}

#[test]
fn another_program_s_database_is_refused() {
    let place = Place::new();
    Connection::open(place.path())
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();
    let error = Store::open(&place.path()).err().unwrap().to_string();
    assert!(error.contains("another program"), "{error}");
}

#[test]
fn a_newer_database_is_refused() {
    let place = Place::new();
    drop(place.open());
    Connection::open(place.path())
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = Store::open(&place.path()).err().unwrap().to_string();
    assert!(error.contains("newer gateway"), "{error}");
}
