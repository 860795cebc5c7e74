//! `purchases`: what this merchant recorded. There is no card in it.

use std::{error::Error, process::ExitCode};

use protocol::{identifiers::Xid, jws::Received, money, receipt::Receipt};
use serde_json::{Value, json};

use crate::{
    cli::Purchases,
    config::Config,
    store::{PurchaseRecord, PurchaseState, SessionRecord, Store},
};

/// Runs one of the commands.
pub(crate) async fn run(config: &Config, command: Purchases) -> Result<ExitCode, Box<dyn Error>> {
    let store = Store::open(&config.path(&config.store.path))?;
    match command {
        Purchases::List { json } => list(&store, json).await,
        Purchases::Show { xid, json } => show(&store, xid.parse()?, json).await,
    }
}

async fn list(store: &Store, as_json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let mut purchases = Vec::new();
    for xid in store.all().await? {
        purchases.extend(store.purchase(xid).await?);
    }
    if as_json {
        let all: Vec<Value> = purchases.iter().map(summary).collect();
        print(&serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!(
        "{:<23} {:<10} {:>16}  ORDER",
        "TRANSACTION", "STATE", "AMOUNT"
    ));
    for purchase in &purchases {
        print(&format!(
            "{:<23} {:<10} {:>16}  {}",
            purchase.xid.to_string(),
            state(&purchase.state),
            purchase.amount.to_string(),
            purchase.order
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(store: &Store, xid: Xid, as_json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let Some(purchase) = store.purchase(xid).await? else {
        tracing::error!("no purchase {xid} here; `purchases list` shows all");
        return Ok(ExitCode::from(3));
    };
    let Some(session) = store.session(purchase.sid).await? else {
        return Err("the purchase's session is gone".into());
    };
    if as_json {
        let mut whole = summary(&purchase);
        whole["order_information"] = serde_json::to_value(&session.order)?;
        print(&serde_json::to_string_pretty(&whole)?);
    } else {
        show_to_people(&purchase, &session);
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(purchase: &PurchaseRecord) -> Value {
    let mut summary = json!({
        "xid": purchase.xid,
        "state": state(&purchase.state),
        "amount": purchase.amount,
        "order": purchase.order,
        "client": purchase.client,
        "dsh": purchase.dsh,
        "payment_information": payment(purchase),
    });
    match &purchase.state {
        PurchaseState::Decided(_, response) => summary["receipt"] = json!(response.receipt),
        PurchaseState::Failed(problem) => summary["problem"] = json!(problem.name()),
        PurchaseState::Pending => {}
    }
    summary
}

fn show_to_people(purchase: &PurchaseRecord, session: &SessionRecord) {
    let line = |name: &str, value: String| print(&format!("  {name:<16}{value}"));
    line("transaction", purchase.xid.to_string());
    line("state", state(&purchase.state).to_owned());
    line("client", purchase.client.to_string());
    line("order", purchase.order.to_string());
    let currency = session.order.total.currency();
    for item in &session.order.items {
        let price = money::written(item.unit_price, currency);
        line(
            "",
            format!("{} × {}, {price} each", item.quantity.get(), item.name),
        );
    }
    if let Some(delivery) = &session.order.delivery {
        line("deliver to", delivery.clone());
    }
    line("total", session.order.total.to_string());
    line("payment info", payment(purchase));
    if let PurchaseState::Decided(_, response) = &purchase.state
        && let Ok(receipt) = Received::<Receipt>::read(&response.receipt)
    {
        let claims = receipt.unverified();
        line(
            "receipt",
            format!(
                "{} {} by {}, verified when it came",
                claims.code, claims.reason, claims.gateway
            ),
        );
    }
}

fn payment(purchase: &PurchaseRecord) -> String {
    match &purchase.payment_information {
        Some(sealed) => format!("sealed to the gateway's token, {} characters", sealed.len()),
        None => "was sealed to the gateway's token; deleted after the decision".to_owned(),
    }
}

fn state(state: &PurchaseState) -> &'static str {
    match state {
        PurchaseState::Pending => "pending",
        PurchaseState::Decided(protocol::receipt::Decision::Approved, _) => "approved",
        PurchaseState::Decided(protocol::receipt::Decision::Declined, _) => "declined",
        PurchaseState::Failed(_) => "failed",
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a command line program prints its results"
)]
fn print(line: &str) {
    println!("{line}");
}
