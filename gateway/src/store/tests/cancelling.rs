//! A payer that withdraws a purchase: it and a decision exclude one another.

use protocol::receipt::Action;

use super::{
    lifecycle::{books, euros},
    *,
};

fn cancel(signed: &SignedByPayer) -> Cancel {
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
    }
}

#[tokio::test]
async fn a_withdrawn_purchase_is_declined_for_ever_and_touches_no_account() {
    let place = Place::new();
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
    assert_eq!(books(&place), [1000, 0, 0, 0]);
}

#[tokio::test]
async fn a_cancellation_that_is_too_late_gets_the_decision_and_another_payer_nothing() {
    let place = Place::new();
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
    assert_eq!(books(&place), [600, 400, 0, 0]);
}

#[tokio::test]
async fn another_payer_s_cancellation_of_the_same_xid_stops_nobody() {
    let place = Place::new();
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

#[tokio::test]
async fn a_cancellation_and_an_authorization_at_once_exclude_one_another() {
    for _ in 0..32 {
        let place = Place::new();
        let store = std::sync::Arc::new(with_account(&place, 1000).await);
        let authorization = command(400);
        let signed = authorization.signed.clone();
        let (decision, told) = tokio::join!(
            store.authorize(authorization, soon()),
            store.cancel(cancel(&signed), soon())
        );
        let approved = decided(decision.unwrap()).code == Code::Approved;
        let withdrawn = told.unwrap().unwrap().action == Action::Cancellation;
        assert_ne!(approved, withdrawn);
        assert_eq!(books(&place)[1], if approved { 400 } else { 0 });
    }
}
