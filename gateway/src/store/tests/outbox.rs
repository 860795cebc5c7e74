//! The outbox: what is there exactly when the change is, and how it is taken to be sent.

use protocol::{
    identifiers::EventId,
    notice::{self, Happened},
    receipt::Action,
};

use super::{
    batches::{closed, closing},
    cancelling::cancel,
    lifecycle::{approved, doing, operation, undoing},
    *,
};
use crate::store::outbox::{ClaimEvents, EndTry, EventRecord, EventState, Replay, Tried};

conformance! {
    a_hold_that_ends_is_told_once_with_what_was_released,
    a_withdrawal_is_told_the_first_time_only_and_not_when_it_came_too_late,
    a_closed_batch_is_told_once,
    a_hold_that_ended_is_not_brought_back_by_who_looked_at_the_time_before,
    who_is_not_told_has_no_events,
    an_event_is_one_sender_s_for_its_time_and_comes_back_after_it,
    what_came_of_a_try_counts_for_that_try_and_a_delivery_for_ever,
    events_are_sent_once_more_when_an_operator_wants_it,
    old_events_are_forgotten,
}

fn shop() -> MerchantName {
    MerchantName::new("shop").unwrap()
}

fn told() -> Subscribers {
    [shop()].into_iter().collect()
}

fn end_holds_told(now: Timestamp) -> EndHolds {
    EndHolds {
        now,
        subscribers: told(),
    }
}

async fn events(store: &dyn Store) -> Vec<EventRecord> {
    store.events(Some(&shop())).await.unwrap()
}

/// What the only event says.
async fn only_event(store: &dyn Store) -> Happened {
    let events = events(store).await;
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    let notice = notice::read(event.body.as_bytes()).unwrap();
    assert_eq!((notice.kind, notice.at), (event.kind.clone(), event.at));
    assert_eq!(event.state, EventState::Pending { next_try: event.at });
    let happened = notice.happened.unwrap();
    assert_eq!(happened.subject(), event.subject);
    assert_eq!(happened.id(&event.merchant), event.id);
    happened
}

async fn a_hold_that_ends_is_told_once_with_what_was_released(place: Place) {
    let (store, xid) = approved(&place, 500).await;
    let capture = operation(Action::Capture, xid, 200);
    doing(&*store, capture).await;
    let early = end_holds_told(NOW.plus(99));
    assert!(store.end_holds(early, soon()).await.unwrap().is_empty());
    assert!(events(&*store).await.is_empty());
    for _ in 0..2 {
        let due = end_holds_told(NOW.plus(100));
        store.end_holds(due, soon()).await.unwrap();
    }
    let Happened::PaymentExpired(expired) = only_event(&*store).await else {
        panic!("another event");
    };
    assert_eq!(expired.xid, xid);
    assert_eq!(expired.released, super::lifecycle::euros(300));
    assert_eq!(
        (expired.totals.authorized, expired.totals.captured),
        (500, 200)
    );
}

async fn a_hold_that_ended_is_not_brought_back_by_who_looked_at_the_time_before(place: Place) {
    let (store, xid) = approved(&place, 500).await;
    let capture = operation(Action::Capture, xid, 200);
    let jti = capture.jti;
    doing(&*store, capture).await;
    let due = || end_holds_told(NOW.plus(100));
    assert_eq!(store.end_holds(due(), soon()).await.unwrap().len(), 1);
    // It waited since before the hold ended.
    let late = Operate {
        now: NOW.plus(99),
        ..undoing(Action::CaptureReversal, xid, 200, jti)
    };
    doing(&*store, late).await;
    let payment = store.find_by_xid(xid).await.unwrap().unwrap().payment;
    assert_eq!(payment.unwrap().held(), 0);
    // The holds of others end.
    let other = decided(store.authorize(command(100), soon()).await.unwrap());
    let ended = store.end_holds(due(), soon()).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].xid, other.signed.xid);
    assert_eq!(events(&*store).await.len(), 2);
    assert!(broken(&*store).await.is_empty());
}

async fn a_withdrawal_is_told_the_first_time_only_and_not_when_it_came_too_late(place: Place) {
    let store = with_account(&place, 1000).await;
    let authorization = command(400);
    let withdrawn = signed();
    let late = authorization.signed.clone();
    decided(store.authorize(authorization, soon()).await.unwrap());
    for signed in [&late, &withdrawn, &withdrawn] {
        let asked = Cancel {
            subscribers: told(),
            ..cancel(signed)
        };
        store.cancel(asked, soon()).await.unwrap();
    }
    let Happened::PaymentCancelled(cancelled) = only_event(&*store).await else {
        panic!("another event");
    };
    assert_eq!((cancelled.xid, cancelled.client), (withdrawn.xid, client()));
}

