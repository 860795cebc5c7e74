//! Rows, to and from what they mean.

use protocol::{
    identifiers::{ClientNonce, Digest, MerchantNonce, OrderId, Sid, Xid},
    problem::Problem,
    purchase::PurchaseResponse,
    receipt::Decision,
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    NewPurchase, OrderRecord, OrderState, PurchaseRecord, PurchaseState, SessionRecord, StoreError,
};

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Strange("a value that is no JSON"))
}

pub(super) fn from_json<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Strange("JSON of another form"))
}

/// SQLite's integers are signed; the time of any clock is far below 2^63.
pub(super) fn seconds(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

pub(super) fn time(row: &Row<'_>, column: &'static str) -> Result<Timestamp, StoreError> {
    let seconds = row.get::<_, i64>(column)?.try_into();
    seconds
        .map(Timestamp)
        .map_err(|_| StoreError::Strange("a time"))
}

pub(super) fn state_of(decision: Decision) -> &'static str {
    match decision {
        Decision::Approved => "approved",
        Decision::Declined => "declined",
    }
}

pub(super) fn session(
    connection: &Connection,
    sid: Sid,
) -> Result<Option<SessionRecord>, StoreError> {
    let row = connection
        .query_row(
            "SELECT claims, merchant_x5t, gateway_x5t, response, information FROM session
             JOIN shop_order ON shop_order.id = session.shop_order
             WHERE sid = ?1",
            [sid.as_bytes()],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, [u8; 32]>(1)?,
                    row.get::<_, [u8; 32]>(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, String>(4)?,
                ))
            },
        )
        .optional()?;
    row.map(
        |(claims, merchant_x5t, gateway_x5t, response, information)| {
            Ok(SessionRecord {
                session: from_json(&claims)?,
                merchant_x5t: Digest::from_bytes(merchant_x5t),
                gateway_x5t: Digest::from_bytes(gateway_x5t),
                response,
                order: from_json(&information)?,
            })
        },
    )
    .transpose()
}

pub(super) fn insert_purchase(
    connection: &Connection,
    purchase: &NewPurchase,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO purchase (xid, sid, shop_order, client, client_x5t, nc, nm, dsh, pih, amount,
             dual_signature, order_disclosure, payment_information, authorization_request, state,
             created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 'pending', ?15)",
        rusqlite::params![
            purchase.xid.as_bytes(),
            purchase.sid.as_bytes(),
            purchase.order.as_bytes(),
            purchase.client.as_str(),
            purchase.client_x5t.as_bytes(),
            purchase.nc.as_bytes(),
            purchase.nm.as_bytes(),
            purchase.dsh.as_bytes(),
            purchase.pih.as_bytes(),
            to_json(&purchase.amount)?,
            purchase.dual_signature,
            purchase.order_disclosure,
            purchase.payment_information,
            purchase.authorization_request,
            seconds(purchase.now),
        ],
    )?;
    Ok(())
}

/// Whether a row was refused because one like it is there already. Every other broken constraint is a
/// fault of ours.
pub(super) fn is_not_unique(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
    error.sqlite_error().is_some_and(|error| {
        [SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE].contains(&error.extended_code)
    })
}

/// The purchase by one of its unique columns.
pub(super) fn purchase_where(
    connection: &Connection,
    column: &'static str,
    value: &[u8; 16],
) -> Result<Option<PurchaseRecord>, StoreError> {
    connection
        .query_row(
            &format!("SELECT * FROM purchase WHERE {column} = ?1"),
            [value],
            |row| Ok(purchase(row)),
        )
        .optional()?
        .transpose()
}

