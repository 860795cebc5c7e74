//! What a merchant is told without asking: that a hold ended, that a payer withdrew a purchase, that a batch was
//! closed. A notice says where to look; what can be proven is in receipts.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    identifiers::{Digest, EventId, Jti, Xid},
    json,
    lifecycle::BatchTotals,
    money::{Amount, Currency},
    names::{ClientName, MerchantName},
    problem::{Problem, Refusal},
    receipt::Totals,
    time::Timestamp,
};

/// What was held and not captured was released at `capture_before`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentExpired {
    /// The payment.
    pub xid: Xid,
    /// What went back to the payer.
    pub released: Amount,
    /// What the payment has come to.
    pub totals: Totals,
}

/// A payer withdrew a purchase before it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCancelled {
    /// The purchase.
    pub xid: Xid,
    /// Who withdrew it: nobody else's purchase of this `xid` is meant.
    pub client: ClientName,
    /// What was signed.
    pub amount: Amount,
}

/// A batch was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSettled {
    /// The `jti` that closed it.
    pub batch: Jti,
    /// Its currency.
    pub currency: Currency,
    /// What it came to.
    pub totals: BatchTotals,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// `payment.expired`
    PaymentExpired(PaymentExpired),
    /// `payment.cancelled`
    PaymentCancelled(PaymentCancelled),
    /// `batch.closed`
    BatchClosed(BatchSettled),
}

impl Happened {
    /// Its type's name.
    pub const fn kind(&self) -> &'static str {
        match self {
            Happened::PaymentExpired(_) => "payment.expired",
            Happened::PaymentCancelled(_) => "payment.cancelled",
            Happened::BatchClosed(_) => "batch.closed",
        }
    }

    /// What it is about: a transaction, or a batch.
    pub fn subject(&self) -> [u8; 16] {
        match self {
            Happened::PaymentExpired(expired) => *expired.xid.as_bytes(),
            Happened::PaymentCancelled(cancelled) => *cancelled.xid.as_bytes(),
            Happened::BatchClosed(batch) => *batch.batch.as_bytes(),
        }
    }

    /// What it is called. Each of these happens once, so its id is made of what it is: whoever writes it down a second
    /// time writes the same.
    pub fn id(&self, merchant: &MerchantName) -> EventId {
        let mut named = format!("{} {merchant} ", self.kind()).into_bytes();
        named.extend(self.subject());
        if let Happened::PaymentCancelled(cancelled) = self {
            named.extend(cancelled.client.as_str().as_bytes());
        }
        let digest = Digest::of(&named);
        let (id, _) = digest
            .as_bytes()
            .split_first_chunk()
            .unwrap_or((&[0; EventId::BYTES], &[]));
        EventId::from_bytes(*id)
    }
}

/// A notice's members, in this order.
#[derive(Serialize, Deserialize)]
struct Written<K, D> {
    r#type: K,
    timestamp: String,
    data: D,
}

/// Writes a notice: the body of a webhook, byte for byte as it is signed and sent.
///
/// # Errors
/// `internal`, when it can't be written.
pub fn write(happened: &Happened, at: Timestamp) -> Result<String, Refusal> {
    fn written<D: Serialize>(kind: &str, at: Timestamp, data: &D) -> serde_json::Result<String> {
        serde_json::to_string(&Written {
            r#type: kind,
            timestamp: at.to_rfc3339(),
            data,
        })
    }
    let kind = happened.kind();
    match happened {
        Happened::PaymentExpired(data) => written(kind, at, data),
        Happened::PaymentCancelled(data) => written(kind, at, data),
        Happened::BatchClosed(data) => written(kind, at, data),
    }
    .map_err(|error| Refusal::new(Problem::Internal, error.to_string()))
}

/// A notice as a receiver reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its type's name.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// What happened; `None` for a type that this version does not know.
    pub happened: Option<Happened>,
}

