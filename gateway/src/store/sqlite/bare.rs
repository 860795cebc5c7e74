//! What the file itself carries: the rows of approvals in grouped transactions, and nothing else. A measure for the
//! store to be held against; see `bench`.

use std::{path::Path, time::Duration, time::Instant};

use protocol::receipt::Code;
use rusqlite::TransactionBehavior;

use super::{
    checkpoints::{Checkpoints, Restart},
    database,
    tables::Rows,
};
use crate::store::{
    StoreError,
    commands::Authorize,
    tables::{Fault, Tables as _},
};

/// Writes what approvals of these requests come to, so many in a transaction, and tells how long that took. Nothing
/// is looked up, decided, or waited for.
///
/// # Errors
/// When the store can't be written, or has no such instruments.
pub(crate) fn write_approvals(
    path: &Path,
    requests: &[Authorize],
    group: usize,
) -> Result<Duration, StoreError> {
    let mut connection = database::open_for_writing(path)?;
    let restart = Restart::default();
    let _checkpoints = Checkpoints::start(path, &restart)?;
    let mut write = || -> Result<Duration, Fault> {
        let mut accounts = Vec::with_capacity(requests.len());
        for request in requests {
            let found = Rows(&connection).instrument(&request.instrument_index)?;
            accounts.push(found.ok_or_else(|| Fault::strange("an instrument"))?);
        }
        let started = Instant::now();
        for (requests, accounts) in requests.chunks(group).zip(accounts.chunks(group)) {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (request, account) in requests.iter().zip(accounts) {
                request.keep(&mut Rows(&transaction), Code::Approved, account)?;
            }
            transaction.commit()?;
            restart.if_wanted(&connection);
        }
        Ok(started.elapsed())
    };
    write().map_err(|fault| StoreError::Unavailable(fault.to_string()))
}
