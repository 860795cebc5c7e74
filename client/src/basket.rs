//! What the person asked for, and whether the shop's order is that and nothing else.

use protocol::{
    money::{self, Currency},
    order_information::{OrderInformation, Quantity},
};

use crate::{
    cli::{Wanted, WantedItem},
    display::printable,
    shop::Catalogue,
};

/// Items, each article once, and where they go.
pub(crate) struct Basket {
    items: Vec<WantedItem>,
    delivery: Option<String>,
}

/// The order is not what was asked for, or can't be asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BasketError {
    #[error("the shop does not sell {sku}; it sells: {sold}")]
    NotSold { sku: String, sold: String },
    #[error("too many of {sku}; ask for at most 1000000")]
    TooMany { sku: String },
    #[error(
        "the shop's order has other items or quantities than were asked for; stopped before anything was \
         signed: look at the catalogue, and try again"
    )]
    OtherItems,
    #[error(
        "the order's price of {sku} is {ordered}, the catalogue's {listed}; stopped before anything was \
         signed: look at the catalogue again"
    )]
    OtherPrice {
        sku: String,
        ordered: String,
        listed: String,
    },
    #[error(
        "the order calls {sku} \"{ordered}\", the catalogue \"{listed}\"; stopped before anything was \
         signed: look at the catalogue again"
    )]
    OtherName {
        sku: String,
        ordered: String,
        listed: String,
    },
    #[error(
        "the order is in {ordered}, the catalogue in {listed}; stopped before anything was signed: tell the \
         shop"
    )]
    OtherCurrency { ordered: Currency, listed: Currency },
    #[error(
        "the order goes elsewhere than was asked for; stopped before anything was signed: tell the shop"
    )]
    OtherDelivery,
}

impl Basket {
    /// Takes what was asked for, an article that was named twice once.
    pub(crate) fn of(wanted: &Wanted) -> Result<Self, BasketError> {
        let mut items: Vec<WantedItem> = Vec::new();
        for item in &wanted.items {
            match items.iter_mut().find(|other| other.sku == item.sku) {
                Some(other) => {
                    let together = u64::from(other.quantity.get()) + u64::from(item.quantity.get());
                    other.quantity = Quantity::new(together).map_err(|_| BasketError::TooMany {
                        sku: item.sku.clone(),
                    })?;
                }
                None => items.push(item.clone()),
            }
        }
        Ok(Self {
            items,
            delivery: wanted.delivery.clone(),
        })
    }

    pub(crate) fn items(&self) -> &[WantedItem] {
        &self.items
    }

    pub(crate) fn delivery(&self) -> Option<&str> {
        self.delivery.as_deref()
    }

    /// Refuses what the catalogue does not have.
    pub(crate) fn check_sold(&self, catalogue: &Catalogue) -> Result<(), BasketError> {
        for item in &self.items {
            if catalogue.find(&item.sku).is_none() {
                let sold: Vec<_> = catalogue
                    .items
                    .iter()
                    .map(|sold| printable(&sold.sku))
                    .collect();
                return Err(BasketError::NotSold {
                    sku: item.sku.clone(),
                    sold: sold.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Holds the shop's order against what was asked for and the catalogue that was shown. Its total
    /// is for the person to judge: taxes and delivery are in it.
    pub(crate) fn check_order(
        &self,
        order: &OrderInformation,
        catalogue: &Catalogue,
    ) -> Result<(), BasketError> {
        let currency = order.total.currency();
        if currency != catalogue.currency {
            return Err(BasketError::OtherCurrency {
                ordered: currency,
                listed: catalogue.currency,
            });
        }
        if !self.is_of(order) {
            return Err(BasketError::OtherItems);
        }
        for item in &order.items {
            let sku = || printable(&item.sku);
            let listed = catalogue.find(&item.sku).ok_or(BasketError::OtherItems)?;
            if listed.unit_price != item.unit_price {
                return Err(BasketError::OtherPrice {
                    sku: sku(),
                    ordered: money::written(item.unit_price, currency),
                    listed: money::written(listed.unit_price, currency),
                });
            }
            if listed.name != item.name {
                return Err(BasketError::OtherName {
                    sku: sku(),
                    ordered: printable(&item.name),
                    listed: printable(&listed.name),
                });
            }
        }
        if order.delivery != self.delivery {
            return Err(BasketError::OtherDelivery);
        }
        Ok(())
    }

    /// Whether an order has these items and no other, in whatever order.
    pub(crate) fn is_of(&self, order: &OrderInformation) -> bool {
        let sorted = |mut items: Vec<(String, u32)>| {
            items.sort();
            items
        };
        let asked = self
            .items
            .iter()
            .map(|item| (item.sku.clone(), item.quantity.get()));
        let ordered = order
            .items
            .iter()
            .map(|item| (item.sku.clone(), item.quantity.get()));
        sorted(asked.collect()) == sorted(ordered.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    fn wanted(items: &[&str]) -> Wanted {
        Wanted {
            shop: "https://bookshop.example".to_owned(),
            items: items.iter().map(|item| item.parse().unwrap()).collect(),
            delivery: Some("12 Long Lane, Lower Snodbury".to_owned()),
            instrument: None,
            yes: true,
            again: false,
        }
    }

    fn asked() -> Basket {
        Basket::of(&wanted(&[
            "978-0-14-143951-8",
            "BAG-1",
            "978-0-14-143951-8",
        ]))
        .unwrap()
    }

    fn catalogue() -> Catalogue {
        vectors::catalogue()
    }

    #[test]
    fn the_order_that_was_asked_for_is_taken_whatever_its_sequence() {
        let mut order = vectors::purchase().order;
        asked().check_order(&order, &catalogue()).unwrap();
        order.items.reverse();
        asked().check_order(&order, &catalogue()).unwrap();
    }

    #[test]
    fn an_order_with_anything_else_in_it_stops_the_purchase() {
        let changed = |change: &dyn Fn(&mut OrderInformation)| {
            let mut order = vectors::purchase().order;
            change(&mut order);
            asked().check_order(&order, &catalogue()).err()
        };
        let twice = |order: &mut OrderInformation| order.items.push(order.items[0].clone());
        assert!(matches!(changed(&twice), Some(BasketError::OtherItems)));
        assert!(matches!(
            changed(&|order| order.items[0].quantity = Quantity::new(3).unwrap()),
            Some(BasketError::OtherItems)
        ));
        assert!(matches!(
            changed(&|order| order.items[0].unit_price += 1),
            Some(BasketError::OtherPrice { .. })
        ));
        assert!(matches!(
            changed(&|order| order.items[0].name = "Prejudice".to_owned()),
            Some(BasketError::OtherName { .. })
        ));
        assert!(matches!(
            changed(&|order| order.delivery = None),
            Some(BasketError::OtherDelivery)
        ));
        assert!(matches!(
            changed(&|order| {
                let value = order.total.value();
                order.total = money::Amount::new(value, "KWD".parse().unwrap()).unwrap();
            }),
            Some(BasketError::OtherCurrency { .. })
        ));
    }

    #[test]
    fn what_is_not_sold_is_named_with_what_is() {
        let error = Basket::of(&wanted(&["atlas"]))
            .unwrap()
            .check_sold(&catalogue())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("atlas") && error.contains("BAG-1"),
            "{error}"
        );
    }
}