/// Reads a notice whose sender was authenticated. Unlike in messages, members that are not known are passed over, and a
/// type that is not known is none of the receiver's business: a newer gateway may tell more.
///
/// # Errors
/// `malformed`.
pub fn read(body: &[u8]) -> Result<Notice, Refusal> {
    fn known<T: DeserializeOwned>(data: Value) -> Result<T, Refusal> {
        serde_json::from_value(data)
            .map_err(|error| Refusal::new(Problem::Malformed, error.to_string()))
    }
    let written: Written<String, Value> = json::read(body)?;
    let at = Timestamp::from_rfc3339(&written.timestamp)
        .ok_or_else(|| Refusal::new(Problem::Malformed, "a notice's time of another form"))?;
    let happened = match written.r#type.as_str() {
        "payment.expired" => Some(Happened::PaymentExpired(known(written.data)?)),
        "payment.cancelled" => Some(Happened::PaymentCancelled(known(written.data)?)),
        "batch.closed" => Some(Happened::BatchClosed(known(written.data)?)),
        _ => None,
    };
    Ok(Notice {
        kind: written.r#type,
        at,
        happened,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_800_000_022);

    fn euros(value: u64) -> Amount {
        Amount::new(value, "EUR".parse().unwrap()).unwrap()
    }

    fn expired() -> Happened {
        Happened::PaymentExpired(PaymentExpired {
            xid: Xid::from_bytes([7; 16]),
            released: euros(900),
            totals: Totals {
                authorized: 1250,
                captured: 350,
                ..Totals::default()
            },
        })
    }

    fn cancelled(client: &str) -> Happened {
        Happened::PaymentCancelled(PaymentCancelled {
            xid: Xid::from_bytes([7; 16]),
            client: ClientName::new(client).unwrap(),
            amount: euros(1250),
        })
    }

    fn closed() -> Happened {
        Happened::BatchClosed(BatchSettled {
            batch: Jti::from_bytes([7; 16]),
            currency: "EUR".parse().unwrap(),
            totals: BatchTotals::default(),
        })
    }

    #[test]
    fn a_notice_is_read_as_it_was_written() {
        for happened in [expired(), cancelled("payer"), closed()] {
            let body = write(&happened, AT).unwrap();
            let notice = read(body.as_bytes()).unwrap();
            assert_eq!(notice.kind, happened.kind());
            assert_eq!(notice.at, AT);
            assert_eq!(notice.happened, Some(happened));
        }
        assert_eq!(
            write(&expired(), AT).unwrap(),
            concat!(
                r#"{"type":"payment.expired","timestamp":"2027-01-15T08:00:22Z","data":"#,
                r#"{"xid":"BwcHBwcHBwcHBwcHBwcHBw","released":{"value":900,"currency":"EUR"},"#,
                r#""totals":{"authorized":1250,"captured":350,"reversed":0,"refunded":0}}}"#
            )
        );
    }

    #[test]
    fn what_a_newer_gateway_tells_is_no_error_and_what_is_damaged_is() {
        let unknown =
            br#"{"type":"payment.sung","timestamp":"2027-01-15T08:00:22Z","data":{"x":1}}"#;
        let notice = read(unknown).unwrap();
        assert_eq!(
            (notice.kind.as_str(), notice.happened),
            ("payment.sung", None)
        );
        let more = write(&expired(), AT).unwrap().replacen(
            "\"data\":{",
            "\"more\":1,\"data\":{\"more\":1,",
            1,
        );
        assert_eq!(read(more.as_bytes()).unwrap().happened, Some(expired()));
        for damaged in [
            "",
            "{}",
            "[]",
            r#"{"type":"payment.sung","timestamp":"yesterday","data":{}}"#,
            r#"{"type":"payment.expired","timestamp":"2027-01-15T08:00:22Z","data":{}}"#,
            r#"{"type":"a","type":"b","timestamp":"2027-01-15T08:00:22Z","data":{}}"#,
        ] {
            let refusal = read(damaged.as_bytes()).unwrap_err();
            assert_eq!(refusal.problem, Problem::Malformed, "{damaged}");
        }
    }

    #[test]
    fn what_happened_has_one_id_and_something_else_another() {
        let (one, other) = (
            MerchantName::new("one").unwrap(),
            MerchantName::new("other").unwrap(),
        );
        let ids = [
            expired().id(&one),
            expired().id(&other),
            cancelled("payer").id(&one),
            cancelled("another").id(&one),
            closed().id(&one),
        ];
        for (position, id) in ids.iter().enumerate() {
            assert!(!ids[..position].contains(id));
        }
        assert_eq!(expired().id(&one), ids[0]);
    }
}
