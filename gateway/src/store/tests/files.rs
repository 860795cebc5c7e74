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
fn a_file_that_is_not_ours_is_refused_and_stays_as_it_is() {
    let place = Place::sqlite();
    std::fs::write(
        place.path(),
        "a letter, not a database, and a long one at that",
    )
    .unwrap();
    let error = SqliteStore::open(&place.path()).err().unwrap().to_string();
    assert!(error.contains("not an SQLite database"), "{error}");
    assert!(
        std::fs::read_to_string(place.path())
            .unwrap()
            .starts_with("a letter")
    );
}

#[test]
fn another_program_s_database_is_refused() {
    let place = Place::sqlite();
    Connection::open(place.path())
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();
    let error = SqliteStore::open(&place.path()).err().unwrap().to_string();
    assert!(error.contains("another program"), "{error}");
}

#[test]
fn a_newer_database_is_refused() {
    let place = Place::sqlite();
    drop(SqliteStore::open(&place.path()).unwrap());
    Connection::open(place.path())
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = SqliteStore::open(&place.path()).err().unwrap().to_string();
    assert!(error.contains("newer gateway"), "{error}");
}
