//! Batches, and whether the ledger balances after everything that can be done.

use protocol::receipt::Action;

use super::{
    lifecycle::{approved, doing, operation, refused, undoing},
    *,
};
use crate::payment::NotUndone;

conformance! {
    batches_are_closed_at_once_with_bookings_and_none_is_lost,
    the_ledger_balances_after_everything_that_can_be_done,
    a_batch_closes_once_with_the_totals_of_its_bookings_and_of_the_ledger
}

pub(super) fn closing(jti: Jti) -> CloseBatch {
    CloseBatch {
        merchant: MerchantName::new("shop").unwrap(),
        jti,
        reqh: Digest::of(jti.as_bytes()),
        currency: "EUR".parse().unwrap(),
        request: "request".to_owned(),
        receipt_jti: Jti::random().unwrap(),
        now: NOW.plus(2),
        subscribers: Subscribers::default(),
    }
}

pub(super) fn closed(outcome: BatchClosed) -> BatchRecord {
    match outcome {
        BatchClosed::Closed(batch) => batch,
        BatchClosed::IdempotencyConflict => panic!("its jti was used"),
    }
}

async fn a_batch_closes_once_with_the_totals_of_its_bookings_and_of_the_ledger(place: Place) {
    let (store, xid) = approved(&place, 500).await;
    let capture = operation(Action::Capture, xid, 300);
    let target = capture.jti;
    doing(&*store, capture).await;
    doing(&*store, undoing(Action::CaptureReversal, xid, 50, target)).await;
    doing(&*store, operation(Action::Refund, xid, 100)).await;
    let now = Authorize {
        capture: Capture::Now,
        ..command(200)
    };
    decided(store.authorize(now, soon()).await.unwrap());

    let jti = Jti::random().unwrap();
    let batch = closed(store.close_batch(closing(jti), soon()).await.unwrap());
    let totals = batch.totals;
    assert_eq!((totals.captures.count, totals.captures.value), (2, 500));
    assert_eq!(totals.capture_reversals.value, 50);
    assert_eq!((totals.refunds.count, totals.refunds.value), (1, 100));
    assert_eq!((totals.payable, totals.receivable), (350, 0));
    assert_eq!(place.books().await[2..], [0, 350]);

    // The same request again gets the same batch; its bookings can't be undone any more.
    let again = closed(store.close_batch(closing(jti), soon()).await.unwrap());
    assert_eq!(again.totals, totals);
    assert_eq!(
        refused(
            store
                .operate(undoing(Action::CaptureReversal, xid, 1, target), soon())
                .await
                .unwrap()
        ),
        NotUndone::BatchClosed.into()
    );
    assert!(matches!(
        store
            .close_batch(
                CloseBatch {
                    reqh: Digest::of(b"other"),
                    ..closing(jti)
                },
                soon()
            )
            .await
            .unwrap(),
        BatchClosed::IdempotencyConflict
    ));
    // A refund of what was settled makes the next batch a debt.
    doing(&*store, operation(Action::Refund, xid, 100)).await;
    let next = closed(
        store
            .close_batch(closing(Jti::random().unwrap()), soon())
            .await
            .unwrap(),
    );
    assert_eq!((next.totals.payable, next.totals.receivable), (0, 100));
    assert_eq!(place.books().await[2..], [0, 250]);
    assert!(broken(&*store).await.is_empty());
}

/// A store in which everything was done that can be.
pub(super) async fn everything_done(place: &Place) -> Arc<dyn Store> {
    let (store, xid) = approved(place, 500).await;
    let capture = operation(Action::Capture, xid, 300);
    let target = capture.jti;
    doing(&*store, capture).await;
    doing(&*store, undoing(Action::CaptureReversal, xid, 50, target)).await;
    doing(&*store, operation(Action::Reversal, xid, 20)).await;
    store
        .close_batch(closing(Jti::random().unwrap()), soon())
        .await
        .unwrap();
    let refund = operation(Action::Refund, xid, 100);
    let refunded = refund.jti;
    doing(&*store, refund).await;
    doing(&*store, undoing(Action::RefundReversal, xid, 30, refunded)).await;
    let now = Authorize {
        capture: Capture::Now,
        ..command(200)
    };
    decided(store.authorize(now, soon()).await.unwrap());
    decided(store.authorize(command(5000), soon()).await.unwrap());
    store
        .end_holds(end_holds(NOW.plus(100)), soon())
        .await
        .unwrap();
    store
}

async fn the_ledger_balances_after_everything_that_can_be_done(place: Place) {
    let store = everything_done(&place).await;
    assert!(
        broken(&*store).await.is_empty(),
        "{:?}",
        broken(&*store).await
    );
}

#[tokio::test]
async fn a_changed_sum_is_found() {
    let place = Place::sqlite();
    drop(everything_done(&place).await);

    for (change, expected) in [
        (
            "UPDATE book SET balance = balance + 1 WHERE kind = 'available'",
            2,
        ),
        (
            "UPDATE payment SET captured = captured - 1 WHERE captured = 250",
            1,
        ),
        ("UPDATE payment SET held = 1 WHERE captured = 250", 1),
        ("UPDATE transfer SET amount = amount + 1 WHERE id = 1", 1),
        ("DELETE FROM operation WHERE action = 'reversal'", 1),
        (
            "UPDATE operation SET amount = amount + 1 WHERE action = 'refund'",
            2,
        ),
    ] {
        let changed = place.directory().join("changed.db");
        Connection::open(place.path())
            .unwrap()
            .execute("VACUUM INTO ?1", [changed.to_str().unwrap()])
            .unwrap();
        let connection = Connection::open(&changed).unwrap();
        connection.execute_batch(change).unwrap();
        drop(connection);
        let found = broken(&SqliteStore::open(&changed).unwrap()).await.len();
        std::fs::remove_file(&changed).unwrap();
        assert!(found >= expected, "{change}: {found}");
    }
}

async fn batches_are_closed_at_once_with_bookings_and_none_is_lost(place: Place) {
    const EACH: u64 = 8;
    let (store, xid) = approved(&place, 500).await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..EACH {
        let booking = Arc::clone(&store);
        asked.spawn(async move {
            doing(&*booking, operation(Action::Capture, xid, 10)).await;
            0
        });
        let closing_store = Arc::clone(&store);
        asked.spawn(async move {
            let command = closing(Jti::random().unwrap());
            let batch = closed(closing_store.close_batch(command, soon()).await.unwrap());
            batch.totals.payable
        });
    }
    let mut payable: u64 = asked.join_all().await.into_iter().sum();
    let last = closing(Jti::random().unwrap());
    payable += closed(store.close_batch(last, soon()).await.unwrap())
        .totals
        .payable;
    assert_eq!(payable, EACH * 10);
    assert!(broken(&*store).await.is_empty());
}
