//! `POST /webhooks`: what the gateway tells without being asked. It says where to look; what it is about is proven by
//! receipts, and nothing is booked because of it.

use protocol::{
    identifiers::Xid,
    notice::{self, Happened},
    problem::{Problem, Refusal},
    webhook::{Authentic, Headers},
};

use crate::{
    merchant::{Merchant, store_refusal},
    store::NoticeRecord,
};

/// The longest name of a type that is kept.
const KIND_CHARACTERS_MAX: usize = 64;

/// Keeps a notice, once.
pub(crate) async fn notice(
    merchant: &Merchant,
    headers: Headers<'_>,
    body: &[u8],
) -> Result<(), Refusal> {
    let now = merchant.now();
    let authentic = Authentic::check(headers, body, &merchant.webhook_secrets, now)?;
    let notice = notice::read(authentic.body())?;
    let text = std::str::from_utf8(authentic.body())
        .map_err(|error| Refusal::new(Problem::Malformed, error.to_string()))?;
    if notice.kind.len() > KIND_CHARACTERS_MAX {
        return Err(Refusal::new(
            Problem::Malformed,
            "a notice's type of another form",
        ));
    }
    let xid = match &notice.happened {
        Some(Happened::PaymentExpired(expired)) => Some(expired.xid),
        Some(Happened::PaymentCancelled(cancelled)) => Some(cancelled.xid),
        Some(Happened::BatchClosed(_)) | None => None,
    };
    let id = authentic.id();
    let is_new = merchant
        .store
        .add_notice(NoticeRecord {
            id: id.to_owned(),
            kind: notice.kind.clone(),
            happened_at: notice.at,
            received_at: now,
            xid,
            body: text.to_owned(),
        })
        .await
        .map_err(store_refusal)?;
    let xid = xid.as_ref().map(Xid::to_string);
    let kind = &notice.kind;
    if !is_new {
        tracing::info!(event = id, kind, xid, "told again");
    } else if notice.happened.is_none() {
        tracing::warn!(event = id, kind, "told of a type that is not known here");
    } else {
        tracing::info!(event = id, kind, xid, "told");
    }
    Ok(())
}
