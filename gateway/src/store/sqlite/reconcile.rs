//! The rules of the ledger, held against one file as it is at one moment: the gateway may go on meanwhile.

use rusqlite::{Connection, types::ValueRef};

use crate::store::reconcile::{CLOSED_BATCHES, Named, RULES, Reconciliation, closed_batches};

/// Adds everything up anew.
pub(in crate::store) fn check(connection: &Connection) -> rusqlite::Result<Vec<Reconciliation>> {
    let moment = connection.unchecked_transaction()?;
    let mut found = RULES
        .iter()
        .map(|rule| {
            let checked = moment.query_row(rule.count, [], |row| row.get(0))?;
            let differing = moment
                .prepare(&rule.differences())?
                .query_map([], |row| {
                    let name = match row.get_ref(0)? {
                        ValueRef::Blob(_) => Named::Xid(row.get(0)?),
                        _ => Named::Text(row.get(0)?),
                    };
                    Ok((name, row.get(1)?, row.get(2)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(rule.found(checked, differing))
        })
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let batches: Vec<_> = moment
        .prepare(CLOSED_BATCHES)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    found.push(closed_batches(&batches));
    moment.finish()?;
    Ok(found)
}
