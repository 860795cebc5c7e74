//! Money: whole minor units of an ISO 4217 currency, never a float, never a bare integer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::schema;

/// An ISO 4217 currency that has minor units (possibly none, as the won).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

/// A text that is not the alpha-3 code of a currency in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the ISO 4217 alpha-3 code of a currency in use")]
pub struct NotACurrency;

impl Currency {
    /// How many decimal digits the minor unit has: KRW 0, USD 2, KWD 3.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// The alpha-3 code.
    pub fn code(self) -> &'static str {
        self.0.code()
    }
}

impl FromStr for Currency {
    type Err = NotACurrency;
    fn from_str(code: &str) -> Result<Self, NotACurrency> {
        iso_currency::Currency::from_code(code)
            // Metals, funds and test codes have no minor unit.
            .filter(|currency| currency.exponent().is_some() && currency.code() == code)
            .map(Self)
            .ok_or(NotACurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl PartialSchema for Currency {
    fn schema() -> RefOr<Schema> {
        schema::text(
            "^[A-Z]{3}$",
            "The ISO 4217 alpha-3 code of a currency in use that has minor units.",
        )
        .into()
    }
}

impl ToSchema for Currency {}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        code.parse().map_err(D::Error::custom)
    }
}

/// A number of minor units outside 1..10^12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an amount between 1 and 1000000000000 minor units")]
pub struct NotAnAmount;

/// An amount of money to pay: 1 to 10^12 minor units.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "AmountMembers")]
pub struct Amount {
    value: u64,
    currency: Currency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AmountMembers {
    value: u64,
    currency: Currency,
}

impl TryFrom<AmountMembers> for Amount {
    type Error = NotAnAmount;
    fn try_from(members: AmountMembers) -> Result<Self, NotAnAmount> {
        Self::new(members.value, members.currency)
    }
}

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        let value = schema::integer(1, AMOUNT_VALUE_MAX, "Minor units of the currency.");
        schema::object(
            [
                ("value", value.into()),
                ("currency", schema::reference::<Currency>()),
            ],
            "An amount of money to pay.",
        )
        .into()
    }
}

impl ToSchema for Amount {
    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        schema::components::<Currency>(found);
    }
}

/// The largest amount, in minor units.
pub const AMOUNT_VALUE_MAX: u64 = 1_000_000_000_000;

/// A text that is no amount of the currency, as people write one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// Something else than digits with at most one point between them.
    #[error("not written like {like}: digits, and a point where there are parts", like = example(*.0))]
    Form(Currency),
    /// More digits after the point than the currency has.
    #[error("{0} has at most {digits} digits after the point", digits = .0.exponent())]
    TooFine(Currency),
    /// Zero, or more than can be paid.
    #[error("not above zero and at most {max}", max = written(AMOUNT_VALUE_MAX, *.0))]
    OutOfBounds(Currency),
}

/// An amount without its currency's code: `12.50`, `1250`, `1.250`.
fn example(currency: Currency) -> String {
    let shown = written(1250, currency);
    shown.split(' ').next().unwrap_or_default().to_owned()
}

impl Amount {
    /// Takes minor units.
    ///
    /// # Errors
    /// When the value is not within 1..10^12.
    pub fn new(value: u64, currency: Currency) -> Result<Self, NotAnAmount> {
        if (1..=AMOUNT_VALUE_MAX).contains(&value) {
            Ok(Self { value, currency })
        } else {
            Err(NotAnAmount)
        }
    }

    /// Reads what people write, by the currency's own digits: `12.50` or `12.5` euros, `1250` won. Signs,
    /// commas, spaces, exponents and a currency's code are refused.
    ///
    /// # Errors
    /// Another form, more digits after the point than the currency has, zero, or above 10^12 minor units.
    pub fn read(text: &str, currency: Currency) -> Result<Self, NotWritten> {
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (whole, part) = match text.split_once('.') {
            Some((whole, part)) if is_digits(part) => (whole, part),
            Some(_) => return Err(NotWritten::Form(currency)),
            None => (text, ""),
        };
        if !is_digits(whole) {
            return Err(NotWritten::Form(currency));
        }
        let exponent = currency.exponent() as usize;
        if part.len() > exponent {
            return Err(NotWritten::TooFine(currency));
        }
        // All digits of the minor units: none is ever a fraction.
        format!("{whole}{part:0<exponent$}")
            .parse()
            .ok()
            .and_then(|value| Self::new(value, currency).ok())
            .ok_or(NotWritten::OutOfBounds(currency))
    }

