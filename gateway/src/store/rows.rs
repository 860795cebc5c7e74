//! Rows, to and from what they mean.

use protocol::{
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, MerchantNonce, Sid, Xid},
    money::Amount,
    names::{ClientName, MerchantName},
    receipt::{Action, Code, Totals},
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, Row, types::Type};

use super::{
    commands::{Evidence, SignedByPayer},
    records::{PaymentRecord, ReceiptRecord},
};
use crate::payment::Payment;

/// A receipt is an operation on a payment.
const RECEIPT: &str = "SELECT action, target, operation.receipt_jti AS receipt_jti, at, \
     operation.merchant AS merchant, reqh, operation.amount AS amount, \
     operation.authorized AS authorized, operation.captured AS captured, \
     operation.reversed AS reversed, operation.refunded AS refunded, \
     payment.xid AS xid, client, client_x5t, sid, nc, nm, dsh, code, currency, authorization_id, \
     capture_before, payment.captured AS captured_now, payment.reversed AS reversed_now, \
     payment.refunded AS refunded_now, held, last_four \
     FROM operation JOIN payment ON payment.xid = operation.xid";

/// The decision on a transaction, with what it has come to.
pub(super) fn by_xid(connection: &Connection, xid: Xid) -> rusqlite::Result<Option<PaymentRecord>> {
    connection
        .prepare_cached(&format!(
            "{RECEIPT} WHERE payment.xid = ?1 AND operation.merchant = payment.merchant
                 AND operation.jti = payment.jti"
        ))?
        .query_row([xid.as_bytes()], payment)
        .optional()
}

/// Whether a transaction was decided.
pub(super) fn is_decided(connection: &Connection, xid: Xid) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM payment WHERE xid = ?1")?
        .exists([xid.as_bytes()])
}

/// Every decided payment, newest first.
pub(super) fn payments(connection: &Connection) -> rusqlite::Result<Vec<PaymentRecord>> {
    connection
        .prepare(&format!(
            "{RECEIPT} WHERE operation.action = 'authorization' ORDER BY at DESC"
        ))?
        .query_map([], payment)?
        .collect()
}

/// The receipt for a merchant's request; that of a batch is none.
pub(super) fn by_request(
    connection: &Connection,
    merchant: &MerchantName,
    jti: Jti,
) -> rusqlite::Result<Option<ReceiptRecord>> {
    connection
        .prepare_cached(&format!(
            "{RECEIPT} WHERE operation.merchant = ?1 AND operation.jti = ?2"
        ))?
        .query_row((merchant.as_str(), jti.as_bytes()), receipt)
        .optional()
}

/// Whether a merchant's `jti` was used by another request than this one.
pub(super) fn is_used_by_another(
    connection: &Connection,
    merchant: &MerchantName,
    jti: Jti,
    reqh: Digest,
) -> rusqlite::Result<bool> {
    let used: Option<[u8; 32]> = connection
        .prepare_cached("SELECT reqh FROM operation WHERE merchant = ?1 AND jti = ?2")?
        .query_row((merchant.as_str(), jti.as_bytes()), |row| row.get(0))
        .optional()?;
    Ok(used.is_some_and(|used| &used != reqh.as_bytes()))
}

/// The receipts of what was done after the decision, oldest first.
pub(super) fn after_decision(
    connection: &Connection,
    xid: Xid,
) -> rusqlite::Result<Vec<ReceiptRecord>> {
    connection
        .prepare_cached(&format!(
            "{RECEIPT} WHERE operation.xid = ?1 AND action NOT IN ('authorization', 'batch')
             ORDER BY operation.evidence"
        ))?
        .query_map([xid.as_bytes()], receipt)?
        .collect()
}

/// The payer's cancellation of a transaction.
pub(super) fn cancellation(
    connection: &Connection,
    client: &ClientName,
    xid: Xid,
) -> rusqlite::Result<Option<ReceiptRecord>> {
    connection
        .prepare_cached(
            "SELECT client, xid, merchant, client_x5t, sid, nc, nm, dsh, reqh, currency, amount,
                 receipt_jti, at
             FROM cancellation WHERE client = ?1 AND xid = ?2",
        )?
        .query_row((client.as_str(), xid.as_bytes()), |row| {
            Ok(ReceiptRecord {
                action: Action::Cancellation,
                target: None,
                receipt_jti: Jti::from_bytes(row.get("receipt_jti")?),
                iat: Timestamp(unsigned(row, "at")?),
                merchant: parsed(row, "merchant")?,
                signed: signed_by_payer(row)?,
                reqh: Digest::from_bytes(row.get("reqh")?),
                code: Code::Approved,
                amount: amount(row)?,
                totals: Totals::default(),
                authorization: None,
                capture_before: None,
            })
        })
        .optional()
}

