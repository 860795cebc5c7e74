//! `capture`, `reverse`, `refund` and `batch close`: asks the gateway, and says what came of it.

use std::error::Error;

use protocol::{
    money::{self, Currency},
    problem::Problem,
    receipt::Receipt,
    time::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    cli::Undoable,
    config::Config,
    exit::Exit,
    merchant::Merchant,
    operation::Operation,
    own::Own,
    service::{self, Closing, NotAsked, Operated, Outcome, Wish},
    show::{batches, field, print_json},
    store::{OperationRecord, Store},
};

/// `capture`, or `capture --undo`.
pub(crate) async fn capture(config: &Config, wanted: Undoable) -> Result<Exit, Box<dyn Error>> {
    undoable(
        config,
        wanted,
        Operation::Capture,
        Operation::CaptureReversal,
    )
    .await
}

/// `refund`, or `refund --undo`.
pub(crate) async fn refund(config: &Config, wanted: Undoable) -> Result<Exit, Box<dyn Error>> {
    undoable(config, wanted, Operation::Refund, Operation::RefundReversal).await
}

async fn undoable(
    config: &Config,
    wanted: Undoable,
    done: Operation,
    undone: Operation,
) -> Result<Exit, Box<dyn Error>> {
    let wish = Wish {
        xid: wanted.of.xid,
        operation: if wanted.undo.is_some() { undone } else { done },
        target: wanted.undo,
        amount: wanted.of.amount,
    };
    operation(config, wish, wanted.of.json).await
}

/// Asks for one operation.
pub(crate) async fn operation(
    config: &Config,
    wish: Wish,
    as_json: bool,
) -> Result<Exit, Box<dyn Error>> {
    let merchant = merchant(config)?;
    let Operated {
        asked,
        outcome,
        was_known,
    } = match service::operate(&merchant, wish).await {
        Ok(operated) => operated,
        Err(not_asked) => return not_asked_exit(not_asked),
    };
    if was_known {
        say_that_nothing_was_asked(asked.made_at);
    }
    let mut object = json!({
        "xid": asked.xid,
        "jti": asked.jti,
        "action": asked.operation.action(),
        "target": asked.target,
        "amount": asked.amount,
        "amount_written": asked.amount.to_string(),
        "asked_at": asked.made_at,
        "asked_now": !was_known,
    });
    if let Outcome::Done(receipt) = &outcome {
        object["totals"] = json!(receipt.totals);
    }
    let exit = tell(&asked.operation.to_string(), &outcome, &mut object);
    if as_json {
        print_json(&object)?;
    } else if let Outcome::Done(receipt) = &outcome {
        print_operation(&asked, receipt);
    }
    Ok(exit)
}

/// Closes the open batch of a currency.
pub(crate) async fn close_batch(
    config: &Config,
    currency: Currency,
    as_json: bool,
) -> Result<Exit, Box<dyn Error>> {
    let merchant = merchant(config)?;
    let Closing {
        asked,
        outcome,
        was_known,
    } = match service::close_batch(&merchant, currency).await {
        Ok(closing) => closing,
        Err(not_asked) => return not_asked_exit(not_asked),
    };
    if was_known {
        say_that_nothing_was_asked(asked.made_at);
    }
    let mut object = json!({
        "batch": asked.jti,
        "currency": currency,
        "asked_at": asked.made_at,
        "asked_now": !was_known,
    });
    if let Outcome::Done(closed) = &outcome {
        object["totals"] = json!(closed.totals);
    }
    let exit = tell("batch", &outcome, &mut object);
    if as_json {
        print_json(&object)?;
    } else if let Outcome::Done(closed) = &outcome {
        batches::print_closed(closed);
    }
    Ok(exit)
}

/// A merchant that asks: its records are those of `serve`, which may run beside it.
fn merchant(config: &Config) -> Result<Merchant, Box<dyn Error>> {
    let store = Store::open_existing(&config.path(&config.store.path))?;
    Merchant::new(config, Own::read(config)?, store)
}

fn say_that_nothing_was_asked(made_at: Timestamp) {
    tracing::warn!("this is what became of the same request of {made_at}; nothing was asked now");
}

fn print_operation(asked: &OperationRecord, receipt: &Receipt) {
    let written = |value| money::written(value, receipt.amount.currency());
    field(asked.operation.action().as_str(), receipt.amount);
    field("jti", asked.jti);
    field("captured", written(receipt.totals.captured));
    field("reversed", written(receipt.totals.reversed));
    field("refunded", written(receipt.totals.refunded));
}

/// Says on standard error what is not done, and in the object whatever it is.
fn tell<T>(what: &str, outcome: &Outcome<T>, object: &mut Value) -> Exit {
    let (word, exit, explanation) = match outcome {
        Outcome::Done(_) => ("done", Exit::Done, None),
        Outcome::Unknown(why) => (
            "unknown",
            Exit::Unknown,
            Some(format!(
                "the {what} has no outcome yet: {why}; the same request is sent again by `serve`, or by \
                 running the same command again"
            )),
        ),
        Outcome::Refused(problem) => {
            object["problem"] = json!(problem.name());
            (
                "refused",
                Exit::Refused,
                Some(format!(
                    "the gateway refused the {what} ({problem}): {}",
                    advice(*problem)
                )),
            )
        }
    };
    object["outcome"] = json!(word);
    if let Some(explanation) = explanation {
        tracing::error!("{explanation}");
        object["explanation"] = json!(explanation);
    }
    exit
}

/// What a refusal means for the operator, and what to do.
fn advice(problem: Problem) -> &'static str {
    match problem {
        Problem::LimitExceeded => {
            "it is more than is left, or the authorization has ended, or the batch of the booking is \
             closed, or a payment's 32 operations are used up; see `show` for what is left"
        }
        Problem::Expired => {
            "it came too late to be done for the first time, so it was never done; run the same command \
             again for a new request"
        }
        Problem::NotYetValid => "it comes from the gateway's future; set this machine's clock",
        Problem::UnknownAuthorization => {
            "it knows no such payment of ours; check [gateway] in the configuration"
        }
        Problem::GatewayMismatch => {
            "we meant another gateway; check [gateway] in the configuration"
        }
        Problem::CertificateExpired
        | Problem::CertificateRevoked
        | Problem::CertificateUntrusted
        | Problem::RoleMismatch
        | Problem::MerchantMismatch => {
            "it does not take our certificate; renew it, or correct [signing], and run the command again"
        }
        _ => "nothing was done; tell its operators, with the time of this line",
    }
}

fn not_asked_exit(not_asked: NotAsked) -> Result<Exit, Box<dyn Error>> {
    let exit = match not_asked {
        NotAsked::NoPurchase(_) | NotAsked::NoBooking { .. } => Exit::NotFound,
        NotAsked::Amount(_) => Exit::Usage,
        _ => return Err(not_asked.into()),
    };
    tracing::error!("{not_asked}");
    Ok(exit)
}
