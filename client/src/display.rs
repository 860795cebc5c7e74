//! How things are written for people: tables, orders, and texts that others chose.

use protocol::{
    money::{self, Currency},
    order_information::{Item, OrderInformation},
};

/// A text that somebody else chose, for a terminal: what would move the cursor, hide or reorder text
/// becomes a replacement character.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{061c}'
            | '\u{feff}' => char::REPLACEMENT_CHARACTER,
            control if control.is_control() => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect()
}

/// The beginning of a digest, nonce or identifier: enough to recognise it by.
pub(crate) fn short(value: impl std::fmt::Display) -> String {
    let text: String = value.to_string().chars().take(8).collect();
    text + "…"
}

/// A column's alignment.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Lines up the cells of rows.
pub(crate) fn table<const N: usize>(columns: [Align; N], rows: &[[String; N]]) -> Vec<String> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    rows.iter()
        .map(|row| {
            let cells: [String; N] = std::array::from_fn(|column| {
                let (cell, width) = (&row[column], widths[column]);
                match columns[column] {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                }
            });
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// An order's items with their prices, what the shop adds or takes off, and the total.
pub(crate) fn order(order: &OrderInformation) -> Vec<String> {
    let currency = order.total.currency();
    let mut rows: Vec<_> = order.items.iter().map(|item| row(item, currency)).collect();
    let sum = sum_of_items(order);
    let total = u128::from(order.total.value());
    let mut further = |what: &str, value: u128| {
        let written = match u64::try_from(value) {
            Ok(value) => money::written(value, currency),
            Err(_) => "more than can be paid".to_owned(),
        };
        rows.push([String::new(), what.to_owned(), String::new(), written]);
    };
    if total > sum {
        further("tax, delivery and the like", total - sum);
    } else if total < sum {
        further("taken off", sum - total);
    }
    further("total", total);
    table(
        [Align::Right, Align::Left, Align::Right, Align::Right],
        &rows,
    )
}

fn row(item: &Item, currency: Currency) -> [String; 4] {
    let whole = u128::from(item.unit_price) * u128::from(item.quantity.get());
    [
        format!("{} ×", item.quantity.get()),
        format!("{} ({})", printable(&item.name), printable(&item.sku)),
        money::written(item.unit_price, currency),
        u64::try_from(whole).map_or_else(
            |_| "more than can be paid".to_owned(),
            |value| money::written(value, currency),
        ),
    ]
}

/// What the items cost by their prices, in minor units.
pub(crate) fn sum_of_items(order: &OrderInformation) -> u128 {
    order
        .items
        .iter()
        .map(|item| u128::from(item.unit_price) * u128::from(item.quantity.get()))
        .fold(0, u128::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn what_others_chose_can_t_move_the_cursor_or_reorder_text() {
        assert_eq!(printable("Bücher & Кофе 本"), "Bücher & Кофе 本");
        assert_eq!(
            printable("a\u{1b}[2Jb\r\n\u{202e}c"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c"
        );
    }

    #[test]
    fn an_order_shows_what_the_shop_adds_to_the_prices() {
        let shown = order(&vectors::purchase().order).join("\n");
        assert!(shown.contains("2 ×  Pride and Prejudice"), "{shown}");
        assert!(shown.contains("19.00 EUR"), "{shown}");
        assert!(shown.ends_with("24.50 EUR"), "{shown}");
    }
}
