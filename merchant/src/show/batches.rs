//! Batches: what this merchant was settled by.

use std::error::Error;

use protocol::{
    identifiers::Jti,
    jws::Received,
    lifecycle::{BatchLine, ClosedBatch},
    money,
    problem::Refusal,
};
use serde_json::{Value, json};

use super::{field, print, print_json};
use crate::{
    exit::Exit,
    store::{BatchRecord, RequestState, Store},
};

pub(super) async fn list(store: &Store, as_json: bool) -> Result<Exit, Box<dyn Error>> {
    let batches = store.batches().await?;
    if as_json {
        let all: Result<Vec<_>, _> = batches.iter().map(summary).collect();
        print_json(&all?)?;
        return Ok(Exit::Done);
    }
    print(&row("BATCH", "STATE", "PAYABLE", "RECEIVABLE"));
    for batch in &batches {
        let written = |value| money::written(value, batch.currency);
        let totals = closed(batch)?.map(|closed| closed.totals);
        print(&row(
            &batch.jti.to_string(),
            batch.state.word(),
            &totals.map_or_else(String::new, |totals| written(totals.payable)),
            &totals.map_or_else(String::new, |totals| written(totals.receivable)),
        ));
    }
    Ok(Exit::Done)
}

pub(super) async fn show(store: &Store, jti: Jti, as_json: bool) -> Result<Exit, Box<dyn Error>> {
    let Some(batch) = store.batch(jti).await? else {
        tracing::error!("no batch {jti} here; `batch list` shows all");
        return Ok(Exit::NotFound);
    };
    if as_json {
        let mut whole = summary(&batch)?;
        whole["request"] = json!(batch.request);
        if let RequestState::Answered(answer) = &batch.state {
            whole["answer"] = json!(answer);
        }
        print_json(&whole)?;
    } else if let Some(closed) = closed(&batch)? {
        print_closed(&closed);
    } else {
        field("batch", batch.jti);
        field("state", batch.state.word());
        field("currency", batch.currency);
    }
    Ok(Exit::Done)
}

/// A closed batch for people.
pub(crate) fn print_closed(closed: &ClosedBatch) {
    let written = |value| money::written(value, closed.currency);
    let line = |line: BatchLine| format!("{} in {}", written(line.value), line.count);
    field("batch", closed.batch);
    field("closed", closed.iat);
    field("captures", line(closed.totals.captures));
    field("undone", line(closed.totals.capture_reversals));
    field("refunds", line(closed.totals.refunds));
    field("undone", line(closed.totals.refund_reversals));
    field("payable", written(closed.totals.payable));
    field("receivable", written(closed.totals.receivable));
}

fn row(batch: &str, state: &str, payable: &str, receivable: &str) -> String {
    format!("{batch:<23} {state:<8} {payable:>16} {receivable:>16}")
}

fn summary(batch: &BatchRecord) -> Result<Value, Refusal> {
    let mut summary = json!({
        "batch": batch.jti,
        "currency": batch.currency,
        "state": batch.state.word(),
        "made_at": batch.made_at,
    });
    if let Some(closed) = closed(batch)? {
        summary["closed_at"] = json!(closed.iat);
        summary["totals"] = json!(closed.totals);
    }
    if let RequestState::Failed(problem) = batch.state {
        summary["problem"] = json!(problem.name());
    }
    Ok(summary)
}

/// What the gateway signed. It was verified before it was kept.
fn closed(batch: &BatchRecord) -> Result<Option<ClosedBatch>, Refusal> {
    let RequestState::Answered(answer) = &batch.state else {
        return Ok(None);
    };
    let answer = Received::<ClosedBatch>::read(answer)?;
    Ok(Some(answer.unverified().clone()))
}
