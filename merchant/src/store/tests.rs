//! The store on real files: what is consumed once, together, and what is deleted.

use protocol::{
    json::Version,
    order_information::{Item, Quantity},
    session::{NamedMerchant, OfferedGateway},
};
use tempfile::TempDir;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000);

async fn with_session(store: &Store, order: &OrderInformation) -> Session {
    let session = Session {
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
    };
    store
        .add_session(session.clone(), Digest::of(b"m"), Digest::of(b"g"))
        .await
        .unwrap();
    session
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
