//! `payments`: what this gateway recorded of payments. There is no cart in it.

use std::{error::Error, process::ExitCode};

use protocol::{money, receipt::Decision};
use serde_json::{Value, json};

use crate::{
    cli::Payments,
    config::Config,
    output::{print, print_json},
    payment::State,
    store::{
        self,
        records::{PaymentRecord, ReceiptRecord},
    },
};

/// Runs one of the commands.
pub(crate) async fn run(config: &Config, command: Payments) -> Result<ExitCode, Box<dyn Error>> {
    let store = store::open_existing(config).await?;
    match command {
        Payments::List { json } => {
            let payments = store.payments().await?;
            if json {
                return print_json(&payments.iter().map(summary).collect::<Vec<_>>())
                    .map(|()| ExitCode::SUCCESS);
            }
            list(&payments);
        }
        Payments::Show { xid, json } => {
            let Some(found) = store.find_by_xid(xid).await? else {
                tracing::error!("no decision on {xid} here; `payments list` shows all");
                return Ok(ExitCode::from(3));
            };
            let after = store.receipts_after(xid).await?;
            if json {
                print_json(&whole(&found, &after))?;
            } else {
                show(&found, &after);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn state(found: &PaymentRecord) -> &'static str {
    found
        .payment
        .map_or("declined", |payment| State::as_str(payment.state()))
}

/// A payment without what takes long to read.
fn summary(found: &PaymentRecord) -> Value {
    let decision = &found.decision;
    json!({
        "xid": decision.signed.xid,
        "state": state(found),
        "decision": decision.code.decision(),
        "code": decision.code.digits(),
        "reason": decision.code.reason(),
        "amount": decision.amount,
        "totals": found.payment.map_or(decision.totals, |payment| payment.totals()),
        "held": found.payment.map_or(0, |payment| payment.held()),
        "merchant": decision.merchant,
        "client": decision.signed.client,
        "instrument_last_four": found.last_four,
        "decided_at": decision.iat,
    })
}

fn whole(found: &PaymentRecord, after: &[ReceiptRecord]) -> Value {
    let decision = &found.decision;
    let mut whole = summary(found);
    whole["authorization"] = json!(decision.authorization);
    whole["capture_before"] = json!(decision.capture_before);
    whole["dsh"] = json!(decision.signed.dsh);
    whole["reqh"] = json!(decision.reqh);
    whole["order"] = json!("not known to the gateway");
    whole["payment_information"] = json!("kept as a ciphertext under the token's data key");
    whole["operations"] = after
        .iter()
        .map(|receipt| {
            json!({
                "action": receipt.action,
                "amount": receipt.amount,
                "target": receipt.target,
                "at": receipt.iat,
                "reqh": receipt.reqh,
                "totals": receipt.totals,
            })
        })
        .collect();
    whole
}

fn list(payments: &[PaymentRecord]) {
    let row = |at: &str, xid: &str, state: &str, amount: &str, code: &str, merchant: &str| {
        print(&format!(
            "{at:<23} {xid:<23} {state:<11} {amount:>16}  {code:<4}  {merchant}"
        ));
    };
    row(
        "DECIDED",
        "TRANSACTION",
        "STATE",
        "AMOUNT",
        "CODE",
        "MERCHANT",
    );
    for found in payments {
        let decision = &found.decision;
        row(
            &decision.iat.to_string(),
            &decision.signed.xid.to_string(),
            state(found),
            &decision.amount.to_string(),
            decision.code.digits(),
            decision.merchant.as_str(),
        );
    }
}

fn show(found: &PaymentRecord, after: &[ReceiptRecord]) {
    let decision = &found.decision;
    let written = |value| money::written(value, decision.amount.currency());
    let line = |name: &str, value: String| print(&format!("  {name:<16}{value}"));
    line("transaction", decision.signed.xid.to_string());
    line("state", state(found).to_owned());
    line(
        "decision",
        format!(
            "{} ({} {})",
            match decision.code.decision() {
                Decision::Approved => "approved",
                Decision::Declined => "declined",
            },
            decision.code.digits(),
            decision.code.reason()
        ),
    );
    line("decided", decision.iat.to_string());
    line("amount", decision.amount.to_string());
    if let Some(payment) = found.payment {
        let totals = payment.totals();
        line("held", written(payment.held()));
        if let Some(before) = decision.capture_before {
            line("held until", before.to_string());
        }
        line("captured", written(totals.captured));
        line("reversed", written(totals.reversed));
        line("refunded", written(totals.refunded));
    }
    line("merchant", decision.merchant.to_string());
    line("client", decision.signed.client.to_string());
    line(
        "paid with",
        format!("…{}", found.last_four.as_deref().unwrap_or("?")),
    );
    line(
        "payment info",
        "a ciphertext under the token's data key".to_owned(),
    );
    line(
        "order, cart",
        "not here: only a salted digest came".to_owned(),
    );
    line(
        "payer signed",
        format!("{} (h of the dual signature)", decision.signed.dsh),
    );
    line(
        "merchant asked",
        format!("{} (h of its request)", decision.reqh),
    );
    for receipt in after {
        line(
            receipt.action.as_str(),
            format!(
                "{} at {}, {} captured after it",
                receipt.amount,
                receipt.iat,
                written(receipt.totals.captured)
            ),
        );
    }
}
