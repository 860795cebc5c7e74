//! Orders and sessions that came to nothing are forgotten: anybody may open them, so they must not grow without
//! end. What was paid, or tried to be, is kept.

use std::{sync::Arc, time::Duration};

use crate::{merchant::Merchant, store::StoreError};

/// How often is looked.
const PAUSE: Duration = Duration::from_secs(60);

/// Forgets, for as long as the merchant runs.
pub(crate) async fn forget_what_is_unused(merchant: Arc<Merchant>) {
    let mut rounds = tokio::time::interval(PAUSE);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if let Err(error) = forget(&merchant).await {
            tracing::warn!(%error, "what is unused could not be forgotten");
        }
    }
}

async fn forget(merchant: &Merchant) -> Result<(), StoreError> {
    let now = merchant.now();
    let orders_before = now.minus(merchant.order_seconds);
    let mut forgotten = 0;
    loop {
        match merchant.store.forget_unused(orders_before, now).await? {
            0 => break,
            some => forgotten += some,
        }
    }
    if forgotten > 0 {
        tracing::info!(forgotten, "unused orders and sessions forgotten");
    }
    Ok(())
}
