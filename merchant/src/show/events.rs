//! What the gateway told without being asked.

use std::error::Error;

use protocol::notice::{BatchSettled, Happened, PaymentCancelled, PaymentExpired};
use serde_json::{Value, json};

use super::{field, print, print_json, printable};
use crate::{
    exit::Exit,
    store::{NoticeRecord, PurchaseRecord, Store, StoreError},
};

pub(super) async fn list(store: &Store, as_json: bool) -> Result<Exit, Box<dyn Error>> {
    let notices = store.notices().await?;
    if as_json {
        let objects: Result<Vec<_>, _> = notices.iter().map(object).collect();
        print_json(&objects?)?;
        return Ok(Exit::Done);
    }
    print(&row("WHEN", "TYPE", "WHAT"));
    for record in &notices {
        let what = match record.notice()?.happened {
            Some(Happened::PaymentExpired(PaymentExpired { xid, released, .. })) => {
                format!("{xid}, {released} released")
            }
            Some(Happened::PaymentCancelled(PaymentCancelled { xid, amount, .. })) => {
                format!("{xid}, {amount} withdrawn by its payer")
            }
            Some(Happened::BatchClosed(BatchSettled {
                batch, currency, ..
            })) => {
                format!("{batch}, {currency}")
            }
            None => "not known to this version".to_owned(),
        };
        print(&row(
            &record.happened_at.to_string(),
            &printable(&record.kind),
            &what,
        ));
    }
    Ok(Exit::Done)
}

fn row(when: &str, kind: &str, what: &str) -> String {
    format!("{when:<24} {kind:<18} {what}")
}

/// A notice for scripts.
pub(super) fn object(record: &NoticeRecord) -> Result<Value, StoreError> {
    let body: Value =
        serde_json::from_str(&record.body).map_err(|_| StoreError::Strange("a notice"))?;
    Ok(json!({
        "id": record.id,
        "type": record.kind,
        "happened_at": record.happened_at,
        "received_at": record.received_at,
        "data": body["data"],
    }))
}

/// Those notices that are about this purchase: anybody can withdraw a purchase of its own with the same `xid`.
pub(super) async fn of(
    store: &Store,
    purchase: &PurchaseRecord,
) -> Result<Vec<NoticeRecord>, StoreError> {
    let mut of_purchase = Vec::new();
    for record in store.notices_of(purchase.xid).await? {
        let is_its = match record.notice()?.happened {
            Some(Happened::PaymentCancelled(cancelled)) => cancelled.client == purchase.client,
            Some(Happened::PaymentExpired(_)) => true,
            _ => false,
        };
        if is_its {
            of_purchase.push(record);
        }
    }
    Ok(of_purchase)
}

/// What they say, a line for each.
pub(super) fn print_notices(notices: &[NoticeRecord]) -> Result<(), StoreError> {
    for record in notices {
        let when = record.happened_at;
        match record.notice()?.happened {
            Some(Happened::PaymentExpired(expired)) => field(
                "expired",
                format!("{when}, {} released, the gateway told", expired.released),
            ),
            Some(Happened::PaymentCancelled(_)) => field(
                "withdrawn",
                format!("{when} by its payer, the gateway told"),
            ),
            _ => {}
        }
    }
    Ok(())
}
