//! The store on real files: what is consumed once, together, and what is deleted.

mod notices;
mod requests;

use protocol::{
    json::Version,
    order_information::{Item, Quantity},
    session::{NamedMerchant, OfferedGateway},
};
use tempfile::TempDir;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000);

async fn with_session(store: &Store, order: &OrderInformation) -> Session {
    let session = session_for(order);
    assert!(add(store, &session).await);
    session
}

/// Keeps a session, and tells whether it did.
async fn add(store: &Store, session: &Session) -> bool {
    let new = NewSession {
        session: session.clone(),
        merchant_x5t: Digest::of(b"m"),
        gateway_x5t: Digest::of(b"g"),
        response: "signed".to_owned(),
    };
    store.add_session(new).await.unwrap()
}

fn session_for(order: &OrderInformation) -> Session {
    Session {
        version: Version,
        sid: Sid::random().unwrap(),
        nc: ClientNonce::random().unwrap(),
        nm: MerchantNonce::random().unwrap(),
        iat: NOW,
        exp: NOW.plus(900),
        merchant: NamedMerchant {
            id: "urn:twinseal:merchant:shop".parse().unwrap(),
            name: "A shop".to_owned(),
        },
        order: order.order,
        amount: order.total,
        gateway: OfferedGateway {
            id: "urn:twinseal:gateway:main".parse().unwrap(),
            x5c: vec![],
        },
    }
}

async fn with_order(store: &Store) -> OrderInformation {
    let order = OrderInformation {
        order: OrderId::random().unwrap(),
        items: vec![Item {
            sku: "1".to_owned(),
            name: "a thing".to_owned(),
            quantity: Quantity::new(1).unwrap(),
            unit_price: 500,
        }],
        delivery: None,
        total: Amount::new(500, "EUR".parse().unwrap()).unwrap(),
    };
    store.add_order(order.clone(), NOW).await.unwrap();
    order
}

fn purchase_in(session: &Session) -> NewPurchase {
    NewPurchase {
        xid: Xid::random().unwrap(),
        sid: session.sid,
        order: session.order,
        client: ClientName::new("payer").unwrap(),
        client_x5t: Digest::of(b"c"),
        nc: session.nc,
        nm: session.nm,
        dsh: Digest::of(b"ds"),
        pih: Digest::of(b"jwe"),
        amount: session.amount,
        dual_signature: "ds".to_owned(),
        order_disclosure: "oi".to_owned(),
        payment_information: "sealed".to_owned(),
        authorization_request: "request".to_owned(),
        now: NOW,
    }
}

fn response() -> PurchaseResponse {
    PurchaseResponse {
        purchase_response: "answer".to_owned(),
        receipt: "receipt".to_owned(),
    }
}

#[tokio::test]
async fn a_session_is_consumed_once_however_many_try() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("m.db")).unwrap();
    let session = with_session(&store, &with_order(&store).await).await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, purchase) = (store.clone(), purchase_in(&session));
        running.spawn(async move { store.consume(purchase).await.unwrap() });
    }
    let outcomes = running.join_all().await;
    let done = outcomes
        .iter()
        .filter(|outcome| **outcome == Consumed::Done)
        .count();
    assert_eq!(done, 1);
}

#[tokio::test]
async fn two_sessions_of_one_order_make_one_payment() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("m.db")).unwrap();
    let order = with_order(&store).await;
    let (one, other) = (
        with_session(&store, &order).await,
        with_session(&store, &order).await,
    );
    assert_eq!(
        store.consume(purchase_in(&one)).await.unwrap(),
        Consumed::Done
    );
    assert_eq!(
        store.consume(purchase_in(&other)).await.unwrap(),
        Consumed::Taken
    );
    assert!(store.purchase_in(other.sid).await.unwrap().is_none());
}

#[tokio::test]
async fn a_failed_purchase_frees_the_order_but_not_the_session() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("m.db")).unwrap();
    let order = with_order(&store).await;
    let session = with_session(&store, &order).await;
    let purchase = purchase_in(&session);
    let xid = purchase.xid;
    store.consume(purchase).await.unwrap();
    store.fail(xid, Problem::Expired).await.unwrap();
    assert!(!store.is_taken(order.order).await.unwrap());
    assert_eq!(
        store.consume(purchase_in(&session)).await.unwrap(),
        Consumed::SessionUsed
    );
    let next = with_session(&store, &order).await;
    assert_eq!(
        store.consume(purchase_in(&next)).await.unwrap(),
        Consumed::Done
    );
}

