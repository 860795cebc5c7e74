//! PI, the payment information: for the gateway only. Nothing here has a Debug, and what can be
//! wiped is wiped.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap as _,
};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, schema::OneOfBuilder},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{identifiers::Xid, names::MerchantName, schema, sd_jwt::DisclosedClaim};

/// A primary account number: 12 to 19 digits (ISO/IEC 7812-1). Only the gateway's look-up and the
/// payer's terminal read it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Pan(String);

/// A text that is no card number, expiry or account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnInstrument {
    /// Not 12 to 19 digits.
    #[error("not a card number of 12 to 19 digits")]
    Pan,
    /// Not `YYYY-MM`.
    #[error("not an expiry of the form YYYY-MM")]
    Expiry,
    /// Not 1 to 34 of A-Z0-9.
    #[error("not an account of 1 to 34 letters A-Z and digits")]
    Account,
}

impl Pan {
    /// Takes 12 to 19 digits.
    ///
    /// # Errors
    /// For anything else.
    pub fn new(digits: &str) -> Result<Self, NotAnInstrument> {
        let is_pan =
            (12..=19).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_pan
            .then(|| Self(digits.to_owned()))
            .ok_or(NotAnInstrument::Pan)
    }

    /// The last four digits, which may be shown and kept.
    pub fn last_four(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }
}

/// The month after which a card is no longer good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Zeroize)]
pub struct Expiry {
    year: u16,
    month: u8,
}

impl Expiry {
    /// Takes `YYYY-MM`.
    ///
    /// # Errors
    /// For anything else.
    pub fn new(text: &str) -> Result<Self, NotAnInstrument> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (year, month) = text
            .split_once('-')
            .filter(|(year, month)| {
                year.len() == 4 && month.len() == 2 && digits(year) && digits(month)
            })
            .ok_or(NotAnInstrument::Expiry)?;
        let year = year.parse().map_err(|_| NotAnInstrument::Expiry)?;
        let month = month.parse().map_err(|_| NotAnInstrument::Expiry)?;
        if !(1..=12).contains(&month) {
            return Err(NotAnInstrument::Expiry);
        }
        Ok(Self { year, month })
    }

    /// The year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    pub const fn month(self) -> u8 {
        self.month
    }
}

impl std::fmt::Display for Expiry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// A bank account: 1 to 34 of A-Z0-9 (an IBAN's bounds, ISO 13616).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Account(String);

impl Account {
    /// Takes the letters and digits.
    ///
    /// # Errors
    /// For anything else.
    pub fn new(text: &str) -> Result<Self, NotAnInstrument> {
        let is_account = (1..=34).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        is_account
            .then(|| Self(text.to_owned()))
            .ok_or(NotAnInstrument::Account)
    }

    /// The last four characters, which may be shown and kept.
    pub fn last_four(&self) -> &str {
        &self.0[self.0.len().saturating_sub(4)..]
    }
}

/// What is paid with.
#[derive(Clone, PartialEq, Eq)]
pub enum Instrument {
    /// A card.
    Card {
        /// Its number.
        pan: Pan,
        /// Its last month.
        expiry: Expiry,
    },
    /// A bank account.
    Account {
        /// Its number.
        account: Account,
    },
}

impl Instrument {
    /// What an instrument is looked up by: its kind and number. Only a keyed hash of it may be kept.
    pub fn look_up_bytes(&self) -> Zeroizing<Vec<u8>> {
        let (kind, number) = match self {
            Instrument::Card { pan, .. } => ("card:", &pan.0),
            Instrument::Account { account } => ("account:", &account.0),
        };
        Zeroizing::new([kind.as_bytes(), number.as_bytes()].concat())
    }

    /// The last four characters of its number, which may be shown and kept.
    pub fn last_four(&self) -> &str {
        match self {
            Instrument::Card { pan, .. } => pan.last_four(),
            Instrument::Account { account } => account.last_four(),
        }
    }

    /// A card's last month.
    pub fn expiry(&self) -> Option<Expiry> {
        match self {
            Instrument::Card { expiry, .. } => Some(*expiry),
            Instrument::Account { .. } => None,
        }
    }
}

