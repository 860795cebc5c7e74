//! The decision on a purchase: once, for ever, within what there is.

use super::*;

conformance! {
    an_approval_moves_the_amount_from_available_to_held,
    capture_now_books_the_amount_for_the_merchant,
    the_same_request_gets_the_first_decision_also_after_a_restart,
    another_request_with_the_same_jti_or_xid_is_refused_and_holds_nothing,
    sixty_four_at_once_never_hold_more_than_there_is,
    what_is_held_equals_the_open_authorizations_and_the_ledger_balances,
    a_velocity_limit_counts_approvals_in_its_window
}

async fn an_approval_moves_the_amount_from_available_to_held(place: Place) {
    let store = with_account(&place, 1000).await;
    let decision = decided(store.authorize(command(400), soon()).await.unwrap());
    assert_eq!(decision.code, Code::Approved);
    let account = &store.accounts(None).await.unwrap()[0];
    assert_eq!((account.available, account.held), (600, 400));
}

async fn capture_now_books_the_amount_for_the_merchant(place: Place) {
    let store = with_account(&place, 1000).await;
    let now = Authorize {
        capture: Capture::Now,
        ..command(400)
    };
    let decision = decided(store.authorize(now, soon()).await.unwrap());
    assert_eq!(decision.totals.captured, 400);
    let account = &store.accounts(None).await.unwrap()[0];
    assert_eq!((account.available, account.held), (600, 0));
    assert_eq!(place.books().await, [600, 0, 400, 0]);
}

async fn the_same_request_gets_the_first_decision_also_after_a_restart(place: Place) {
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
    let store = place.open().await;
    let Authorized::Answered(answer) = store.authorize(third, soon()).await.unwrap() else {
        panic!("it was decided again after a restart");
    };
    assert_eq!(answer.receipt_jti, decision.receipt_jti);
    assert_eq!(answer.authorization, decision.authorization);
    assert_eq!(store.accounts(None).await.unwrap()[0].held, 400);
}

async fn another_request_with_the_same_jti_or_xid_is_refused_and_holds_nothing(place: Place) {
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
    assert_eq!(store.accounts(None).await.unwrap()[0].held, 400);
}

async fn sixty_four_at_once_never_hold_more_than_there_is(place: Place) {
    let store = with_account(&place, 1000).await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let store = Arc::clone(&store);
        running.spawn(
            async move { decided(store.authorize(command(100), soon()).await.unwrap()).code },
        );
    }
    let codes = running.join_all().await;
    let approved = codes.iter().filter(|code| **code == Code::Approved).count();
    assert_eq!(approved, 10);
    let account = &store.accounts(None).await.unwrap()[0];
    assert_eq!((account.available, account.held), (0, 1000));
}

async fn what_is_held_equals_the_open_authorizations_and_the_ledger_balances(place: Place) {
    let store = with_account(&place, 1000).await;
    for value in [100, 250, 900] {
        let decision = decided(store.authorize(command(value), soon()).await.unwrap());
        assert_eq!(decision.code.decision() == Decision::Approved, value < 900);
    }
    assert_eq!(place.books().await, [650, 350, 0, 0]);
    assert!(broken(&*store).await.is_empty());
}

async fn a_velocity_limit_counts_approvals_in_its_window(place: Place) {
    let store = place.open().await;
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
    store
        .add_account(AddAccount { account, now: NOW }, soon())
        .await
        .unwrap();
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
