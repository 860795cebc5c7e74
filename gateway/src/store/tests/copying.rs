//! A copy while others write.

use super::*;
use crate::store::sqlite::backup;

#[tokio::test]
async fn a_copy_ends_however_often_others_write_and_is_of_one_moment() {
    let place = Place::sqlite();
    let store = with_account(&place, 1000).await;
    let other = Connection::open(place.path()).unwrap();
    // More than what is copied at a time.
    other
        .execute(
            "INSERT INTO evidence (request) VALUES (printf('%.*c', ?1, 'x'))",
            [16 << 20],
        )
        .unwrap();
    let copy = place.directory().join("copy.db");
    let mut steps = 0;
    let bytes = backup::copy(&place.path(), &copy, |_| {
        steps += 1;
        assert!(steps < 100, "it begins anew with every commit");
        other
            .execute("INSERT INTO evidence (request) VALUES ('later')", [])
            .unwrap();
    })
    .unwrap();
    assert!(bytes > 16 << 20 && steps > 1);
    let count = |database: &Connection| -> i64 {
        let counted = "SELECT count(*) FROM evidence";
        database.query_row(counted, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&Connection::open(&copy).unwrap()), 1);
    assert_eq!(count(&other), 1 + steps);
    drop(store);
}