impl PartialSchema for Instrument {
    fn schema() -> RefOr<Schema> {
        let kind = |name| schema::one_of([name], "Which kind of instrument.").into();
        let card = schema::object(
            [
                ("type", kind("card")),
                ("pan", schema::text("^[0-9]{12,19}$", "Its number.").into()),
                (
                    "expiry",
                    schema::text("^[0-9]{4}-(0[1-9]|1[0-2])$", "Its last month.").into(),
                ),
            ],
            "A card.",
        );
        let account = schema::object(
            [
                ("type", kind("account")),
                (
                    "account",
                    schema::text("^[A-Z0-9]{1,34}$", "Its number.").into(),
                ),
            ],
            "A bank account.",
        );
        let either = OneOfBuilder::new()
            .item(card)
            .item(account)
            .description(Some("What is paid with."));
        Schema::from(either).into()
    }
}

impl ToSchema for Instrument {}

impl Serialize for Instrument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        match self {
            Instrument::Card { pan, expiry } => {
                members.serialize_entry("type", "card")?;
                members.serialize_entry("pan", &pan.0)?;
                members.serialize_entry("expiry", &expiry.to_string())?;
            }
            Instrument::Account { account } => {
                members.serialize_entry("type", "account")?;
                members.serialize_entry("account", &account.0)?;
            }
        }
        members.end()
    }
}

/// The members as they come; serde's own tagged enums would copy them to memory that nobody wipes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstrumentMembers {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default, deserialize_with = "given")]
    pan: Option<Pan>,
    #[serde(default, deserialize_with = "given")]
    expiry: Option<Expiry>,
    #[serde(default, deserialize_with = "given")]
    account: Option<Account>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Card,
    Account,
}

/// A member that, if it is there, is not null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The text of a number that is wiped once it was read.
fn wiped_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl<'de> Deserialize<'de> for Pan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&wiped_text(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&wiped_text(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&wiped_text(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Instrument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = InstrumentMembers::deserialize(deserializer)?;
        match (members.kind, members.pan, members.expiry, members.account) {
            (Kind::Card, Some(pan), Some(expiry), None) => Ok(Self::Card { pan, expiry }),
            (Kind::Account, None, None, Some(account)) => Ok(Self::Account { account }),
            _ => Err(D::Error::custom("members of another type of instrument")),
        }
    }
}

/// What the gateway needs to know, and nobody else. It names its own transaction, so that it can't
/// be moved to another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentInformation {
    /// The transaction.
    pub xid: Xid,
    /// Whom it pays.
    pub merchant: MerchantName,
    /// What it pays with.
    pub instrument: Instrument,
}

impl DisclosedClaim for PaymentInformation {
    const NAME: &'static str = "pi";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(text: &str) -> bool {
        serde_json::from_str::<Instrument>(text).is_ok()
    }

    #[test]
    fn an_instrument_is_a_card_or_an_account_with_exactly_its_members() {
        assert!(reads(
            r#"{"type":"card","pan":"4111111111111111","expiry":"2031-12"}"#
        ));
        assert!(reads(
            r#"{"type":"account","account":"DE02120300000000202051"}"#
        ));
        for bad in [
            r#"{"type":"card","pan":"4111111111111111"}"#,
            r#"{"type":"card","pan":"41111111111","expiry":"2031-12"}"#,
            r#"{"type":"card","pan":"4111 1111 1111 1111","expiry":"2031-12"}"#,
            r#"{"type":"card","pan":"4111111111111111","expiry":"2031-13"}"#,
            r#"{"type":"card","pan":"4111111111111111","expiry":"2031-1"}"#,
            r#"{"type":"card","pan":"4111111111111111","expiry":"2031-12","account":"A"}"#,
            r#"{"type":"account","account":"de02"}"#,
            r#"{"type":"account","account":""}"#,
            r#"{"type":"cash"}"#,
        ] {
            assert!(!reads(bad), "{bad}");
        }
    }

    #[test]
    fn an_instrument_survives_its_text_form() {
        let card = Instrument::Card {
            pan: Pan::new("4111111111111111").unwrap(),
            expiry: Expiry::new("2031-02").unwrap(),
        };
        let text = serde_json::to_string(&card).unwrap();
        assert!(serde_json::from_str::<Instrument>(&text).unwrap() == card);
        assert_eq!(card.last_four(), "1111");
    }
}
