//! After the decision: bookings, releases, refunds, batches, and holds that end.

use protocol::receipt::Action;

use super::*;
use crate::{
    payment::{LimitExceeded, NotUndone},
    store::commands::Limit,
};

pub(super) fn euros(value: u64) -> Amount {
    Amount::new(value, "EUR".parse().unwrap()).unwrap()
}

fn operation(action: Action, xid: Xid, value: u64) -> Operate {
    Operate {
        merchant: MerchantName::new("shop").unwrap(),
        jti: Jti::random().unwrap(),
        reqh: Digest::of(Jti::random().unwrap().as_bytes()),
        action,
        xid,
        amount: euros(value),
        target: None,
        request: "request".to_owned(),
        receipt_jti: Jti::random().unwrap(),
        now: NOW.plus(1),
    }
}

fn undoing(action: Action, xid: Xid, value: u64, target: Jti) -> Operate {
    Operate {
        target: Some(target),
        ..operation(action, xid, value)
    }
}

fn done(outcome: Operated) -> ReceiptRecord {
    match outcome {
        Operated::Done(receipt) => receipt,
        Operated::Refused(limit) => panic!("{limit}"),
        _ => panic!("it was not done now"),
    }
}

fn refused(outcome: Operated) -> Limit {
    match outcome {
        Operated::Refused(limit) => limit,
        _ => panic!("it was not refused"),
    }
}

/// An approved payment of that much, out of 1000.
async fn approved(place: &Place, value: u64) -> (Store, Xid) {
    let store = with_account(place, 1000).await;
    let decision = decided(store.authorize(command(value), soon()).await.unwrap());
    assert_eq!(decision.code, Code::Approved);
    (store, decision.signed.xid)
}

/// Available, held, and what the merchant is to be paid, open and settled.
pub(super) fn books(place: &Place) -> [i64; 4] {
    ["available", "held", "merchant", "settled"].map(|kind| {
        place.number(&format!(
            "SELECT coalesce(sum(balance), 0) FROM book WHERE kind = '{kind}'"
        ))
    })
}

#[tokio::test]
async fn a_payment_is_captured_in_parts_refunded_and_the_rest_released() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    for (action, value, expected) in [
        (Action::Capture, 200, [500, 300, 200, 0]),
        (Action::Capture, 100, [500, 200, 300, 0]),
        (Action::Reversal, 150, [650, 50, 300, 0]),
        (Action::Refund, 250, [900, 50, 50, 0]),
        (Action::Capture, 50, [900, 0, 100, 0]),
    ] {
        let receipt = done(
            store
                .operate(operation(action, xid, value), soon())
                .await
                .unwrap(),
        );
        assert_eq!(receipt.action, action);
        assert_eq!(receipt.amount, euros(value));
        assert_eq!(books(&place), expected, "{action} {value}");
    }
    let found = store.find_by_xid(xid).unwrap().unwrap();
    let totals = found.payment.unwrap().totals();
    assert_eq!(
        (totals.captured, totals.reversed, totals.refunded),
        (350, 150, 250)
    );
    let actions: Vec<_> = store
        .receipts_after(xid)
        .unwrap()
        .iter()
        .map(|receipt| receipt.action)
        .collect();
    // All in one second, and told in the order in which they were done.
    assert_eq!(
        actions,
        [
            Action::Capture,
            Action::Capture,
            Action::Reversal,
            Action::Refund,
            Action::Capture
        ]
    );
    assert_eq!(place.number("SELECT sum(balance) FROM book"), 0);
}

#[tokio::test]
async fn nothing_above_the_limits_is_done_and_a_refused_request_consumes_nothing() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    let too_much = operation(Action::Capture, xid, 501);
    let jti = too_much.jti;
    assert_eq!(
        refused(store.operate(too_much, soon()).await.unwrap()),
        LimitExceeded::Hold.into()
    );
    assert_eq!(
        refused(
            store
                .operate(operation(Action::Refund, xid, 1), soon())
                .await
                .unwrap()
        ),
        LimitExceeded::Captured.into()
    );
    // The same jti is free for a request that can be done.
    let possible = Operate {
        jti,
        ..operation(Action::Capture, xid, 500)
    };
    done(store.operate(possible, soon()).await.unwrap());
    assert_eq!(books(&place), [500, 0, 500, 0]);
}

