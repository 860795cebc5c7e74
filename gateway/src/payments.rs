//! `payments`: what this gateway recorded of a payment. There is no cart in it.

use std::{error::Error, process::ExitCode};

use protocol::money;
use serde_json::json;

use crate::{
    cli::Payments,
    config::Config,
    output::{print, print_json},
    serve::database,
    store::{DecisionRecord, Store},
};

/// Runs one of the commands.
pub(crate) async fn run(config: &Config, command: Payments) -> Result<ExitCode, Box<dyn Error>> {
    let Payments::Show { xid, json } = command;
    let Some(decision) = Store::open(&database(config))?.find_by_xid(xid)? else {
        tracing::error!("no decision on {xid} here");
        return Ok(ExitCode::from(3));
    };
    if json {
        print_json(&as_json(&decision))?;
    } else {
        show(&decision);
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(decision: &DecisionRecord) -> serde_json::Value {
    json!({
        "xid": decision.xid,
        "decision": decision.code.decision(),
        "code": decision.code.digits(),
        "reason": decision.code.reason(),
        "amount": decision.amount,
        "totals": decision.totals,
        "merchant": decision.merchant,
        "client": decision.client,
        "instrument_last_four": decision.last_four,
        "decided_at": decision.iat,
        "authorization": decision.authorization,
        "capture_before": decision.capture_before,
        "dsh": decision.dsh,
        "reqh": decision.reqh,
        "order": "not known to the gateway",
        "payment_information": "kept as a ciphertext under the token's data key",
    })
}

fn show(decision: &DecisionRecord) {
    let currency = decision.amount.currency();
    let line = |name: &str, value: String| print(&format!("  {name:<16}{value}"));
    line("transaction", decision.xid.to_string());
    line(
        "decision",
        format!(
            "{} ({} {})",
            if decision.authorization.is_some() {
                "approved"
            } else {
                "declined"
            },
            decision.code.digits(),
            decision.code.reason()
        ),
    );
    line("amount", decision.amount.to_string());
    line(
        "captured",
        money::written(decision.totals.captured, currency),
    );
    line("merchant", decision.merchant.to_string());
    line("client", decision.client.to_string());
    line(
        "paid with",
        format!("…{}", decision.last_four.as_deref().unwrap_or("?")),
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
        format!("{} (h of the dual signature)", decision.dsh),
    );
    line(
        "merchant asked",
        format!("{} (h of its request)", decision.reqh),
    );
}
