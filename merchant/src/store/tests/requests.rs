//! What is asked after a purchase: kept before it is sent, one at a time, ended once.

use protocol::identifiers::Jti;

use super::*;
use crate::operation::Operation;

fn operation(xid: Xid, operation: Operation) -> OperationRecord {
    OperationRecord {
        jti: Jti::random().unwrap(),
        xid,
        operation,
        target: None,
        amount: Amount::new(500, "EUR".parse().unwrap()).unwrap(),
        request: "request".to_owned(),
        state: RequestState::Pending,
        made_at: NOW,
        is_all: true,
        is_told: false,
    }
}

/// A store with an approved purchase.
async fn with_purchase(path: &Path) -> (Store, Xid) {
    let store = Store::open(path).unwrap();
    let session = with_session(&store, &with_order(&store).await).await;
    let purchase = purchase_in(&session);
    let xid = purchase.xid;
    store.consume(purchase).await.unwrap();
    let approved = Decision::Approved;
    store.decide(xid, approved, response()).await.unwrap();
    (store, xid)
}

#[tokio::test]
async fn one_operation_of_a_purchase_is_pending_at_a_time_whoever_keeps_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("m.db");
    let (store, xid) = with_purchase(&path).await;
    // Another process on the same file.
    let other = Store::open_existing(&path).unwrap();
    let first = operation(xid, Operation::Capture);
    let kept = store.add_operation(first.clone()).await.unwrap();
    assert_eq!(kept, Kept::Done);
    let second = operation(xid, Operation::Reversal);
    let kept = other.add_operation(second.clone()).await.unwrap();
    assert_eq!(kept, Kept::OtherPending);
    let pending = other.pending_operations().await.unwrap();
    assert_eq!(pending[0], first);

    let done = RequestState::Answered("receipt".to_owned());
    other.end_operation(first.jti, done).await.unwrap();
    let kept = store.add_operation(second.clone()).await.unwrap();
    assert_eq!(kept, Kept::Done);
    assert_eq!(store.pending_operations().await.unwrap(), [second]);
    assert_eq!(store.operations(xid).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_became_of_an_operation_is_kept_across_a_restart_and_never_changes() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("m.db");
    let (store, xid) = with_purchase(&path).await;
    let undone = OperationRecord {
        target: Some(Jti::random().unwrap()),
        ..operation(xid, Operation::CaptureReversal)
    };
    store.add_operation(undone.clone()).await.unwrap();
    let failed = RequestState::Failed(Problem::Expired);
    store
        .end_operation(undone.jti, failed.clone())
        .await
        .unwrap();
    let done = RequestState::Answered("receipt".to_owned());
    store.end_operation(undone.jti, done).await.unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    let expected = OperationRecord {
        state: failed,
        ..undone
    };
    assert_eq!(store.operations(xid).await.unwrap(), [expected]);
}

#[tokio::test]
async fn only_what_has_an_outcome_can_be_told() {
    let directory = TempDir::new().unwrap();
    let (store, xid) = with_purchase(&directory.path().join("m.db")).await;
    let first = operation(xid, Operation::Capture);
    store.add_operation(first.clone()).await.unwrap();
    let is_told = async || store.operations(xid).await.unwrap()[0].is_told;
    store.tell_operation(first.jti).await.unwrap();
    assert!(!is_told().await);
    let done = RequestState::Answered("receipt".to_owned());
    store.end_operation(first.jti, done).await.unwrap();
    assert!(!is_told().await);
    store.tell_operation(first.jti).await.unwrap();
    assert!(is_told().await);
}

#[tokio::test]
async fn an_operation_on_no_purchase_or_without_its_target_is_a_fault() {
    let directory = TempDir::new().unwrap();
    let (store, xid) = with_purchase(&directory.path().join("m.db")).await;
    for wrong in [
        operation(Xid::random().unwrap(), Operation::Capture),
        operation(xid, Operation::RefundReversal),
    ] {
        let kept = store.add_operation(wrong).await;
        assert!(matches!(kept, Err(StoreError::Failed(_))));
    }
}

#[tokio::test]
async fn one_closing_of_a_currency_is_pending_at_a_time() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("m.db")).unwrap();
    let batch = |code: &str| BatchRecord {
        jti: Jti::random().unwrap(),
        currency: code.parse().unwrap(),
        request: "request".to_owned(),
        state: RequestState::Pending,
        made_at: NOW,
        is_told: false,
    };
    let (eur, usd) = (batch("EUR"), batch("USD"));
    assert_eq!(store.add_batch(eur.clone()).await.unwrap(), Kept::Done);
    let again = store.add_batch(batch("EUR")).await.unwrap();
    assert_eq!(again, Kept::OtherPending);
    assert_eq!(store.add_batch(usd.clone()).await.unwrap(), Kept::Done);
    let done = RequestState::Answered("totals".to_owned());
    store.end_batch(eur.jti, done.clone()).await.unwrap();
    assert_eq!(store.batch(eur.jti).await.unwrap().unwrap().state, done);
    assert_eq!(store.pending_batches().await.unwrap(), [usd]);
    assert_eq!(store.batches().await.unwrap().len(), 2);
}
