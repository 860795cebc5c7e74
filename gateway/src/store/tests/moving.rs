//! Everything moved from a file to PostgreSQL and back: the same totals, the same receipts, and it goes on there.

use protocol::receipt::Action;

use super::{
    batches::{closing, everything_done},
    lifecycle::{doing, operation},
    *,
};
use crate::store::{
    postgres::moving::{NotMoved, TABLES},
    sqlite::backup::Unfinished,
};

/// An empty database, and the store in it.
async fn empty() -> (Place, PostgresStore) {
    let database = Server::shared().new_database();
    let store = PostgresStore::open(&configured(&database), &PathBuf::new())
        .await
        .unwrap();
    (Place::Postgres { database }, store)
}

/// Everything that a file holds, but for the order of rows.
fn dump(path: &std::path::Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut rows = Vec::new();
    for table in TABLES {
        let mut statement = connection
            .prepare(&format!("SELECT * FROM {table}"))
            .unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<rusqlite::types::Value> = (0..columns)
                .map(|column| row.get(column).unwrap())
                .collect();
            rows.push(format!("{table} {values:?}"));
        }
    }
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_over_and_back_byte_for_byte_and_goes_on() {
    let file = Place::sqlite();
    let before = everything_done(&file).await;
    let told = before.payments().await.unwrap();
    let books = file.books().await;
    drop(before);

    let (place, store) = empty().await;
    let rows = store.import(&file.path(), |_, _| {}).await.unwrap();
    assert_eq!(rows, dump(&file.path()).len() as u64);
    assert_eq!(place.books().await, books);
    assert!(broken(&store).await.is_empty());
    for payment in &told {
        let xid = payment.decision.signed.xid;
        let found = store.find_by_xid(xid).await.unwrap().unwrap();
        assert_eq!(found.decision.receipt_jti, payment.decision.receipt_jti);
        assert_eq!(
            found.payment.map(|payment| payment.totals()),
            payment.payment.map(|payment| payment.totals())
        );
    }

    let back = file.directory().join("back.db");
    let unfinished = Unfinished::make(&back).unwrap();
    assert_eq!(
        store.export(unfinished.path(), |_, _| {}).await.unwrap(),
        rows
    );
    unfinished.finish().unwrap();
    assert_eq!(dump(&back), dump(&file.path()));

    // What is done there gets numbers that nobody has.
    let decision = decided(store.authorize(command(50), soon()).await.unwrap());
    let xid = decision.signed.xid;
    doing(&store, operation(Action::Capture, xid, 20)).await;
    store
        .close_batch(closing(Jti::random().unwrap()), soon())
        .await
        .unwrap();
    assert!(broken(&store).await.is_empty());
    // And what was withdrawn or decided before stays so.
    let known = SignedByPayer {
        xid: told[0].decision.signed.xid,
        ..told[0].decision.signed.clone()
    };
    let again = Authorize {
        signed: known,
        ..command(1)
    };
    assert!(matches!(
        store.authorize(again, soon()).await.unwrap(),
        Authorized::Replayed
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_brought_where_something_is_and_nothing_that_is_not_ours_or_does_not_balance() {
    let file = Place::sqlite();
    drop(everything_done(&file).await);
    let (place, store) = empty().await;
    store.import(&file.path(), |_, _| {}).await.unwrap();
    let books = place.books().await;
    let again = store.import(&file.path(), |_, _| {}).await;
    assert!(matches!(again, Err(NotMoved::NotEmpty)));
    assert_eq!(place.books().await, books);

    let (place, store) = empty().await;
    Connection::open(file.path())
        .unwrap()
        .execute_batch("UPDATE book SET balance = balance + 1 WHERE kind = 'available'")
        .unwrap();
    let unbalanced = store.import(&file.path(), |_, _| {}).await;
    assert!(matches!(unbalanced, Err(NotMoved::Unbalanced(_))));
    assert_eq!(place.books().await, [0; 4]);
    let theirs = file.directory().join("theirs.db");
    Connection::open(&theirs)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();
    let error = store.import(&theirs, |_, _| {}).await.err().unwrap();
    assert!(error.to_string().contains("no gateway's"), "{error}");
    // It is as empty as before.
    assert!(store.accounts(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_moved() {
    let (place, _store) = empty().await;
    let Place::Postgres { database } = &place else {
        unreachable!()
    };
    let tables = Server::shared().query(
        database,
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename",
    );
    let mut moved: Vec<&str> = TABLES.to_vec();
    moved.extend(["canary", "first_word", "twinseal"]);
    moved.sort_unstable();
    assert_eq!(tables.lines().collect::<Vec<_>>(), moved);
}
