//! Orders: what was to be paid, and whether it was.

use std::error::Error;

use protocol::identifiers::OrderId;
use serde_json::{Value, json};

use super::{field, print, print_json, print_order_information, purchases};
use crate::{
    exit::Exit,
    store::{OrderRecord, OrderState, Store},
};

pub(super) async fn list(store: &Store, as_json: bool) -> Result<Exit, Box<dyn Error>> {
    let orders = store.orders().await?;
    if as_json {
        print_json(&orders.iter().map(summary).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    print(&row("ORDER", "STATE", "TOTAL", "LINES"));
    for order in &orders {
        print(&row(
            &order.information.order.to_string(),
            state(order.state),
            &order.information.total.to_string(),
            &order.information.items.len().to_string(),
        ));
    }
    Ok(Exit::Done)
}

pub(super) async fn show(
    store: &Store,
    id: OrderId,
    as_json: bool,
) -> Result<Exit, Box<dyn Error>> {
    let Some(order) = store.order_record(id).await? else {
        tracing::error!("no order {id} here; `orders list` shows all");
        return Ok(Exit::NotFound);
    };
    let purchases = store.purchases_of(id).await?;
    if as_json {
        let mut whole = summary(&order);
        whole["order_information"] = serde_json::to_value(&order.information)?;
        whole["purchases"] = purchases.iter().map(purchases::summary).collect();
        print_json(&whole)?;
        return Ok(Exit::Done);
    }
    field("order", id);
    field("state", state(order.state));
    print_order_information(&order.information);
    for purchase in &purchases {
        let state = purchases::state(&purchase.state);
        field("purchase", format!("{} {state}", purchase.xid));
    }
    Ok(Exit::Done)
}

fn row(order: &str, state: &str, total: &str, lines: &str) -> String {
    format!("{order:<23} {state:<8} {total:>16} {lines:>6}")
}

fn summary(order: &OrderRecord) -> Value {
    json!({
        "order": order.information.order,
        "placed_at": order.placed_at,
        "state": state(order.state),
        "total": order.information.total,
    })
}

fn state(state: OrderState) -> &'static str {
    match state {
        OrderState::Open => "open",
        OrderState::Pending => "pending",
        OrderState::Paid => "paid",
    }
}