fn payment(row: &Row<'_>) -> rusqlite::Result<PaymentRecord> {
    let decision = receipt(row)?;
    let totals = Totals {
        authorized: decision.totals.authorized,
        captured: unsigned(row, "captured_now")?,
        reversed: unsigned(row, "reversed_now")?,
        refunded: unsigned(row, "refunded_now")?,
    };
    let held = unsigned(row, "held")?;
    let payment = decision
        .capture_before
        .map(|end| Payment::stored(totals, held, end).ok_or_else(|| strange("held")))
        .transpose()?;
    Ok(PaymentRecord {
        decision,
        payment,
        last_four: row.get("last_four")?,
    })
}

fn receipt(row: &Row<'_>) -> rusqlite::Result<ReceiptRecord> {
    let code: String = row.get("code")?;
    Ok(ReceiptRecord {
        action: action(row)?,
        target: row
            .get::<_, Option<[u8; 16]>>("target")?
            .map(Jti::from_bytes),
        receipt_jti: Jti::from_bytes(row.get("receipt_jti")?),
        iat: Timestamp(unsigned(row, "at")?),
        merchant: parsed(row, "merchant")?,
        signed: signed_by_payer(row)?,
        reqh: Digest::from_bytes(row.get("reqh")?),
        code: Code::from_digits(&code).ok_or_else(|| strange("code"))?,
        amount: amount(row)?,
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
    })
}

fn signed_by_payer(row: &Row<'_>) -> rusqlite::Result<SignedByPayer> {
    Ok(SignedByPayer {
        xid: Xid::from_bytes(row.get("xid")?),
        client: parsed(row, "client")?,
        client_x5t: Digest::from_bytes(row.get("client_x5t")?),
        sid: Sid::from_bytes(row.get("sid")?),
        nc: ClientNonce::from_bytes(row.get("nc")?),
        nm: MerchantNonce::from_bytes(row.get("nm")?),
        dsh: Digest::from_bytes(row.get("dsh")?),
    })
}

fn amount(row: &Row<'_>) -> rusqlite::Result<Amount> {
    Amount::new(unsigned(row, "amount")?, parsed(row, "currency")?).map_err(|_| strange("amount"))
}

fn action(row: &Row<'_>) -> rusqlite::Result<Action> {
    Action::from_word(&row.get::<_, String>("action")?).ok_or_else(|| strange("action"))
}

/// An operation as it is inserted: a receipt, with what it leaves to be undone and the batch it is in.
pub(super) struct NewOperation<'a> {
    pub(super) receipt: &'a ReceiptRecord,
    pub(super) jti: Jti,
    pub(super) net: u64,
    pub(super) batch: Option<i64>,
    pub(super) evidence: &'a Evidence,
}

pub(super) fn insert_operation(
    connection: &Connection,
    operation: &NewOperation<'_>,
) -> rusqlite::Result<()> {
    let receipt = operation.receipt;
    let evidence = insert_evidence(connection, operation.evidence)?;
    connection
        .prepare_cached(
            "INSERT INTO operation (merchant, jti, action, xid, reqh, target, amount, authorized,
                 captured, reversed, refunded, net, batch, receipt_jti, at, evidence)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(rusqlite::params![
            receipt.merchant.as_str(),
            operation.jti.as_bytes(),
            receipt.action.as_str(),
            receipt.signed.xid.as_bytes(),
            receipt.reqh.as_bytes(),
            receipt.target.as_ref().map(|target| target.as_bytes()),
            signed(receipt.amount.value())?,
            signed(receipt.totals.authorized)?,
            signed(receipt.totals.captured)?,
            signed(receipt.totals.reversed)?,
            signed(receipt.totals.refunded)?,
            signed(operation.net)?,
            operation.batch,
            receipt.receipt_jti.as_bytes(),
            signed(receipt.iat.0)?,
            evidence,
        ])?;
    Ok(())
}

/// Keeps what was asked for, and tells where.
pub(super) fn insert_evidence(
    connection: &Connection,
    evidence: &Evidence,
) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO evidence (request, dual_signature, payment_information)
             VALUES (?1, ?2, ?3)",
        )?
        .execute((
            &evidence.request,
            &evidence.dual_signature,
            &evidence.payment_information,
        ))?;
    Ok(connection.last_insert_rowid())
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
