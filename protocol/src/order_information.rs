//! OI, the order information: for the merchant only.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    identifiers::OrderId,
    json,
    money::Amount,
    schema::{self, Integer},
    sd_jwt::DisclosedClaim,
};

/// The longest OI disclosure, in characters.
pub const DISCLOSURE_BYTES_MAX: usize = 32 * 1024;

/// The longest delivery note, in bytes.
pub const DELIVERY_BYTES_MAX: usize = 2048;

/// The most of one thing.
const QUANTITY_MAX: u32 = 1_000_000;

/// How many of one thing: 1 to 10^6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(u32);

/// A number that is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a quantity between 1 and 1000000")]
pub struct NotAQuantity;

impl Quantity {
    /// Takes a number.
    ///
    /// # Errors
    /// When it is not within 1..10^6.
    pub fn new(number: u64) -> Result<Self, NotAQuantity> {
        u32::try_from(number)
            .ok()
            .filter(|number| (1..=QUANTITY_MAX).contains(number))
            .map(Self)
            .ok_or(NotAQuantity)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl PartialSchema for Quantity {
    fn schema() -> RefOr<Schema> {
        schema::integer(1, QUANTITY_MAX.into(), "How many of one thing.").into()
    }
}

impl ToSchema for Quantity {}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The shop's own number for it.
    pub sku: String,
    /// What it is called.
    pub name: String,
    /// How many.
    pub quantity: Quantity,
    /// The price of one, in minor units of the total's currency; may be 0.
    #[schema(value_type = Integer)]
    pub unit_price: u64,
}

/// What is bought. The items need not add up to the total: taxes, delivery, discounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderInformation {
    /// The order in the merchant's books.
    pub order: OrderId,
    /// What is bought.
    pub items: Vec<Item>,
    /// Where to, at most 2,048 bytes.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "delivery"
    )]
    #[schema(nullable = false)]
    pub delivery: Option<String>,
    /// What it costs: the signed amount.
    pub total: Amount,
}

impl DisclosedClaim for OrderInformation {
    const NAME: &'static str = "oi";
}

fn delivery<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > DELIVERY_BYTES_MAX {
        return Err(D::Error::custom("delivery is too long"));
    }
    Ok(Some(text))
}

// A unit price is any integer that JSON keeps exact; the strict reader holds that bound.
const _: () = assert!(json::INTEGER_MAX >= crate::money::AMOUNT_VALUE_MAX);
