//! Rows of `payment`, to and from what they mean.

use protocol::{
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, MerchantNonce, Sid, Xid},
    money::Amount,
    names::MerchantName,
    receipt::{Code, Totals},
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, Row, types::Type};

use super::DecisionRecord;

const COLUMNS: &str = "xid, merchant, jti, reqh, sid, client, client_x5t, nc, nm, dsh, code, currency, \
     amount, authorized, captured, reversed, refunded, receipt_jti, decided_at, authorization_id, \
     capture_before, last_four";

pub(super) fn by_xid(
    connection: &Connection,
    xid: Xid,
) -> rusqlite::Result<Option<DecisionRecord>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM payment WHERE xid = ?1"))?
        .query_row([xid.as_bytes()], decision)
        .optional()
}

pub(super) fn by_request(
    connection: &Connection,
    merchant: &MerchantName,
    jti: Jti,
) -> rusqlite::Result<Option<DecisionRecord>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM payment WHERE merchant = ?1 AND jti = ?2"
        ))?
        .query_row((merchant.as_str(), jti.as_bytes()), decision)
        .optional()
}

fn decision(row: &Row<'_>) -> rusqlite::Result<DecisionRecord> {
    let currency = parsed(row, "currency")?;
    let value = unsigned(row, "amount")?;
    let code: String = row.get("code")?;
    Ok(DecisionRecord {
        receipt_jti: Jti::from_bytes(row.get("receipt_jti")?),
        iat: Timestamp(unsigned(row, "decided_at")?),
        merchant: parsed(row, "merchant")?,
        client: parsed(row, "client")?,
        client_x5t: Digest::from_bytes(row.get("client_x5t")?),
        xid: Xid::from_bytes(row.get("xid")?),
        sid: Sid::from_bytes(row.get("sid")?),
        nc: ClientNonce::from_bytes(row.get("nc")?),
        nm: MerchantNonce::from_bytes(row.get("nm")?),
        dsh: Digest::from_bytes(row.get("dsh")?),
        reqh: Digest::from_bytes(row.get("reqh")?),
        code: Code::from_digits(&code).ok_or_else(|| strange("code"))?,
        amount: Amount::new(value, currency).map_err(|_| strange("amount"))?,
        totals: Totals {
            authorized: unsigned(row, "authorized")?,
            captured: unsigned(row, "captured")?,
            reversed: unsigned(row, "reversed")?,
            refunded: unsigned(row, "refunded")?,
        },
        authorization: row
            .get::<_, Option<[u8; 16]>>("authorization_id")?
            .map(AuthorizationId::from_bytes),
        capture_before: row
            .get::<_, Option<i64>>("capture_before")?
            .map(|seconds| Timestamp(seconds.unsigned_abs())),
        last_four: row.get("last_four")?,
    })
}

/// Amounts and times, which the schema keeps from being negative.
pub(super) fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| strange(column))
}

pub(super) fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    row.get::<_, String>(column)?
        .parse()
        .map_err(|_| strange(column))
}

/// A value that this program never writes.
pub(super) fn strange(column: &str) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(0, format!("{column} has a strange value"), Type::Text)
}

/// SQLite's integers are signed; every amount and time of ours is far below 2^63.
pub(super) fn signed(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|_| strange("number"))
}
