//! What is sold, and what an order of it comes to.

use std::path::{Path, PathBuf};

use protocol::{
    identifiers::OrderId,
    money::{Amount, Currency},
    order_information::{DELIVERY_BYTES_MAX, Item, OrderInformation, Quantity},
    problem::{Problem, Refusal},
};
use serde::{Deserialize, Serialize};

/// The most lines that an order may have, so that its disclosure stays below its limit.
const LINES_MAX: usize = 100;

/// What the shop sells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue {
    pub(crate) currency: Currency,
    #[serde(rename(deserialize = "item"))]
    pub(crate) items: Vec<CatalogueItem>,
}

/// One thing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CatalogueItem {
    pub(crate) sku: String,
    pub(crate) name: String,
    /// In minor units.
    pub(crate) unit_price: u64,
}

/// What a shopper asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    pub(crate) items: Vec<WishedItem>,
    #[serde(default)]
    pub(crate) delivery: Option<String>,
}

/// So many of one thing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WishedItem {
    pub(crate) sku: String,
    pub(crate) quantity: Quantity,
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogueError {
    #[error("can't read the catalogue {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is not a catalogue: {source}; catalogue.sample.toml explains it", path.display())]
    Invalid {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
}

impl Catalogue {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, CatalogueError> {
        let text = std::fs::read_to_string(path).map_err(|source| CatalogueError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| CatalogueError::Invalid {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Makes an order of a wish, at the catalogue's prices.
    ///
    /// # Errors
    /// `malformed` for nothing, too much, or something that is not sold.
    pub(crate) fn order(&self, wish: Wish, order: OrderId) -> Result<OrderInformation, Refusal> {
        let malformed = |detail| Refusal::new(Problem::Malformed, detail);
        if wish.items.is_empty() || wish.items.len() > LINES_MAX {
            return Err(malformed("an order has 1 to 100 lines"));
        }
        if wish
            .delivery
            .as_ref()
            .is_some_and(|delivery| delivery.len() > DELIVERY_BYTES_MAX)
        {
            return Err(malformed("delivery is too long"));
        }
        let mut items = Vec::new();
        let mut total: u64 = 0;
        for wished in wish.items {
            let sold = self
                .items
                .iter()
                .find(|item| item.sku == wished.sku)
                .ok_or_else(|| malformed("a sku that is not sold"))?;
            total = sold
                .unit_price
                .checked_mul(u64::from(wished.quantity.get()))
                .and_then(|price| total.checked_add(price))
                .ok_or_else(|| malformed("the order costs too much"))?;
            items.push(Item {
                sku: sold.sku.clone(),
                name: sold.name.clone(),
                quantity: wished.quantity,
                unit_price: sold.unit_price,
            });
        }
        let total = Amount::new(total, self.currency)
            .map_err(|_| malformed("the order costs nothing or too much"))?;
        Ok(OrderInformation {
            order,
            items,
            delivery: wish.delivery,
            total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(items: &str) -> Result<OrderInformation, Refusal> {
        let catalogue: Catalogue =
            toml::from_str(include_str!("../catalogue.sample.toml")).unwrap();
        let wish = serde_json::from_str(&format!(r#"{{"items":{items}}}"#)).unwrap();
        catalogue.order(wish, OrderId::random().unwrap())
    }

    #[test]
    fn an_order_costs_what_the_catalogue_says() {
        let order = order(r#"[{"sku":"book-1","quantity":2},{"sku":"book-2","quantity":1}]"#);
        assert_eq!(order.unwrap().total.to_string(), "33.99 EUR");
    }

    #[test]
    fn nothing_and_what_is_not_sold_are_refused() {
        assert!(order("[]").is_err());
        assert!(order(r#"[{"sku":"boat","quantity":1}]"#).is_err());
    }

    #[test]
    fn an_order_above_the_largest_amount_is_refused() {
        let line = r#"{"sku":"atlas","quantity":1000000}"#;
        assert!(order(&format!("[{}]", [line; 50].join(","))).is_err());
    }
}