#[tokio::test]
async fn the_same_request_is_done_once_and_answered_alike_another_with_its_jti_is_refused() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    let first = operation(Action::Capture, xid, 200);
    let again = Operate {
        jti: first.jti,
        reqh: first.reqh,
        ..operation(Action::Capture, xid, 200)
    };
    let other = Operate {
        jti: first.jti,
        ..operation(Action::Refund, xid, 100)
    };
    let receipt = done(store.operate(first, soon()).await.unwrap());
    let Operated::Answered(answer) = store.operate(again, soon()).await.unwrap() else {
        panic!("it was done twice");
    };
    assert_eq!(answer.receipt_jti, receipt.receipt_jti);
    assert_eq!(answer.totals, receipt.totals);
    assert!(matches!(
        store.operate(other, soon()).await.unwrap(),
        Operated::IdempotencyConflict
    ));
    assert_eq!(books(&place), [500, 300, 200, 0]);
}

#[tokio::test]
async fn an_authorization_s_jti_is_no_other_request_s() {
    let place = Place::new();
    let store = with_account(&place, 1000).await;
    let authorization = command(500);
    let jti = authorization.jti;
    let xid = decided(store.authorize(authorization, soon()).await.unwrap())
        .signed
        .xid;
    let capture = Operate {
        jti,
        ..operation(Action::Capture, xid, 1)
    };
    assert!(matches!(
        store.operate(capture, soon()).await.unwrap(),
        Operated::IdempotencyConflict
    ));
}

#[tokio::test]
async fn another_merchant_s_an_unknown_and_a_declined_payment_are_not_operated_on() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    let other = Operate {
        merchant: MerchantName::new("other").unwrap(),
        ..operation(Action::Capture, xid, 1)
    };
    let unknown = operation(Action::Capture, Xid::random().unwrap(), 1);
    for unknown in [other, unknown] {
        assert!(matches!(
            store.operate(unknown, soon()).await.unwrap(),
            Operated::UnknownAuthorization
        ));
    }
    let declined = decided(store.authorize(command(5000), soon()).await.unwrap());
    let capture = operation(Action::Capture, declined.signed.xid, 1);
    assert_eq!(
        refused(store.operate(capture, soon()).await.unwrap()),
        LimitExceeded::Hold.into()
    );
    let dollars = Operate {
        amount: Amount::new(1, "USD".parse().unwrap()).unwrap(),
        ..operation(Action::Capture, xid, 1)
    };
    assert!(matches!(
        store.operate(dollars, soon()).await.unwrap(),
        Operated::OtherCurrency
    ));
}

#[tokio::test]
async fn a_booking_is_undone_up_to_its_own_amount_and_can_be_made_again() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    let capture = operation(Action::Capture, xid, 200);
    let target = capture.jti;
    done(store.operate(capture, soon()).await.unwrap());
    done(
        store
            .operate(operation(Action::Capture, xid, 100), soon())
            .await
            .unwrap(),
    );
    let undo = |value| undoing(Action::CaptureReversal, xid, value, target);
    done(store.operate(undo(150), soon()).await.unwrap());
    assert_eq!(
        refused(store.operate(undo(51), soon()).await.unwrap()),
        NotUndone::Net.into()
    );
    let receipt = done(store.operate(undo(50), soon()).await.unwrap());
    assert_eq!(receipt.target, Some(target));
    assert_eq!(books(&place), [500, 400, 100, 0]);
    done(
        store
            .operate(operation(Action::Capture, xid, 400), soon())
            .await
            .unwrap(),
    );
    // What is no capture of this payment can't be undone as one.
    for target in [Jti::random().unwrap(), receipt.receipt_jti] {
        let undo = undoing(Action::CaptureReversal, xid, 1, target);
        assert_eq!(
            refused(store.operate(undo, soon()).await.unwrap()),
            Limit::NoSuchBooking
        );
    }
}

