//! A payer that withdraws a purchase: it and a decision exclude one another.

use protocol::receipt::Action;

use super::{lifecycle::euros, *};

conformance! {
    a_withdrawn_purchase_is_declined_for_ever_and_touches_no_account,
    a_cancellation_that_is_too_late_gets_the_decision_and_another_payer_nothing,
    another_payer_s_cancellation_of_the_same_xid_stops_nobody,
    a_cancellation_and_an_authorization_at_once_exclude_one_another,
}

pub(super) fn cancel(signed: &SignedByPayer) -> Cancel {
    Cancel {
        signed: signed.clone(),
        merchant: MerchantName::new("shop").unwrap(),
        amount: euros(400),
        reqh: Digest::of(b"cancellation"),
        evidence: Evidence {
            request: "cancellation".to_owned(),
            dual_signature: Some("signature".to_owned()),
            payment_information: None,
        },
        receipt_jti: Jti::random().unwrap(),
        now: NOW,
        subscribers: Subscribers::default(),
    }
}

async fn a_withdrawn_purchase_is_declined_for_ever_and_touches_no_account(place: Place) {
    let store = with_account(&place, 1000).await;
    let authorization = command(400);
    let signed = authorization.signed.clone();
    let first = store
        .cancel(cancel(&signed), soon())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.action, Action::Cancellation);
    let second = store
        .cancel(cancel(&signed), soon())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.receipt_jti, second.receipt_jti);
    let decision = decided(store.authorize(authorization, soon()).await.unwrap());
    assert_eq!(decision.code, Code::CustomerCancellation);
    assert_eq!(place.books().await, [1000, 0, 0, 0]);
}

async fn a_cancellation_that_is_too_late_gets_the_decision_and_another_payer_nothing(place: Place) {
    let store = with_account(&place, 1000).await;
    let authorization = command(400);
    let signed = authorization.signed.clone();
    let decision = decided(store.authorize(authorization, soon()).await.unwrap());
    let told = store
        .cancel(cancel(&signed), soon())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(told.action, Action::Authorization);
    assert_eq!(told.receipt_jti, decision.receipt_jti);
    let other = SignedByPayer {
        client: ClientName::new("other").unwrap(),
        ..signed
    };
    assert!(
        store
            .cancel(cancel(&other), soon())
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(place.books().await, [600, 400, 0, 0]);
}

async fn another_payer_s_cancellation_of_the_same_xid_stops_nobody(place: Place) {
    let store = with_account(&place, 1000).await;
    let authorization = command(400);
    let other = SignedByPayer {
        client: ClientName::new("other").unwrap(),
        ..authorization.signed.clone()
    };
    store.cancel(cancel(&other), soon()).await.unwrap().unwrap();
    let decision = decided(store.authorize(authorization, soon()).await.unwrap());
    assert_eq!(decision.code, Code::Approved);
}

async fn a_cancellation_and_an_authorization_at_once_exclude_one_another(place: Place) {
    let store = with_account(&place, 100_000).await;
    // With PostgreSQL: two gateways that know nothing of one another.
    let other = match &place {
        Place::Postgres { .. } => place.open().await,
        _ => Arc::clone(&store),
    };
    let mut held = 0;
    for _ in 0..32 {
        let authorization = command(400);
        let signed = authorization.signed.clone();
        let (decision, told) = tokio::join!(
            store.authorize(authorization, soon()),
            other.cancel(cancel(&signed), soon())
        );
        let approved = decided(decision.unwrap()).code == Code::Approved;
        let withdrawn = told.unwrap().unwrap().action == Action::Cancellation;
        assert_ne!(approved, withdrawn);
        held += if approved { 400 } else { 0 };
        assert_eq!(place.books().await[1], held);
    }
}
