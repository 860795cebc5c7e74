//! Databases that an older gateway made: brought to the last version.

use super::*;
use crate::store::outbox::EventState;

const FIRST: &str = include_str!("../sqlite/schema/1.sql");

/// A file as a gateway of version 1 left it: with a hold that is over at [`NOW`] + 100.
async fn of_version_1(place: &Place) -> Xid {
    let store = with_account(place, 1000).await;
    let xid = decided(store.authorize(command(400), soon()).await.unwrap())
        .signed
        .xid;
    drop(store);
    // What it wrote, in a file that the first script alone made.
    let old = place.directory().join("old.db");
    let connection = Connection::open(&old).unwrap();
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .unwrap();
    connection.execute_batch(FIRST).unwrap();
    connection
        .execute_batch("PRAGMA application_id = 0x5477536c; PRAGMA user_version = 1;")
        .unwrap();
    let path = place.path();
    connection
        .execute("ATTACH ?1 AS written", [path.to_str().unwrap()])
        .unwrap();
    for table in [
        "book",
        "account",
        "instrument",
        "payment",
        "evidence",
        "batch",
        "operation",
        "transfer",
    ] {
        connection
            .execute_batch(&format!(
                "INSERT INTO {table} SELECT * FROM written.{table}"
            ))
            .unwrap();
    }
    drop(connection);
    for file in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        let _ = std::fs::remove_file(place.directory().join(file));
    }
    std::fs::rename(old, path).unwrap();
    xid
}

fn version_and_tables(place: &Place) -> (i64, i64) {
    let connection = Connection::open(place.path()).unwrap();
    let version = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
    let tables = connection.query_row(count, [], |row| row.get(0)).unwrap();
    (version, tables)
}

#[tokio::test]
async fn a_file_of_version_1_keeps_what_it_has_and_gets_what_came_since() {
    let place = Place::sqlite();
    let xid = of_version_1(&place).await;
    let (version, tables) = version_and_tables(&place);
    assert_eq!(version, 1);
    let store = place.open().await;
    assert_eq!(version_and_tables(&place), (4, tables + 2));
    assert_eq!(place.books().await, [600, 400, 0, 0]);
    assert!(broken(&*store).await.is_empty());
    let due = EndHolds {
        now: NOW.plus(100),
        subscribers: [MerchantName::new("shop").unwrap()].into_iter().collect(),
    };
    assert_eq!(store.end_holds(due, soon()).await.unwrap()[0].xid, xid);
    let events = store.events(None).await.unwrap();
    assert_eq!(events[0].subject, *xid.as_bytes());
    assert!(matches!(events[0].state, EventState::Pending { .. }));
    // Opened again, it stays as it is.
    drop(store);
    drop(place.open().await);
    assert_eq!(version_and_tables(&place), (4, tables + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_database_of_version_1_gets_an_outbox() {
    let server = Server::shared();
    let database = server.new_database();
    server.query(
        &database,
        "CREATE TABLE twinseal (id BIGINT PRIMARY KEY CHECK (id = 1), version BIGINT NOT NULL);
         INSERT INTO twinseal VALUES (1, 1);",
    );
    server.query(&database, include_str!("../postgres/schema/1.sql"));
    let place = Place::Postgres { database };
    let store = with_account(&place, 1000).await;
    assert!(store.events(None).await.unwrap().is_empty());
    decided(store.authorize(command(400), soon()).await.unwrap());
    assert_eq!(place.books().await, [600, 400, 0, 0]);
}