async fn a_closed_batch_is_told_once(place: Place) {
    let (store, xid) = approved(&place, 500).await;
    let capture = operation(Action::Capture, xid, 200);
    doing(&*store, capture).await;
    let jti = Jti::random().unwrap();
    for reqh in [
        Digest::of(jti.as_bytes()),
        Digest::of(b"other"),
        Digest::of(jti.as_bytes()),
    ] {
        let asked = CloseBatch {
            subscribers: told(),
            reqh,
            ..closing(jti)
        };
        store.close_batch(asked, soon()).await.unwrap();
    }
    let Happened::BatchClosed(batch) = only_event(&*store).await else {
        panic!("another event");
    };
    assert_eq!((batch.batch, batch.totals.payable), (jti, 200));
}

async fn who_is_not_told_has_no_events(place: Place) {
    let (store, _) = approved(&place, 500).await;
    let other: Subscribers = [MerchantName::new("other").unwrap()].into_iter().collect();
    let due = EndHolds {
        now: NOW.plus(100),
        subscribers: other.clone(),
    };
    assert_eq!(store.end_holds(due, soon()).await.unwrap().len(), 1);
    let asked = CloseBatch {
        subscribers: other.clone(),
        ..closing(Jti::random().unwrap())
    };
    closed(store.close_batch(asked, soon()).await.unwrap());
    let asked = Cancel {
        subscribers: other,
        ..cancel(&signed())
    };
    store.cancel(asked, soon()).await.unwrap().unwrap();
    assert!(store.events(None).await.unwrap().is_empty());
}

/// A store with so many withdrawals that the shop is told.
async fn with_events(place: &Place, count: usize) -> Arc<dyn Store> {
    let store = place.open().await;
    for _ in 0..count {
        let asked = Cancel {
            subscribers: told(),
            ..cancel(&signed())
        };
        store.cancel(asked, soon()).await.unwrap().unwrap();
    }
    store
}

/// Takes events at a time, for ten seconds; gives which, and which try it is.
async fn claim(store: &dyn Store, count: u32, now: Timestamp) -> Vec<(EventId, u32)> {
    let command = ClaimEvents {
        merchant: shop(),
        count,
        now,
        until: now.plus(10),
    };
    let claimed = store.claim_events(command, soon()).await.unwrap();
    claimed
        .iter()
        .map(|event| (event.id, event.tries))
        .collect()
}

async fn end(store: &dyn Store, (id, tries): (EventId, u32), outcome: Tried, now: Timestamp) {
    let ended = EndTry {
        id,
        tries,
        outcome,
        now,
    };
    store.end_try(ended, soon()).await.unwrap();
}

async fn state(store: &dyn Store, id: EventId) -> (EventState, u32, Option<String>) {
    let events = events(store).await;
    let event = events.iter().find(|event| event.id == id).unwrap();
    (event.state, event.tries, event.last_failure.clone())
}

async fn an_event_is_one_sender_s_for_its_time_and_comes_back_after_it(place: Place) {
    let store = with_events(&place, 3).await;
    let due = async |now| {
        let asked = [MerchantName::new("other").unwrap(), shop()];
        store.with_due_events(&asked, now).await.unwrap()
    };
    assert_eq!(due(NOW.minus(1)).await, []);
    assert_eq!(due(NOW).await, [shop()]);
    let first = claim(&*store, 2, NOW).await;
    assert_eq!(first.len(), 2);
    let second = claim(&*store, 2, NOW).await;
    assert_eq!(second.len(), 1);
    assert!(!first.contains(&second[0]));
    assert_eq!(due(NOW.plus(9)).await, []);
    assert_eq!(claim(&*store, 9, NOW.plus(9)).await, []);
    let mut again = claim(&*store, 9, NOW.plus(10)).await;
    assert!(again.iter().all(|(_, tries)| *tries == 2));
    again.sort();
    let mut all: Vec<_> = first
        .into_iter()
        .chain(second)
        .map(|(id, _)| (id, 2))
        .collect();
    all.sort();
    assert_eq!(again, all);
    assert_eq!(store.pending_events().await.unwrap(), [(shop(), 3)]);
}