fn purchase(row: &Row<'_>) -> Result<PurchaseRecord, StoreError> {
    Ok(PurchaseRecord {
        xid: Xid::from_bytes(row.get("xid")?),
        sid: Sid::from_bytes(row.get("sid")?),
        order: OrderId::from_bytes(row.get("shop_order")?),
        client: row
            .get::<_, String>("client")?
            .parse()
            .map_err(|_| StoreError::Strange("a client's name"))?,
        client_x5t: Digest::from_bytes(row.get("client_x5t")?),
        nc: ClientNonce::from_bytes(row.get("nc")?),
        nm: MerchantNonce::from_bytes(row.get("nm")?),
        dsh: Digest::from_bytes(row.get("dsh")?),
        pih: Digest::from_bytes(row.get("pih")?),
        amount: from_json(&row.get::<_, String>("amount")?)?,
        dual_signature: row.get("dual_signature")?,
        order_disclosure: row.get("order_disclosure")?,
        payment_information: row.get("payment_information")?,
        authorization_request: row.get("authorization_request")?,
        state: state(row)?,
    })
}

/// Why something failed.
pub(super) fn problem(row: &Row<'_>) -> Result<Problem, StoreError> {
    let name: String = row.get("problem")?;
    Problem::ALL
        .into_iter()
        .find(|problem| problem.name() == name)
        .ok_or(StoreError::Strange("a problem's name"))
}

fn state(row: &Row<'_>) -> Result<PurchaseState, StoreError> {
    let decided = |decision| -> Result<PurchaseState, StoreError> {
        Ok(PurchaseState::Decided(
            decision,
            PurchaseResponse {
                purchase_response: row.get("purchase_response")?,
                receipt: row.get("receipt")?,
            },
        ))
    };
    match row.get::<_, String>("state")?.as_str() {
        "pending" => Ok(PurchaseState::Pending),
        "approved" => decided(Decision::Approved),
        "declined" => decided(Decision::Declined),
        "failed" => problem(row).map(PurchaseState::Failed),
        _ => Err(StoreError::Strange("a purchase's state")),
    }
}

/// The transactions without outcome, oldest first.
pub(super) fn pending(connection: &Connection) -> Result<Vec<Xid>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT xid FROM purchase WHERE state = 'pending' ORDER BY created_at")?;
    let xids = statement.query_map([], |row| Ok(Xid::from_bytes(row.get(0)?)))?;
    Ok(xids.collect::<Result<_, _>>()?)
}

/// All purchases, or those of one order; newest first.
pub(super) fn purchases(
    connection: &Connection,
    order: Option<OrderId>,
) -> Result<Vec<PurchaseRecord>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT * FROM purchase WHERE ?1 IS NULL OR shop_order = ?1 ORDER BY created_at DESC",
    )?;
    let rows = statement.query_map([order.as_ref().map(OrderId::as_bytes)], |row| {
        Ok(purchase(row))
    })?;
    rows.map(|row| row?).collect()
}

/// All orders, or one; newest first.
pub(super) fn orders(
    connection: &Connection,
    order: Option<OrderId>,
) -> Result<Vec<OrderRecord>, StoreError> {
    // At most one purchase of an order is pending or approved.
    let mut statement = connection.prepare(
        "SELECT information, shop_order.created_at AS placed_at, state FROM shop_order
         LEFT JOIN purchase
             ON purchase.shop_order = shop_order.id AND state IN ('pending', 'approved')
         WHERE ?1 IS NULL OR id = ?1
         ORDER BY placed_at DESC",
    )?;
    let rows = statement.query_map([order.as_ref().map(OrderId::as_bytes)], |row| {
        Ok(order_record(row))
    })?;
    rows.map(|row| row?).collect()
}

fn order_record(row: &Row<'_>) -> Result<OrderRecord, StoreError> {
    Ok(OrderRecord {
        information: from_json(&row.get::<_, String>("information")?)?,
        placed_at: time(row, "placed_at")?,
        state: match row.get::<_, Option<String>>("state")?.as_deref() {
            None => OrderState::Open,
            Some("pending") => OrderState::Pending,
            Some(_) => OrderState::Paid,
        },
    })
}