    /// Minor units.
    pub const fn value(self) -> u64 {
        self.value
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }
}

/// As people write it: `12.50 USD`, `12500 KRW`, `1.250 KWD`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(self.value, self.currency))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes any number of minor units as people do; also zero, which is no [`Amount`].
pub fn written(value: u64, currency: Currency) -> String {
    let exponent = currency.exponent();
    if exponent == 0 {
        return format!("{value} {currency}");
    }
    let unit = 10u64.pow(exponent);
    format!(
        "{}.{:0width$} {currency}",
        value / unit,
        value % unit,
        width = exponent as usize
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(value: u64, code: &str) -> Amount {
        Amount::new(value, code.parse().unwrap()).unwrap()
    }

    #[test]
    fn money_is_shown_with_the_currency_s_own_digits() {
        assert_eq!(amount(1250, "USD").to_string(), "12.50 USD");
        assert_eq!(amount(5, "EUR").to_string(), "0.05 EUR");
        assert_eq!(amount(12500, "KRW").to_string(), "12500 KRW");
        assert_eq!(amount(1250, "KWD").to_string(), "1.250 KWD");
    }

    #[test]
    fn what_people_write_is_read_exactly_by_the_currency_s_digits() {
        let read = |text: &str, code: &str| {
            Amount::read(text, code.parse().unwrap()).map(|amount| amount.value())
        };
        assert_eq!(read("12.50", "EUR"), Ok(1250));
        assert_eq!(read("12.5", "EUR"), Ok(1250));
        assert_eq!(read("12", "EUR"), Ok(1200));
        assert_eq!(read("0.05", "EUR"), Ok(5));
        assert_eq!(read("1250", "KRW"), Ok(1250));
        assert_eq!(read("1.25", "KWD"), Ok(1250));
        // A float would make 1014 or 1016 of some such text.
        assert_eq!(read("10.15", "EUR"), Ok(1015));
        assert_eq!(read("10000000000.00", "EUR"), Ok(AMOUNT_VALUE_MAX));
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reason() {
        let eur: Currency = "EUR".parse().unwrap();
        let krw = "KRW".parse().unwrap();
        for bad in [
            "",
            ".",
            "12.",
            ".5",
            "-1",
            "+1",
            "1,50",
            "1 000",
            "1'000.00",
            "1e2",
            "0x1",
            "12.5.0",
            "12.50 EUR",
            "١٢",
        ] {
            assert_eq!(Amount::read(bad, eur), Err(NotWritten::Form(eur)), "{bad}");
        }
        assert_eq!(Amount::read("12.505", eur), Err(NotWritten::TooFine(eur)));
        assert_eq!(Amount::read("12.0", krw), Err(NotWritten::TooFine(krw)));
        for bad in ["0", "0.00", "10000000000.01", "99999999999999999999999"] {
            assert_eq!(
                Amount::read(bad, eur),
                Err(NotWritten::OutOfBounds(eur)),
                "{bad}"
            );
        }
        let said = NotWritten::Form(eur).to_string();
        assert!(said.contains("12.50"), "{said}");
    }

    #[test]
    fn zero_and_more_than_a_trillion_are_no_amounts() {
        let usd = "USD".parse().unwrap();
        assert!(Amount::new(0, usd).is_err());
        assert!(Amount::new(AMOUNT_VALUE_MAX, usd).is_ok());
        assert!(Amount::new(AMOUNT_VALUE_MAX + 1, usd).is_err());
    }

    #[test]
    fn other_codes_are_no_currencies() {
        for bad in ["usd", "US", "XAU", "XXX", "ABC", ""] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_amount_has_exactly_two_members() {
        let read = |text: &str| serde_json::from_str::<Amount>(text).is_ok();
        assert!(read(r#"{"value":1,"currency":"USD"}"#));
        assert!(!read(r#"{"value":1.0,"currency":"USD"}"#));
        assert!(!read(r#"{"value":-1,"currency":"USD"}"#));
        assert!(!read(r#"{"value":1,"currency":"USD","exponent":3}"#));
    }
}