#[tokio::test]
async fn a_payment_has_an_end_of_operations_with_room_left_for_what_the_payer_gets_back() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    for _ in 0..32 {
        let capture = operation(Action::Capture, xid, 1);
        done(store.operate(capture, soon()).await.unwrap());
    }
    let capture = operation(Action::Capture, xid, 1);
    assert_eq!(
        refused(store.operate(capture, soon()).await.unwrap()),
        Limit::TooMany
    );
    done(
        store
            .operate(operation(Action::Reversal, xid, 468), soon())
            .await
            .unwrap(),
    );
    for _ in 0..31 {
        let refund = operation(Action::Refund, xid, 1);
        done(store.operate(refund, soon()).await.unwrap());
    }
    let refund = operation(Action::Refund, xid, 1);
    assert_eq!(
        refused(store.operate(refund, soon()).await.unwrap()),
        Limit::TooMany
    );
    assert_eq!(books(&place), [999, 0, 1, 0]);
}

#[tokio::test]
async fn a_refund_is_undone_as_long_as_the_payer_has_the_money() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    done(
        store
            .operate(operation(Action::Capture, xid, 500), soon())
            .await
            .unwrap(),
    );
    let refund = operation(Action::Refund, xid, 300);
    let target = refund.jti;
    done(store.operate(refund, soon()).await.unwrap());
    // As a capture it can't be undone.
    let as_capture = undoing(Action::CaptureReversal, xid, 1, target);
    assert_eq!(
        refused(store.operate(as_capture, soon()).await.unwrap()),
        Limit::NoSuchBooking
    );
    // The payer spends all but 50.
    decided(store.authorize(command(750), soon()).await.unwrap());
    let undo = |value| undoing(Action::RefundReversal, xid, value, target);
    assert_eq!(
        refused(store.operate(undo(51), soon()).await.unwrap()),
        Limit::Spent
    );
    done(store.operate(undo(50), soon()).await.unwrap());
    assert_eq!(books(&place), [0, 750, 250, 0]);
}

#[tokio::test]
async fn what_was_captured_with_the_authorization_is_undone_by_its_jti() {
    let place = Place::new();
    let store = with_account(&place, 1000).await;
    let authorization = Authorize {
        capture: Capture::Now,
        ..command(400)
    };
    let target = authorization.jti;
    let xid = decided(store.authorize(authorization, soon()).await.unwrap())
        .signed
        .xid;
    done(
        store
            .operate(undoing(Action::CaptureReversal, xid, 400, target), soon())
            .await
            .unwrap(),
    );
    assert_eq!(books(&place), [600, 400, 0, 0]);
}

#[tokio::test]
async fn a_hold_ends_at_its_time_and_is_released_once() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    done(
        store
            .operate(operation(Action::Capture, xid, 200), soon())
            .await
            .unwrap(),
    );
    let end = NOW.plus(100);
    assert!(store.expire(NOW.plus(99), soon()).await.unwrap().is_empty());
    let ended = store.expire(end, soon()).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].xid, ended[0].released), (xid, 300));
    assert!(store.expire(end, soon()).await.unwrap().is_empty());
    assert_eq!(books(&place), [800, 0, 200, 0]);
    let late = Operate {
        now: end,
        ..operation(Action::Capture, xid, 1)
    };
    assert_eq!(
        refused(store.operate(late, soon()).await.unwrap()),
        LimitExceeded::Ended.into()
    );
    // What is booked stays, and can be given back.
    let refund = Operate {
        now: end,
        ..operation(Action::Refund, xid, 200)
    };
    done(store.operate(refund, soon()).await.unwrap());
    assert_eq!(books(&place), [1000, 0, 0, 0]);
}

fn closing(jti: Jti) -> CloseBatch {
    CloseBatch {
        merchant: MerchantName::new("shop").unwrap(),
        jti,
        reqh: Digest::of(jti.as_bytes()),
        currency: "EUR".parse().unwrap(),
        request: "request".to_owned(),
        receipt_jti: Jti::random().unwrap(),
        now: NOW.plus(2),
    }
}

fn closed(outcome: BatchClosed) -> BatchRecord {
    match outcome {
        BatchClosed::Closed(batch) => batch,
        BatchClosed::IdempotencyConflict => panic!("its jti was used"),
    }
}