#[tokio::test]
async fn the_sealed_payment_is_deleted_with_the_decision_which_is_never_changed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("m.db");
    let store = Store::open(&path).unwrap();
    let session = with_session(&store, &with_order(&store).await).await;
    let purchase = purchase_in(&session);
    let xid = purchase.xid;
    store.consume(purchase).await.unwrap();
    assert_eq!(store.pending().await.unwrap(), [xid]);
    store
        .decide(xid, Decision::Declined, response())
        .await
        .unwrap();
    store
        .decide(xid, Decision::Approved, response())
        .await
        .unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    let record = store.purchase(xid).await.unwrap().unwrap();
    assert_eq!(
        record.state,
        PurchaseState::Decided(Decision::Declined, response())
    );
    assert!(record.payment_information.is_none());
    assert!(store.pending().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_order_is_open_then_pending_then_paid_and_a_decline_opens_it_again() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("m.db")).unwrap();
    let order = with_order(&store).await;
    let state = async || {
        let record = store.order_record(order.order).await.unwrap().unwrap();
        assert_eq!(record.information, order);
        record.state
    };
    assert_eq!(state().await, OrderState::Open);
    for (decision, then) in [
        (Decision::Declined, OrderState::Open),
        (Decision::Approved, OrderState::Paid),
    ] {
        let purchase = purchase_in(&with_session(&store, &order).await);
        let xid = purchase.xid;
        assert_eq!(store.consume(purchase).await.unwrap(), Consumed::Done);
        assert_eq!(state().await, OrderState::Pending);
        store.decide(xid, decision, response()).await.unwrap();
        assert_eq!(state().await, then);
    }
    assert_eq!(store.purchases_of(order.order).await.unwrap().len(), 2);
    assert_eq!(store.orders().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_known_transaction_in_another_session_is_taken_and_an_unknown_session_a_fault() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("m.db")).unwrap();
    let first = purchase_in(&with_session(&store, &with_order(&store).await).await);
    let other = with_session(&store, &with_order(&store).await).await;
    let again = NewPurchase {
        xid: first.xid,
        ..purchase_in(&other)
    };
    store.consume(first).await.unwrap();
    assert_eq!(store.consume(again).await.unwrap(), Consumed::Taken);
    let nowhere = NewPurchase {
        sid: Sid::random().unwrap(),
        ..purchase_in(&other)
    };
    assert!(matches!(
        store.consume(nowhere).await,
        Err(StoreError::Failed(_))
    ));
}

#[tokio::test]
async fn a_session_is_kept_with_the_response_that_was_signed() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("m.db")).unwrap();
    let order = with_order(&store).await;
    let session = with_session(&store, &order).await;
    let record = store.session(session.sid).await.unwrap().unwrap();
    assert_eq!(record.session, session);
    assert_eq!(record.order, order);
    assert_eq!(record.response, "signed");
    assert_eq!(
        (record.merchant_x5t, record.gateway_x5t),
        (Digest::of(b"m"), Digest::of(b"g"))
    );
}

#[test]
fn looking_at_a_store_that_is_not_there_makes_none() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("m.db");
    assert!(Store::open_existing(&path).is_err());
    assert!(!path.exists());
    drop(Store::open(&path).unwrap());
    assert!(Store::open_existing(&path).is_ok());
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("m.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(other);
    let error = Store::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("another program"), "{error}");
    std::fs::write(
        &path,
        "not a database, but long enough to be taken for one".repeat(4),
    )
    .unwrap();
    let error = Store::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("not an SQLite database"), "{error}");
}

#[tokio::test]
async fn an_order_has_so_many_sessions_at_a_time_and_more_when_they_have_ended() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("m.db")).unwrap();
    let order = with_order(&store).await;
    for _ in 0..SESSIONS_PER_ORDER_MAX {
        assert!(add(&store, &session_for(&order)).await);
    }
    assert!(!add(&store, &session_for(&order)).await);
    let other = with_order(&store).await;
    assert!(add(&store, &session_for(&other)).await);
    let later = Session {
        iat: NOW.plus(900),
        exp: NOW.plus(1800),
        ..session_for(&order)
    };
    assert!(add(&store, &later).await);
}

#[tokio::test]
async fn what_came_to_nothing_is_forgotten_in_time_and_what_was_bought_is_not() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("m.db")).unwrap();
    let (unused, bought) = (with_order(&store).await, with_order(&store).await);
    let empty = with_session(&store, &unused).await;
    let used = with_session(&store, &bought).await;
    let purchase = purchase_in(&used);
    assert_eq!(store.consume(purchase).await.unwrap(), Consumed::Done);

    let ended = NOW.plus(900);
    assert_eq!(store.forget_unused(NOW, ended).await.unwrap(), 0);
    let long_ago = ended.plus(UNUSED_SESSION_SECONDS + 1);
    // The session; its order is not old enough.
    assert_eq!(store.forget_unused(NOW, long_ago).await.unwrap(), 1);
    assert!(store.session(empty.sid).await.unwrap().is_none());
    assert!(store.order(unused.order).await.unwrap().is_some());
    // The order, too.
    assert_eq!(store.forget_unused(NOW.plus(1), long_ago).await.unwrap(), 1);
    assert!(store.order(unused.order).await.unwrap().is_none());
    assert!(store.session(used.sid).await.unwrap().is_some());
    assert!(store.order(bought.order).await.unwrap().is_some());
}
