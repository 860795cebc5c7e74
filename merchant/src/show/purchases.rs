//! Purchases: the order in the clear, the payment sealed or gone, the receipt.

use std::error::Error;

use protocol::{
    identifiers::Xid,
    jws::Received,
    money,
    problem::Refusal,
    receipt::{Decision, Receipt},
};
use serde_json::{Value, json};

use super::{events, field, print, print_json, print_order_information};
use crate::{
    books::Books,
    exit::Exit,
    store::{OperationRecord, PurchaseRecord, PurchaseState, RequestState, SessionRecord, Store},
};

pub(super) async fn list(store: &Store, as_json: bool) -> Result<Exit, Box<dyn Error>> {
    let purchases = store.purchases().await?;
    if as_json {
        print_json(&purchases.iter().map(summary).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    print(&row("TRANSACTION", "STATE", "AMOUNT", "ORDER"));
    for purchase in &purchases {
        print(&row(
            &purchase.xid.to_string(),
            state(&purchase.state),
            &purchase.amount.to_string(),
            &purchase.order.to_string(),
        ));
    }
    Ok(Exit::Done)
}

pub(super) async fn show(store: &Store, xid: Xid, as_json: bool) -> Result<Exit, Box<dyn Error>> {
    let Some(purchase) = store.purchase(xid).await? else {
        tracing::error!("no purchase {xid} here; `list` shows all");
        return Ok(Exit::NotFound);
    };
    let Some(session) = store.session(purchase.sid).await? else {
        return Err("the purchase's session is gone; restore the store from a backup".into());
    };
    let notices = events::of(store, &purchase).await?;
    let books = Books::of(&purchase, store.operations(xid).await?)?;
    if as_json {
        let mut whole = summary(&purchase);
        whole["order_information"] = serde_json::to_value(&session.order)?;
        whole["receipt"] = serde_json::to_value(receipt(&purchase)?)?;
        whole["evidence"] = evidence(&purchase, &session);
        let told: Result<Vec<_>, _> = notices.iter().map(events::object).collect();
        whole["told"] = Value::Array(told?);
        if let Some(books) = &books {
            whole["totals"] = json!(books.totals());
            whole["capture_before"] = json!(books.authorization.capture_before);
            whole["captured_with"] = json!(books.captured_with);
            whole["operations"] = books.operations.iter().map(operation).collect();
        }
        print_json(&whole)?;
    } else {
        print_for_people(&purchase, &session)?;
        if let Some(books) = &books {
            print_books(books);
        }
        events::print_notices(&notices)?;
    }
    Ok(Exit::Done)
}

fn row(xid: &str, state: &str, amount: &str, order: &str) -> String {
    format!("{xid:<23} {state:<8} {amount:>16}  {order}")
}

/// A purchase without what takes long to read.
pub(super) fn summary(purchase: &PurchaseRecord) -> Value {
    let mut summary = json!({
        "xid": purchase.xid,
        "state": state(&purchase.state),
        "amount": purchase.amount,
        "order": purchase.order,
        "client": purchase.client,
        "payment_information": payment(purchase),
    });
    if let PurchaseState::Failed(problem) = purchase.state {
        summary["problem"] = json!(problem.name());
    }
    summary
}

/// The messages as they were signed: what this merchant can show to a third party.
fn evidence(purchase: &PurchaseRecord, session: &SessionRecord) -> Value {
    let mut evidence = json!({
        "session": session.response,
        "dual_signature": format!("{}~{}~", purchase.dual_signature, purchase.order_disclosure),
        "authorization_request": purchase.authorization_request,
    });
    if let PurchaseState::Decided(_, response) = &purchase.state {
        evidence["receipt"] = json!(response.receipt);
        evidence["purchase_response"] = json!(response.purchase_response);
    }
    evidence
}

fn print_for_people(purchase: &PurchaseRecord, session: &SessionRecord) -> Result<(), Refusal> {
    field("transaction", purchase.xid);
    field("state", state(&purchase.state));
    field("client", &purchase.client);
    field("order", purchase.order);
    print_order_information(&session.order);
    field("payment info", payment(purchase));
    if let PurchaseState::Failed(problem) = purchase.state {
        field(
            "refused",
            format!("{problem}, by the gateway before it decided"),
        );
    }
    let Some(receipt) = receipt(purchase)? else {
        return Ok(());
    };
    field(
        "receipt",
        format!(
            "{} {} by {}, verified when it came",
            receipt.code, receipt.reason, receipt.gateway
        ),
    );
    Ok(())
}

/// What the purchase has come to, and what was asked for since it was approved.
fn print_books(books: &Books) {
    let receipt = &books.authorization;
    let written = |value| money::written(value, receipt.amount.currency());
    let totals = books.totals();
    if let Some(authorization) = receipt.authorization {
        field("authorization", authorization);
    }
    field("authorized", written(totals.authorized));
    field("captured", written(totals.captured));
    field("reversed", written(totals.reversed));
    field("refunded", written(totals.refunded));
    if let Some(before) = receipt.capture_before {
        field("capture before", before);
    }
    if let Some(jti) = books.captured_with {
        let amount = receipt.amount;
        field(
            "capture",
            format!("{jti} {amount}, done with the authorization"),
        );
    }
    for operation in &books.operations {
        let undone = operation
            .target
            .map_or_else(String::new, |target| format!(" of {target}"));
        let (jti, amount) = (operation.jti, operation.amount);
        let state = match operation.state {
            RequestState::Pending => "without outcome yet".to_owned(),
            RequestState::Answered(_) => "done".to_owned(),
            RequestState::Failed(problem) => format!("refused: {problem}"),
        };
        field(
            operation.operation.action().as_str(),
            format!("{jti} {amount}{undone}, {state}"),
        );
    }
}

/// What was asked for after the approval, with the signed messages.
fn operation(operation: &OperationRecord) -> Value {
    let mut object = json!({
        "jti": operation.jti,
        "action": operation.operation.action(),
        "target": operation.target,
        "amount": operation.amount,
        "amount_written": operation.amount.to_string(),
        "made_at": operation.made_at,
        "state": operation.state.word(),
        "request": operation.request,
    });
    match &operation.state {
        RequestState::Pending => {}
        RequestState::Answered(receipt) => object["receipt"] = json!(receipt),
        RequestState::Failed(problem) => object["problem"] = json!(problem.name()),
    }
    object
}

/// The receipt's claims. It was verified before it was kept.
fn receipt(purchase: &PurchaseRecord) -> Result<Option<Receipt>, Refusal> {
    let PurchaseState::Decided(_, response) = &purchase.state else {
        return Ok(None);
    };
    let receipt = Received::<Receipt>::read(&response.receipt)?;
    Ok(Some(receipt.unverified().clone()))
}

fn payment(purchase: &PurchaseRecord) -> String {
    match &purchase.payment_information {
        Some(sealed) => format!("sealed to the gateway's token, {} characters", sealed.len()),
        None => "was sealed to the gateway's token; deleted after the outcome".to_owned(),
    }
}

pub(super) fn state(state: &PurchaseState) -> &'static str {
    match state {
        PurchaseState::Pending => "pending",
        PurchaseState::Decided(Decision::Approved, _) => "approved",
        PurchaseState::Decided(Decision::Declined, _) => "declined",
        PurchaseState::Failed(_) => "failed",
    }
}
