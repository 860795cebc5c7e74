//! What becomes of commands that can't be begun: never done is never done.

use std::time::Duration;

use super::*;

/// Another process that writes, so that nothing of ours is begun.
fn lock(place: &Place) -> Connection {
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test]
async fn what_is_not_begun_by_its_deadline_is_told_so_and_never_done() {
    let place = Place::sqlite();
    let store = with_account(&place, 1000).await;
    let other = lock(&place);
    let late = Instant::now() + Duration::from_millis(50);
    let refused = store.authorize(command(400), late).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    other.execute_batch("ROLLBACK").unwrap();
    // The next one is behind it in the queue.
    decided(store.authorize(command(1), soon()).await.unwrap());
    assert_eq!(store.accounts(None).await.unwrap()[0].held, 1);
}

#[tokio::test]
async fn what_is_asked_for_by_somebody_who_goes_away_before_it_is_begun_is_never_done() {
    let place = Place::sqlite();
    let store = with_account(&place, 1000).await;
    let other = lock(&place);
    let asked = store.authorize(command(400), soon());
    let gone = tokio::time::timeout(Duration::from_millis(50), asked).await;
    assert!(gone.is_err());
    other.execute_batch("ROLLBACK").unwrap();
    decided(store.authorize(command(1), soon()).await.unwrap());
    assert_eq!(store.accounts(None).await.unwrap()[0].held, 1);
}

#[tokio::test]
async fn a_store_that_can_t_be_written_does_not_pass_for_one_that_can() {
    let place = Place::sqlite();
    let store = with_account(&place, 1000).await;
    store.canary(soon()).await.unwrap();
    let _other = lock(&place);
    let late = Instant::now() + Duration::from_millis(50);
    assert!(store.canary(late).await.is_err());
}

#[tokio::test]
async fn who_reads_for_long_lets_the_log_grow_and_no_commit_wait_for_long() {
    let place = Place::sqlite();
    let store = with_account(&place, 1000).await;
    let reader = Connection::open(place.path()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = "SELECT count(*) FROM evidence";
    let before: i64 = reader.query_row(count, [], |row| row.get(0)).unwrap();
    // Twice the log after which it begins anew, and at least one try of that.
    let started = Instant::now();
    let mut written = 0;
    while written < 128 << 20 || started.elapsed() < Duration::from_secs(2) {
        let mut large = command(1);
        large.evidence.request = "x".repeat(4 << 20);
        written += large.evidence.request.len();
        let late = Instant::now() + Duration::from_secs(3);
        decided(store.authorize(large, late).await.unwrap());
    }
    let after: i64 = reader.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn the_log_begins_anew_although_commits_follow_one_another() {
    let place = Place::sqlite();
    let store = with_account(&place, 1000).await;
    let mut written = 0;
    // How long bringing it back takes is the disk's affair: it is only to end once in a while.
    loop {
        let mut large = command(1);
        large.evidence.request = "x".repeat(1 << 20);
        written += large.evidence.request.len() as u64;
        decided(store.authorize(large, soon()).await.unwrap());
        // The file keeps the length that the log once had.
        let log = std::fs::metadata(place.directory().join("gateway.db-wal")).unwrap();
        if written >= 256 << 20 && log.len() < written / 2 {
            break;
        }
        assert!(written < 4 << 30, "the log has {} of {written}", log.len());
    }
}
