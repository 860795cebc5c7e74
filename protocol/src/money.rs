//! Money: whole minor units of an ISO 4217 currency, never a float, never a bare integer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

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

/// The largest amount, in minor units.
pub const AMOUNT_VALUE_MAX: u64 = 1_000_000_000_000;

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
