//! `POST /v1/orders`: the shop's own, before the protocol begins.

use protocol::{identifiers::OrderId, order_information::OrderInformation, problem::Refusal};

use crate::{
    catalogue::Wish,
    merchant::{Merchant, no_randomness, store_refusal},
};

/// Makes an order of a wish and keeps it.
pub(crate) async fn order(merchant: &Merchant, wish: Wish) -> Result<OrderInformation, Refusal> {
    let id = OrderId::random().map_err(no_randomness)?;
    let order = merchant.catalogue.order(wish, id)?;
    merchant
        .store
        .add_order(order.clone(), merchant.now())
        .await
        .map_err(store_refusal)?;
    tracing::info!(order = %order.order, total = %order.total, "ordered");
    Ok(order)
}
