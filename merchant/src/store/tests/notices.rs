//! What the gateway told: once, and in files that an older merchant made, too.

use rusqlite::Connection;

use super::*;

fn told(id: &str, xid: Option<Xid>) -> NoticeRecord {
    NoticeRecord {
        id: id.to_owned(),
        kind: "payment.expired".to_owned(),
        happened_at: NOW,
        received_at: NOW.plus(1),
        xid,
        body: "{}".to_owned(),
    }
}

#[tokio::test]
async fn a_notice_is_kept_once_by_its_id() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("merchant.db")).unwrap();
    let xid = Xid::random().unwrap();
    let first = told("one", Some(xid));
    assert!(store.add_notice(first.clone()).await.unwrap());
    let again = NoticeRecord {
        kind: "other".to_owned(),
        ..told("one", None)
    };
    assert!(!store.add_notice(again).await.unwrap());
    assert!(store.add_notice(told("two", None)).await.unwrap());
    assert_eq!(
        store.notices().await.unwrap(),
        [first.clone(), told("two", None)]
    );
    assert_eq!(store.notices_of(xid).await.unwrap(), [first]);
}

#[tokio::test]
async fn a_file_of_version_1_keeps_what_it_has_and_gets_notices() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("merchant.db");
    let first = sqlite_file::Kind {
        migrations: &[include_str!("../schema/1.sql")],
        ..database::FILE
    };
    let connection = first.open_or_make(&path).unwrap();
    let order = OrderId::random().unwrap();
    connection
        .execute(
            "INSERT INTO shop_order (id, information, created_at) VALUES (?1, 'an order', 1)",
            [order.as_bytes()],
        )
        .unwrap();
    let version = |connection: &Connection| -> i64 {
        connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    assert_eq!(version(&connection), 1);
    drop(connection);

    let store = Store::open(&path).unwrap();
    assert!(store.add_notice(told("one", None)).await.unwrap());
    let connection = Connection::open(&path).unwrap();
    assert_eq!(version(&connection), 2);
    let orders: i64 = connection
        .query_row("SELECT count(*) FROM shop_order", [], |row| row.get(0))
        .unwrap();
    assert_eq!(orders, 1);
}
