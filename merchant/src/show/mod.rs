//! What this merchant recorded of orders, purchases and batches. There is no card in it.

pub(crate) mod batches;
mod events;
mod orders;
mod purchases;

use std::{
    error::Error,
    io::{self, Write as _},
};

use protocol::{
    identifiers::{Jti, Xid},
    money,
    order_information::OrderInformation,
};
use serde::Serialize;

use crate::{cli::Orders, config::Config, exit::Exit, store::Store};

/// Runs one of the commands about orders.
pub(crate) async fn orders(config: &Config, command: Orders) -> Result<Exit, Box<dyn Error>> {
    let store = records(config)?;
    match command {
        Orders::List { json } => orders::list(&store, json).await,
        Orders::Show { order, json } => orders::show(&store, order, json).await,
    }
}

/// Lists the purchases.
pub(crate) async fn purchases(config: &Config, json: bool) -> Result<Exit, Box<dyn Error>> {
    purchases::list(&records(config)?, json).await
}

/// Shows one purchase.
pub(crate) async fn purchase(
    config: &Config,
    xid: Xid,
    json: bool,
) -> Result<Exit, Box<dyn Error>> {
    purchases::show(&records(config)?, xid, json).await
}

/// Lists what the gateway told.
pub(crate) async fn events(config: &Config, json: bool) -> Result<Exit, Box<dyn Error>> {
    events::list(&records(config)?, json).await
}

/// Lists the batches.
pub(crate) async fn batches(config: &Config, json: bool) -> Result<Exit, Box<dyn Error>> {
    batches::list(&records(config)?, json).await
}

/// Shows one batch.
pub(crate) async fn batch(config: &Config, jti: Jti, json: bool) -> Result<Exit, Box<dyn Error>> {
    batches::show(&records(config)?, jti, json).await
}

fn records(config: &Config) -> Result<Store, Box<dyn Error>> {
    Ok(Store::open_existing(&config.path(&config.store.path))?)
}

/// What is ordered, a line for each thing.
fn print_order_information(order: &OrderInformation) {
    for item in &order.items {
        let price = money::written(item.unit_price, order.total.currency());
        let name = printable(&item.name);
        field(
            "",
            format!("{} × {name}, {price} each", item.quantity.get()),
        );
    }
    if let Some(delivery) = &order.delivery {
        field("deliver to", printable(delivery));
    }
    field("total", order.total);
}

/// A text that a payer chose, for the operator's terminal: nothing in it moves the cursor, hides or
/// reorders.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\u{061c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => char::REPLACEMENT_CHARACTER,
            control if control.is_control() => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect()
}

pub(crate) fn field(name: &str, value: impl std::fmt::Display) {
    print(&format!("  {name:<15} {value}"));
}

pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), serde_json::Error> {
    print(&serde_json::to_string_pretty(value)?);
    Ok(())
}

pub(crate) fn print(line: &str) {
    // Whoever reads it may have read enough.
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_payer_wrote_can_not_move_the_cursor_or_reorder_text() {
        assert_eq!(
            printable("1 Höhe\u{1b}[2J\r\n"),
            "1 Höhe\u{fffd}[2J\u{fffd}\u{fffd}"
        );
        assert_eq!(printable("a\u{202e}b\u{200b}c"), "a\u{fffd}b\u{fffd}c");
    }
}
