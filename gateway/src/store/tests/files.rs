//! The embedded store's file: whose it is, and what is refused.

use super::*;

#[tokio::test]
async fn the_files_are_their_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::sqlite();
    let _store = with_account(&place, 1000).await;
    for file in std::fs::read_dir(place.directory()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}

#[test]
fn the_merchant_s_file_is_not_the_gateway_s() {
    let place = Place::sqlite();
    Connection::open(place.path())
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x); PRAGMA application_id = 0x5477536d")
        .unwrap();
    let error = SqliteStore::open(&place.path()).err().unwrap().to_string();
    assert!(error.contains("another program"), "{error}");
}
