//! What is sold, and what an order of it comes to.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use protocol::{
    identifiers::OrderId,
    money::{AMOUNT_VALUE_MAX, Amount, Currency},
    order_information::{
        DELIVERY_BYTES_MAX, DISCLOSURE_BYTES_MAX, Item, OrderInformation, Quantity,
    },
    problem::{Problem, Refusal},
    schema::{self, Integer},
};
use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, schema::ArrayBuilder},
};

/// The most lines that an order may have.
const LINES_MAX: usize = 100;

/// The longest order, as JSON: with salt and name, and in base64url, its disclosure then stays below
/// [`DISCLOSURE_BYTES_MAX`].
const ORDER_BYTES_MAX: usize = DISCLOSURE_BYTES_MAX / 4 * 3 - 128;

/// What the shop sells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue {
    pub(crate) currency: Currency,
    #[serde(rename(deserialize = "item"))]
    pub(crate) items: Vec<CatalogueItem>,
}

/// One thing.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CatalogueItem {
    /// The shop's own number for it.
    pub(crate) sku: String,
    /// What it is called.
    pub(crate) name: String,
    /// In minor units.
    #[schema(value_type = Integer)]
    pub(crate) unit_price: u64,
}

/// What a shopper asks for.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    /// What, and how many of each.
    #[schema(value_type = Lines)]
    pub(crate) items: Vec<WishedItem>,
    /// Where to, at most 2,048 bytes.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) delivery: Option<String>,
}

/// So many of one thing.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WishedItem {
    /// The shop's own number for it.
    pub(crate) sku: String,
    /// How many.
    pub(crate) quantity: Quantity,
}

/// The schema of an order's lines.
enum Lines {}

impl PartialSchema for Lines {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(schema::reference::<WishedItem>())
            .min_items(Some(1))
            .max_items(Some(LINES_MAX))
            .build()
            .into()
    }
}

impl ToSchema for Lines {
    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        schema::components::<WishedItem>(found);
    }
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogueError {
    #[error("can't read the catalogue {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{} is not a catalogue, near line {line}: {}; catalogue.sample.toml explains it",
        path.display(),
        source.message()
    )]
    Invalid {
        path: PathBuf,
        line: usize,
        source: Box<toml::de::Error>,
    },
    #[error("{} has the sku {sku} twice; give each thing its own", path.display())]
    Twice { path: PathBuf, sku: String },
    #[error("the unit_price of {sku} in {} is above any amount; correct it", path.display())]
    TooDear { path: PathBuf, sku: String },
}

impl Catalogue {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, CatalogueError> {
        let text = std::fs::read_to_string(path).map_err(|source| CatalogueError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let catalogue: Self = toml::from_str(&text).map_err(|source| CatalogueError::Invalid {
            path: path.to_owned(),
            line: source
                .span()
                .map_or(0, |span| text[..span.end].lines().count()),
            source: Box::new(source),
        })?;
        let mut skus = HashSet::new();
        for item in &catalogue.items {
            let (path, sku) = (path.to_owned(), item.sku.clone());
            if !skus.insert(&item.sku) {
                return Err(CatalogueError::Twice { path, sku });
            }
            if item.unit_price > AMOUNT_VALUE_MAX {
                return Err(CatalogueError::TooDear { path, sku });
            }
        }
        Ok(catalogue)
    }

    /// Makes an order of a wish, at the catalogue's prices.
    ///
    /// # Errors
    /// `malformed` for nothing, too much, or something that is not sold; `too-large` for an order that no
    /// purchase could carry.
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
        let order = OrderInformation {
            order,
            items,
            delivery: wish.delivery,
            total,
        };
        let bytes = serde_json::to_vec(&order)
            .map_err(|error| Refusal::new(Problem::Internal, error.to_string()))?;
        if bytes.len() > ORDER_BYTES_MAX {
            return Err(Refusal::new(
                Problem::TooLarge,
                "the order does not fit into an OI disclosure",
            ));
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use protocol::sd_jwt::Disclosure;

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

    #[test]
    fn a_total_that_no_integer_holds_is_refused() {
        let catalogue = Catalogue {
            currency: "EUR".parse().unwrap(),
            items: vec![CatalogueItem {
                sku: "moon".to_owned(),
                name: "The Moon".to_owned(),
                unit_price: u64::MAX / 2,
            }],
        };
        let moons = |quantity| WishedItem {
            sku: "moon".to_owned(),
            quantity: Quantity::new(quantity).unwrap(),
        };
        for items in [vec![moons(3)], vec![moons(2), moons(2)]] {
            let wish = Wish {
                items,
                delivery: None,
            };
            let refusal = catalogue.order(wish, OrderId::random().unwrap());
            assert_eq!(refusal.unwrap_err().problem, Problem::Malformed);
        }
    }

    #[test]
    fn the_largest_order_fits_into_a_disclosure_and_a_larger_one_is_refused() {
        let order_of = |name_bytes: usize| {
            let catalogue = Catalogue {
                currency: "EUR".parse().unwrap(),
                items: vec![CatalogueItem {
                    sku: "1".to_owned(),
                    name: "n".repeat(name_bytes),
                    unit_price: 1,
                }],
            };
            let items = vec![WishedItem {
                sku: "1".to_owned(),
                quantity: Quantity::new(1).unwrap(),
            }];
            let wish = Wish {
                items,
                delivery: None,
            };
            catalogue.order(wish, OrderId::random().unwrap())
        };
        let short = order_of(1).unwrap();
        let room = ORDER_BYTES_MAX - serde_json::to_vec(&short).unwrap().len() + 1;
        let largest = Disclosure::new(order_of(room).unwrap()).unwrap();
        assert!(largest.text().len() <= DISCLOSURE_BYTES_MAX);
        assert_eq!(order_of(room + 1).unwrap_err().problem, Problem::TooLarge);
    }

    #[test]
    fn a_catalogue_with_a_sku_twice_or_a_price_above_any_amount_is_refused() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("catalogue.toml");
        let read = |items: &str| {
            std::fs::write(&path, format!("currency = \"EUR\"\n{items}")).unwrap();
            Catalogue::read(&path).map(|_| ())
        };
        let item = |sku: &str, price: u64| {
            format!("[[item]]\nsku = \"{sku}\"\nname = \"n\"\nunit_price = {price}\n")
        };
        read(&(item("1", 5) + &item("2", AMOUNT_VALUE_MAX))).unwrap();
        assert!(matches!(
            read(&(item("1", 5) + &item("1", 6))),
            Err(CatalogueError::Twice { .. })
        ));
        assert!(matches!(
            read(&item("1", AMOUNT_VALUE_MAX + 1)),
            Err(CatalogueError::TooDear { .. })
        ));
        assert!(matches!(
            read(&(item("1", 5) + "colour = \"red\"\n")),
            Err(CatalogueError::Invalid { .. })
        ));
    }
}
