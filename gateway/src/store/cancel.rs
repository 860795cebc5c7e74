//! The transaction of a cancellation: it and a decision exclude one another.

use protocol::receipt::{Action, Code, Totals};
use rusqlite::Connection;

use super::{
    commands::Cancel,
    records::ReceiptRecord,
    rows::{self, signed},
};

/// Withdraws, now or before; or tells what was decided before it. `None`, when that was decided for another
/// payer.
pub(super) fn cancel(
    connection: &Connection,
    command: &Cancel,
) -> rusqlite::Result<Option<ReceiptRecord>> {
    let signed_by_payer = &command.signed;
    let (client, xid) = (&signed_by_payer.client, signed_by_payer.xid);
    if let Some(withdrawn) = rows::cancellation(connection, client, xid)? {
        return Ok(Some(withdrawn));
    }
    if let Some(decided) = rows::by_xid(connection, xid)? {
        return Ok(Some(decided.decision).filter(|decision| &decision.signed.client == client));
    }
    let evidence = rows::insert_evidence(connection, &command.evidence)?;
    connection
        .prepare_cached(
            "INSERT INTO cancellation (client, xid, merchant, client_x5t, sid, nc, nm, dsh, reqh,
                 currency, amount, receipt_jti, at, evidence)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(rusqlite::params![
            client.as_str(),
            xid.as_bytes(),
            command.merchant.as_str(),
            signed_by_payer.client_x5t.as_bytes(),
            signed_by_payer.sid.as_bytes(),
            signed_by_payer.nc.as_bytes(),
            signed_by_payer.nm.as_bytes(),
            signed_by_payer.dsh.as_bytes(),
            command.reqh.as_bytes(),
            command.amount.currency().code(),
            signed(command.amount.value())?,
            command.receipt_jti.as_bytes(),
            signed(command.now.0)?,
            evidence,
        ])?;
    Ok(Some(ReceiptRecord {
        action: Action::Cancellation,
        target: None,
        receipt_jti: command.receipt_jti,
        iat: command.now,
        merchant: command.merchant.clone(),
        signed: command.signed.clone(),
        reqh: command.reqh,
        code: Code::Approved,
        amount: command.amount,
        totals: Totals::default(),
        authorization: None,
        capture_before: None,
    }))
}
