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

use super::{NewPurchase, PurchaseRecord, PurchaseState, SessionRecord, StoreError};

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
            "SELECT claims, merchant_x5t, gateway_x5t, information FROM session
             JOIN shop_order ON shop_order.id = session.shop_order
             WHERE sid = ?1",
            [sid.as_bytes()],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, [u8; 32]>(1)?,
                    row.get::<_, [u8; 32]>(2)?,
                    row.get::<_, String>(3)?,
                ))
            },
        )
        .optional()?;
    row.map(|(claims, merchant_x5t, gateway_x5t, information)| {
        Ok(SessionRecord {
            session: from_json(&claims)?,
            merchant_x5t: Digest::from_bytes(merchant_x5t),
            gateway_x5t: Digest::from_bytes(gateway_x5t),
            order: from_json(&information)?,
        })
    })
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
        payment_information: row.get("payment_information")?,
        authorization_request: row.get("authorization_request")?,
        state: state(row)?,
    })
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
        "failed" => {
            let name: String = row.get("problem")?;
            Problem::ALL
                .into_iter()
                .find(|problem| problem.name() == name)
                .map(PurchaseState::Failed)
                .ok_or(StoreError::Strange("a problem's name"))
        }
        _ => Err(StoreError::Strange("a purchase's state")),
    }
}

/// Transactions, oldest first.
pub(super) fn xids(
    connection: &Connection,
    condition: &'static str,
) -> Result<Vec<Xid>, StoreError> {
    let mut statement = connection.prepare(&format!(
        "SELECT xid FROM purchase {condition} ORDER BY created_at"
    ))?;
    let xids = statement.query_map([], |row| Ok(Xid::from_bytes(row.get(0)?)))?;
    Ok(xids.collect::<Result<_, _>>()?)
}