async fn what_came_of_a_try_counts_for_that_try_and_a_delivery_for_ever(place: Place) {
    let store = with_events(&place, 1).await;
    let again = |at| Tried::Again {
        at,
        why: "HTTP 503".to_owned(),
    };
    let first = claim(&*store, 1, NOW).await[0];
    end(&*store, first, again(NOW.plus(5)), NOW).await;
    let failed = Some("HTTP 503".to_owned());
    let next_try = NOW.plus(5);
    let pending = (EventState::Pending { next_try }, 1, failed.clone());
    assert_eq!(state(&*store, first.0).await, pending);
    // The first sender is late; the second has it now.
    let second = claim(&*store, 1, NOW.plus(5)).await[0];
    assert_eq!(second, (first.0, 2));
    let gone = Tried::GivenUp {
        why: "gone".to_owned(),
    };
    end(&*store, first, gone.clone(), NOW.plus(6)).await;
    end(&*store, first, again(NOW), NOW.plus(6)).await;
    let next_try = NOW.plus(15);
    let pending = (EventState::Pending { next_try }, 2, failed.clone());
    assert_eq!(state(&*store, first.0).await, pending);
    end(&*store, second, gone.clone(), NOW.plus(7)).await;
    let at = NOW.plus(7);
    let given_up = (EventState::GivenUp { at }, 2, Some("gone".to_owned()));
    assert_eq!(state(&*store, first.0).await, given_up);
    assert_eq!(claim(&*store, 1, NOW.plus(1000)).await, []);
    assert_eq!(store.pending_events().await.unwrap(), []);
    // That it was delivered is a fact, whoever says so.
    end(&*store, first, Tried::Delivered, NOW.plus(8)).await;
    end(&*store, second, gone, NOW.plus(9)).await;
    end(&*store, second, Tried::Delivered, NOW.plus(9)).await;
    let (delivered, ..) = state(&*store, first.0).await;
    assert_eq!(delivered, EventState::Delivered { at: NOW.plus(8) });
}

async fn events_are_sent_once_more_when_an_operator_wants_it(place: Place) {
    let store = with_events(&place, 3).await;
    let claimed = claim(&*store, 3, NOW).await;
    let [delivered, given_up, pending] = claimed.as_slice() else {
        panic!("{claimed:?}");
    };
    end(&*store, *delivered, Tried::Delivered, NOW).await;
    let gone = Tried::GivenUp {
        why: "gone".to_owned(),
    };
    end(&*store, *given_up, gone, NOW).await;
    let replay = async |which: Replay| {
        let later = NOW.plus(1);
        store.replay_events(which, later, soon()).await.unwrap()
    };
    let other = MerchantName::new("other").unwrap();
    assert_eq!(replay(Replay::GivenUp(Some(other))).await, []);
    assert_eq!(replay(Replay::GivenUp(Some(shop()))).await, [given_up.0]);
    assert_eq!(replay(Replay::GivenUp(None)).await, []);
    let unknown = EventId::from_bytes([9; 16]);
    let these = vec![delivered.0, unknown];
    assert_eq!(replay(Replay::These(these)).await, [delivered.0]);
    let next_try = NOW.plus(1);
    for id in [delivered.0, given_up.0] {
        let fresh = (EventState::Pending { next_try }, 0, None);
        assert_eq!(state(&*store, id).await, fresh);
    }
    let mut taken = claim(&*store, 9, NOW.plus(1)).await;
    taken.sort();
    let mut expected = [(delivered.0, 1), (given_up.0, 1)];
    expected.sort();
    assert_eq!(taken, expected);
    assert_eq!(state(&*store, pending.0).await.1, 1);
}

async fn old_events_are_forgotten(place: Place) {
    let store = with_events(&place, 3).await;
    assert_eq!(store.forget_events(NOW, soon()).await.unwrap(), 0);
    assert_eq!(store.forget_events(NOW.plus(1), soon()).await.unwrap(), 3);
    assert!(events(&*store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_on_one_database_take_each_event_once() {
    let place = Place::postgres();
    let store = with_events(&place, 60).await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let replica = place.open().await;
        running.spawn(async move {
            let mut taken = Vec::new();
            // What another one is taking at this moment is passed over, so nothing says that all is taken.
            for _ in 0..60 {
                taken.extend(claim(&*replica, 4, NOW).await);
            }
            taken
        });
    }
    let mut taken: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 60);
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 60);
    assert_eq!(claim(&*store, 60, NOW).await, []);
}
