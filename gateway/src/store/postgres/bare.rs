//! What the database itself carries: the rows of approvals in grouped transactions, and nothing else. A measure for
//! the store to be held against; see `bench`.

use std::time::{Duration, Instant};

use deadpool_postgres::Pool;

use super::{
    group::{self, NotDone},
    load,
};
use crate::store::{
    StoreError,
    commands::Authorize,
    tables::{Transaction as _, Wanted},
};

/// Writes what approvals of these requests come to, so many in a transaction, and tells how long that took. Nothing
/// is looked up, decided, or waited for.
///
/// # Errors
/// When the store can't be written.
pub(super) async fn write_approvals(
    pool: &Pool,
    requests: &[Authorize],
    group: usize,
) -> Result<Duration, StoreError> {
    write(pool, requests, group)
        .await
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

async fn write(pool: &Pool, requests: &[Authorize], group: usize) -> Result<Duration, NotDone> {
    let connection = pool.get().await?;
    let mut prepared = Vec::new();
    for requests in requests.chunks(group) {
        let mut wanted = Wanted::default();
        for request in requests {
            request.wanted(&mut wanted);
        }
        let mut set = load::load(&connection, &wanted).await?;
        for request in requests {
            request.run(&mut set)?;
        }
        connection.batch_execute("ROLLBACK").await?;
        prepared.push(set);
    }
    let started = Instant::now();
    for set in &prepared {
        connection.batch_execute("BEGIN").await?;
        group::write(&connection, set).await?;
        connection.batch_execute("COMMIT").await?;
    }
    Ok(started.elapsed())
}
