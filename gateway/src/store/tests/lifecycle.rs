//! After the decision: bookings, releases, refunds, batches, and holds that end.

use protocol::receipt::Action;

use super::*;
use crate::{
    payment::{LimitExceeded, NotUndone},
    store::commands::Limit,
};

conformance! {
    a_payment_is_captured_in_parts_refunded_and_the_rest_released,
    nothing_above_the_limits_is_done_and_a_refused_request_consumes_nothing,
    the_same_request_is_done_once_and_answered_alike_another_with_its_jti_is_refused,
    an_authorization_s_jti_is_no_other_request_s,
    another_merchant_s_an_unknown_and_a_declined_payment_are_not_operated_on,
    a_booking_is_undone_up_to_its_own_amount_and_can_be_made_again,
    a_payment_has_an_end_of_operations_with_room_left_for_what_the_payer_gets_back,
    a_refund_is_undone_as_long_as_the_payer_has_the_money,
    what_was_captured_with_the_authorization_is_undone_by_its_jti,
    a_hold_ends_at_its_time_and_is_released_once,
    sixty_four_at_once_never_capture_or_refund_above_the_limits
}

pub(super) fn euros(value: u64) -> Amount {
    Amount::new(value, "EUR".parse().unwrap()).unwrap()
}

pub(super) fn operation(action: Action, xid: Xid, value: u64) -> Operate {
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

pub(super) fn undoing(action: Action, xid: Xid, value: u64, target: Jti) -> Operate {
    Operate {
        target: Some(target),
        ..operation(action, xid, value)
    }
}

pub(super) fn done(outcome: Operated) -> ReceiptRecord {
    match outcome {
        Operated::Done(receipt) => receipt,
        Operated::Refused(limit) => panic!("{limit}"),
        _ => panic!("it was not done now"),
    }
}

/// Does it, now.
pub(super) async fn doing(store: &dyn Store, operation: Operate) -> ReceiptRecord {
    done(store.operate(operation, soon()).await.unwrap())
}

pub(super) fn refused(outcome: Operated) -> Limit {
    match outcome {
        Operated::Refused(limit) => limit,
        _ => panic!("it was not refused"),
    }
}

/// An approved payment of that much, out of 1000.
pub(super) async fn approved(place: &Place, value: u64) -> (Arc<dyn Store>, Xid) {
    let store = with_account(place, 1000).await;
    let decision = decided(store.authorize(command(value), soon()).await.unwrap());
    assert_eq!(decision.code, Code::Approved);
    (store, decision.signed.xid)
}

async fn a_payment_is_captured_in_parts_refunded_and_the_rest_released(place: Place) {
    let (store, xid) = approved(&place, 500).await;
    for (action, value, expected) in [
        (Action::Capture, 200, [500, 300, 200, 0]),
        (Action::Capture, 100, [500, 200, 300, 0]),
        (Action::Reversal, 150, [650, 50, 300, 0]),
        (Action::Refund, 250, [900, 50, 50, 0]),
        (Action::Capture, 50, [900, 0, 100, 0]),
    ] {
        let receipt = doing(&*store, operation(action, xid, value)).await;
        assert_eq!(receipt.action, action);
        assert_eq!(receipt.amount, euros(value));
        assert_eq!(place.books().await, expected, "{action} {value}");
    }
    let found = store.find_by_xid(xid).await.unwrap().unwrap();
    let totals = found.payment.unwrap().totals();
    assert_eq!(
        (totals.captured, totals.reversed, totals.refunded),
        (350, 150, 250)
    );
    let actions: Vec<_> = store
        .receipts_after(xid)
        .await
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
    assert!(broken(&*store).await.is_empty());
}

async fn nothing_above_the_limits_is_done_and_a_refused_request_consumes_nothing(place: Place) {
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
    doing(&*store, possible).await;
    assert_eq!(place.books().await, [500, 0, 500, 0]);
}

async fn the_same_request_is_done_once_and_answered_alike_another_with_its_jti_is_refused(
    place: Place,
) {
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
    let receipt = doing(&*store, first).await;
    let Operated::Answered(answer) = store.operate(again, soon()).await.unwrap() else {
        panic!("it was done twice");
    };
    assert_eq!(answer.receipt_jti, receipt.receipt_jti);
    assert_eq!(answer.totals, receipt.totals);
    assert!(matches!(
        store.operate(other, soon()).await.unwrap(),
        Operated::IdempotencyConflict
    ));
    assert_eq!(place.books().await, [500, 300, 200, 0]);
}

async fn an_authorization_s_jti_is_no_other_request_s(place: Place) {
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

async fn another_merchant_s_an_unknown_and_a_declined_payment_are_not_operated_on(place: Place) {
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

async fn a_booking_is_undone_up_to_its_own_amount_and_can_be_made_again(place: Place) {
    let (store, xid) = approved(&place, 500).await;
    let capture = operation(Action::Capture, xid, 200);
    let target = capture.jti;
    doing(&*store, capture).await;
    doing(&*store, operation(Action::Capture, xid, 100)).await;
    let undo = |value| undoing(Action::CaptureReversal, xid, value, target);
    doing(&*store, undo(150)).await;
    assert_eq!(
        refused(store.operate(undo(51), soon()).await.unwrap()),
        NotUndone::Net.into()
    );
    let receipt = doing(&*store, undo(50)).await;
    assert_eq!(receipt.target, Some(target));
    assert_eq!(place.books().await, [500, 400, 100, 0]);
    doing(&*store, operation(Action::Capture, xid, 400)).await;
    // What is no capture of this payment can't be undone as one.
    for target in [Jti::random().unwrap(), receipt.receipt_jti] {
        let undo = undoing(Action::CaptureReversal, xid, 1, target);
        assert_eq!(
            refused(store.operate(undo, soon()).await.unwrap()),
            Limit::NoSuchBooking
        );
    }
}

async fn a_payment_has_an_end_of_operations_with_room_left_for_what_the_payer_gets_back(
    place: Place,
) {
    let (store, xid) = approved(&place, 500).await;
    for _ in 0..32 {
        let capture = operation(Action::Capture, xid, 1);
        doing(&*store, capture).await;
    }
    let capture = operation(Action::Capture, xid, 1);
    assert_eq!(
        refused(store.operate(capture, soon()).await.unwrap()),
        Limit::TooMany
    );
    doing(&*store, operation(Action::Reversal, xid, 468)).await;
    for _ in 0..31 {
        let refund = operation(Action::Refund, xid, 1);
        doing(&*store, refund).await;
    }
    let refund = operation(Action::Refund, xid, 1);
    assert_eq!(
        refused(store.operate(refund, soon()).await.unwrap()),
        Limit::TooMany
    );
    assert_eq!(place.books().await, [999, 0, 1, 0]);
}

async fn a_refund_is_undone_as_long_as_the_payer_has_the_money(place: Place) {
    let (store, xid) = approved(&place, 500).await;
    doing(&*store, operation(Action::Capture, xid, 500)).await;
    let refund = operation(Action::Refund, xid, 300);
    let target = refund.jti;
    doing(&*store, refund).await;
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
    doing(&*store, undo(50)).await;
    assert_eq!(place.books().await, [0, 750, 250, 0]);
}

async fn what_was_captured_with_the_authorization_is_undone_by_its_jti(place: Place) {
    let store = with_account(&place, 1000).await;
    let authorization = Authorize {
        capture: Capture::Now,
        ..command(400)
    };
    let target = authorization.jti;
    let xid = decided(store.authorize(authorization, soon()).await.unwrap())
        .signed
        .xid;
    doing(&*store, undoing(Action::CaptureReversal, xid, 400, target)).await;
    assert_eq!(place.books().await, [600, 400, 0, 0]);
}

async fn a_hold_ends_at_its_time_and_is_released_once(place: Place) {
    let (store, xid) = approved(&place, 500).await;
    doing(&*store, operation(Action::Capture, xid, 200)).await;
    let end = NOW.plus(100);
    assert!(
        store
            .end_holds(end_holds(NOW.plus(99)), soon())
            .await
            .unwrap()
            .is_empty()
    );
    let ended = store.end_holds(end_holds(end), soon()).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].xid, ended[0].released), (xid, 300));
    assert!(
        store
            .end_holds(end_holds(end), soon())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(place.books().await, [800, 0, 200, 0]);
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
    doing(&*store, refund).await;
    assert_eq!(place.books().await, [1000, 0, 0, 0]);
}

async fn sixty_four_at_once_never_capture_or_refund_above_the_limits(place: Place) {
    let (store, xid) = approved(&place, 500).await;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..64 {
        let store = Arc::clone(&store);
        running.spawn(async move {
            let action = [Action::Capture, Action::Refund, Action::Reversal][number % 3];
            store
                .operate(operation(action, xid, 40), soon())
                .await
                .unwrap()
        });
    }
    running.join_all().await;
    let payment = store
        .find_by_xid(xid)
        .await
        .unwrap()
        .unwrap()
        .payment
        .unwrap();
    let totals = payment.totals();
    assert!(totals.holds(), "{totals:?}");
    let [available, held, merchant, _] = place.books().await;
    assert_eq!(held, payment.held() as i64);
    assert_eq!(merchant, totals.captured as i64 - totals.refunded as i64);
    assert_eq!(available + held + merchant, 1000);
    assert!(broken(&*store).await.is_empty());
}