#[tokio::test]
async fn a_batch_closes_once_with_the_totals_of_its_bookings_and_of_the_ledger() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    let capture = operation(Action::Capture, xid, 300);
    let target = capture.jti;
    done(store.operate(capture, soon()).await.unwrap());
    done(
        store
            .operate(undoing(Action::CaptureReversal, xid, 50, target), soon())
            .await
            .unwrap(),
    );
    done(
        store
            .operate(operation(Action::Refund, xid, 100), soon())
            .await
            .unwrap(),
    );
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
    assert_eq!(books(&place)[2..], [0, 350]);

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
    done(
        store
            .operate(operation(Action::Refund, xid, 100), soon())
            .await
            .unwrap(),
    );
    let next = closed(
        store
            .close_batch(closing(Jti::random().unwrap()), soon())
            .await
            .unwrap(),
    );
    assert_eq!((next.totals.payable, next.totals.receivable), (0, 100));
    assert_eq!(books(&place)[2..], [0, 250]);
    assert_eq!(place.number("SELECT sum(balance) FROM book"), 0);
}

/// The rules of the ledger that do not hold.
fn broken(store: &Store) -> Vec<&'static str> {
    store
        .reconcile()
        .unwrap()
        .iter()
        .filter(|rule| !rule.differences.is_empty())
        .map(|rule| rule.rule)
        .collect()
}

#[tokio::test]
async fn the_ledger_balances_after_everything_that_can_be_done_and_a_changed_sum_is_found() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    let capture = operation(Action::Capture, xid, 300);
    let target = capture.jti;
    done(store.operate(capture, soon()).await.unwrap());
    done(
        store
            .operate(undoing(Action::CaptureReversal, xid, 50, target), soon())
            .await
            .unwrap(),
    );
    done(
        store
            .operate(operation(Action::Reversal, xid, 20), soon())
            .await
            .unwrap(),
    );
    store
        .close_batch(closing(Jti::random().unwrap()), soon())
        .await
        .unwrap();
    let refund = operation(Action::Refund, xid, 100);
    let refunded = refund.jti;
    done(store.operate(refund, soon()).await.unwrap());
    done(
        store
            .operate(undoing(Action::RefundReversal, xid, 30, refunded), soon())
            .await
            .unwrap(),
    );
    let now = Authorize {
        capture: Capture::Now,
        ..command(200)
    };
    decided(store.authorize(now, soon()).await.unwrap());
    decided(store.authorize(command(5000), soon()).await.unwrap());
    store.expire(NOW.plus(100), soon()).await.unwrap();
    assert!(broken(&store).is_empty(), "{:?}", broken(&store));
    drop(store);

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
        let changed = place.directory.path().join("changed.db");
        Connection::open(place.path())
            .unwrap()
            .execute("VACUUM INTO ?1", [changed.to_str().unwrap()])
            .unwrap();
        let connection = Connection::open(&changed).unwrap();
        connection.execute_batch(change).unwrap();
        let rules = reconcile::check(&connection).unwrap();
        let found = rules
            .iter()
            .filter(|rule| !rule.differences.is_empty())
            .count();
        std::fs::remove_file(&changed).unwrap();
        assert!(found >= expected, "{change}: {found}");
    }
}

#[tokio::test]
async fn sixty_four_at_once_never_capture_or_refund_above_the_limits() {
    let place = Place::new();
    let (store, xid) = approved(&place, 500).await;
    let store = std::sync::Arc::new(store);
    let mut running = tokio::task::JoinSet::new();
    for number in 0..64 {
        let store = std::sync::Arc::clone(&store);
        running.spawn(async move {
            let action = [Action::Capture, Action::Refund, Action::Reversal][number % 3];
            store
                .operate(operation(action, xid, 40), soon())
                .await
                .unwrap()
        });
    }
    running.join_all().await;
    let payment = store.find_by_xid(xid).unwrap().unwrap().payment.unwrap();
    let totals = payment.totals();
    assert!(totals.holds(), "{totals:?}");
    let [available, held, merchant, _] = books(&place);
    assert_eq!(held, payment.held() as i64);
    assert_eq!(merchant, totals.captured as i64 - totals.refunded as i64);
    assert_eq!(available + held + merchant, 1000);
    assert!(broken(&store).is_empty());
}
