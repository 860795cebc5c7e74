//! What a purchase came to, for people and for scripts.

use std::path::Path;

use mtls::client::ClientConfigError;
use protocol::{
    jws::Verified,
    money,
    names::GatewayName,
    problem::Refusal,
    receipt::{Code, Decision, Receipt},
};
use serde_json::{Value, json};

use crate::{
    display::{self, printable},
    exchange::NoAnswer,
    failure::Exit,
    purchases::Purchase,
    told::{self, Decided},
};

/// What a signed purchase came to.
pub(crate) enum Outcome {
    /// The gateway's receipt says it, and was held against everything that was signed.
    Decided(Box<Decided>),
    /// The gateway's receipt says that the payer withdrew it: it will never be authorized.
    Withdrawn(Box<Verified<Receipt>>),
    /// No receipt holds: it may have been paid or not. With what those said who were asked.
    Unconfirmed(Vec<Silence>),
}

/// Why somebody who was asked gave no decision that holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silence {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("an answer came that does not hold ({0})")]
    DoesNotHold(#[from] Refusal),
    #[error("the gateway knows of no decision, which proves nothing yet")]
    NotDecided,
    #[error("it went through {0}, whose address is not configured; add it under [gateway]")]
    OtherGateway(GatewayName),
    #[error("the gateway can't be asked: {0}")]
    Address(ClientConfigError),
}

impl Silence {
    /// The problem's name, where there is one.
    fn problem(&self) -> Option<&str> {
        match self {
            Silence::NoAnswer(NoAnswer::Problem { name, .. }) => Some(name),
            Silence::DoesNotHold(refusal) => Some(refusal.problem.name()),
            _ => None,
        }
    }
}

impl Outcome {
    /// The word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Outcome::Decided(decided) => match decided.receipt.claims().decision {
                Decision::Approved => "approved",
                Decision::Declined => "declined",
            },
            Outcome::Withdrawn(_) => "withdrawn",
            Outcome::Unconfirmed(_) => "unconfirmed",
        }
    }

    /// The exit code for it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Outcome::Decided(decided) => match decided.receipt.claims().decision {
                Decision::Approved => Exit::Done,
                Decision::Declined => Exit::NotPaid,
            },
            Outcome::Withdrawn(_) => Exit::NotPaid,
            Outcome::Unconfirmed(_) => Exit::Unconfirmed,
        }
    }

    /// What it means for the person, in a sentence or two.
    fn explained(&self, purchase: &Purchase) -> Vec<String> {
        match self {
            Outcome::Decided(decided) => decision_explained(decided, purchase),
            Outcome::Withdrawn(_) => vec![
                "you withdrew it: it will never be authorized, and the order can be paid again"
                    .to_owned(),
            ],
            Outcome::Unconfirmed(silences) => {
                let mut lines: Vec<_> = silences.iter().map(ToString::to_string).collect();
                lines.push(format!(
                    "it may have been paid: don't pay it again; ask with: twinseal-client show {xid} --refresh; \
                     or withdraw it with: twinseal-client cancel {xid}",
                    xid = purchase.xid()
                ));
                lines
            }
        }
    }
}

fn decision_explained(decided: &Decided, purchase: &Purchase) -> Vec<String> {
    let receipt = decided.receipt.claims();
    let signed = purchase.dual_signature().amount;
    let code = Code::from_digits(&receipt.code).unwrap_or(Code::DoNotHonor);
    let mut lines = vec![in_words(code).to_owned()];
    if receipt.decision == Decision::Approved && receipt.amount != signed {
        lines.push(format!(
            "the shop asked for {} of the {signed} that you signed",
            receipt.amount
        ));
    }
    let totals = decided.totals();
    if let Some(before) = receipt.capture_before
        && totals.captured.saturating_add(totals.reversed) < totals.authorized
    {
        lines.push(format!("held until {}, unless the shop books it", before));
    }
    for doubt in &decided.doubts {
        lines.push(format!(
            "a receipt that is kept here does not hold ({doubt}) and is left out; see: twinseal-client verify"
        ));
    }
    lines
}

/// A code as a payer wants to hear it, with what to do.
fn in_words(code: Code) -> &'static str {
    match code {
        Code::Approved => "the gateway approved it",
        Code::DoNotHonor => "the card issuer says no and gives no reason; ask your bank",
        Code::CustomerCancellation => "you withdrew it",
        Code::InsufficientFunds => {
            "there is too little money in the account; pay with another instrument (--with)"
        }
        Code::ExpiredInstrument => {
            "the instrument is past its last month; pay with another one (--with)"
        }
        Code::NotPermitted => {
            "the gateway knows no such instrument of yours; check the instruments file, or ask your bank"
        }
        Code::AmountLimit => {
            "it is above what one purchase may cost; ask your bank for a higher limit"
        }
        Code::Restricted => "the instrument or its account is blocked; ask your bank",
        Code::VelocityLimit => "too many purchases in too short a time; wait, and buy again",
        Code::IssuerUnavailable => {
            "the card issuer can't be asked, and nothing is held; buy again later"
        }
    }
}

/// A purchase and its outcome, for people.
pub(crate) fn lines(purchase: &Purchase, outcome: &Outcome, file: &Path) -> Vec<String> {
    let record = purchase.record();
    let signed = purchase.dual_signature();
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(format!("{name:<15}{value}"));
    line(
        "outcome",
        match outcome {
            Outcome::Decided(decided) => {
                let receipt = decided.receipt.claims();
                format!(
                    "{}: {} ({} {})",
                    outcome.word().to_uppercase(),
                    receipt.amount,
                    receipt.code,
                    receipt.reason
                )
            }
            Outcome::Withdrawn(_) | Outcome::Unconfirmed(_) => {
                format!("{}: {}", outcome.word().to_uppercase(), signed.amount)
            }
        },
    );
    for explanation in outcome.explained(purchase) {
        line("", explanation);
    }
    line(
        "shop",
        format!(
            "{} ({}) at {}",
            printable(purchase.merchant_name()),
            signed.merchant.id,
            record.shop
        ),
    );
    for (index, item) in display::order(purchase.order()).into_iter().enumerate() {
        line(if index == 0 { "order" } else { "" }, item);
    }
    if let Some(delivery) = &purchase.order().delivery {
        line("delivery", printable(delivery));
    }
    line("paid with", record.instrument.clone());
    line("signed", signed.iat.to_string());
    line("transaction", purchase.xid().to_string());
    let receipt = match outcome {
        Outcome::Decided(decided) => Some(&decided.receipt),
        Outcome::Withdrawn(receipt) => Some(&**receipt),
        Outcome::Unconfirmed(_) => None,
    };
    if let Some(receipt) = receipt {
        line(
            "receipt",
            format!(
                "of {}, {}; verified",
                receipt.signer().name(),
                receipt.claims().iat
            ),
        );
        if let Some(authorization) = receipt.claims().authorization {
            line("authorization", authorization.to_string());
        }
    }
    if let Outcome::Decided(decided) = outcome {
        for (index, after) in decided.after.iter().enumerate() {
            line(
                if index == 0 { "since" } else { "" },
                format!("{}, receipt verified", done_since(after.claims())),
            );
        }
        let written = |value| money::written(value, signed.amount.currency());
        let totals = decided.totals();
        if totals.authorized > 0 {
            line(
                "in all",
                format!(
                    "booked {}, released {}, given back {}",
                    written(totals.captured),
                    written(totals.reversed),
                    written(totals.refunded)
                ),
            );
        }
    }
    line("file", file.display().to_string());
    lines
}

/// What the shop had done after the decision.
fn done_since(receipt: &Receipt) -> String {
    format!(
        "the shop {} {} on {}",
        told::did(receipt.action),
        receipt.amount,
        receipt.iat
    )
}

/// A purchase and its outcome, for scripts.
pub(crate) fn object(purchase: &Purchase, outcome: &Outcome, file: &Path) -> Value {
    let record = purchase.record();
    let signed = purchase.dual_signature();
    let mut object = json!({
        "outcome": outcome.word(),
        "explanation": outcome.explained(purchase).join("; "),
        "xid": signed.xid,
        "shop": record.shop,
        "merchant": signed.merchant.id,
        "merchant_name": purchase.merchant_name(),
        "gateway": signed.gateway.id,
        "instrument": record.instrument,
        "signed_at": signed.iat,
        "signed_amount": signed.amount,
        "order": purchase.order(),
        "file": file,
    });
    match outcome {
        Outcome::Decided(decided) => {
            let receipt = decided.receipt.claims();
            object["code"] = json!(receipt.code);
            object["reason"] = json!(receipt.reason);
            object["amount"] = json!(receipt.amount);
            object["amount_written"] = json!(receipt.amount.to_string());
            object["totals"] = json!(decided.totals());
            object["after"] = decided.after.iter().map(after_object).collect();
            object["decided_at"] = json!(receipt.iat);
            object["authorization"] = json!(receipt.authorization);
            object["capture_before"] = json!(receipt.capture_before);
        }
        Outcome::Withdrawn(receipt) => {
            object["withdrawn_at"] = json!(receipt.claims().iat);
        }
        Outcome::Unconfirmed(silences) => {
            let problems: Vec<_> = silences.iter().filter_map(Silence::problem).collect();
            object["problems"] = json!(problems);
        }
    }
    object
}

/// What the shop had done after the decision, for scripts.
fn after_object(receipt: &Verified<Receipt>) -> Value {
    let claims = receipt.claims();
    json!({
        "action": claims.action,
        "amount": claims.amount,
        "amount_written": claims.amount.to_string(),
        "at": claims.iat,
        "totals": claims.totals,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use protocol::money::Amount;

    use super::*;
    use crate::{purchases::Record, vectors};

    #[test]
    fn an_approval_is_shown_with_its_shop_order_money_and_receipt() {
        let purchase = Purchase::of(vectors::record()).unwrap();
        let outcome = purchase.outcome(&vectors::trust("usual"));
        let file = PathBuf::from("purchases/x.json");
        let shown = lines(&purchase, &outcome, &file).join("\n");
        for part in [
            "APPROVED: 24.50 EUR (00 approved)",
            "The Corner Bookshop (urn:twinseal:merchant:bookshop)",
            "2 ×  Pride and Prejudice",
            "12 Long Lane",
            "of urn:twinseal:gateway:main, 2027-01-15 08:00:22 UTC; verified",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        let object = object(&purchase, &outcome, &file);
        assert_eq!(object["outcome"], "approved");
        assert_eq!(object["amount_written"], "24.50 EUR");
        assert_eq!(object.to_string().matches("\"xid\"").count(), 1);
    }

    #[test]
    fn what_the_shop_had_done_since_is_shown_with_the_sums_it_came_to() {
        let purchase = Purchase::of(Record {
            after: vec![vectors::captured(2000), vectors::refunded(2000, 500)],
            ..vectors::record()
        })
        .unwrap();
        let outcome = purchase.outcome(&vectors::trust("usual"));
        let shown = lines(&purchase, &outcome, Path::new("x")).join("\n");
        for part in [
            "APPROVED: 24.50 EUR",
            "the shop booked 20.00 EUR on",
            "the shop gave back 5.00 EUR on",
            "booked 20.00 EUR, released 0.00 EUR, given back 5.00 EUR",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        let object = object(&purchase, &outcome, Path::new("x"));
        assert_eq!(object["totals"]["refunded"], 500);
        assert_eq!(object["after"][1]["action"], "refund");
    }

    #[test]
    fn what_was_withdrawn_is_no_approval_in_any_form() {
        let purchase = Purchase::of(Record {
            receipt: None,
            purchase_response: None,
            withdrawn: Some(vectors::withdrawn()),
            ..vectors::record()
        })
        .unwrap();
        let outcome = purchase.outcome(&vectors::trust("usual"));
        assert_eq!(
            (outcome.word(), outcome.exit()),
            ("withdrawn", Exit::NotPaid)
        );
        let shown = lines(&purchase, &outcome, Path::new("x")).join("\n");
        assert!(shown.contains("WITHDRAWN: 24.50 EUR"), "{shown}");
        assert!(!shown.to_lowercase().contains("approved"), "{shown}");
        let object = object(&purchase, &outcome, Path::new("x"));
        assert!(object["code"].is_null() && object["totals"].is_null());
    }

    #[test]
    fn what_is_unconfirmed_says_how_to_ask_and_not_to_pay_again() {
        let purchase = Purchase::of(vectors::record()).unwrap();
        let outcome = Outcome::Unconfirmed(vec![Silence::NotDecided]);
        let shown = lines(&purchase, &outcome, Path::new("x")).join("\n");
        assert!(shown.contains("don't pay it again"), "{shown}");
        let ask = format!("show {} --refresh", purchase.xid());
        assert!(shown.contains(&ask), "{shown}");
        assert_eq!(outcome.exit(), Exit::Unconfirmed);
    }

    #[test]
    fn a_decline_says_why_and_a_lower_amount_is_told() {
        let trust = vectors::trust("usual");
        let shown = |receipt: String| {
            let purchase = Purchase::of(Record {
                receipt: Some(receipt),
                ..vectors::record()
            })
            .unwrap();
            let outcome = purchase.outcome(&trust);
            let shown = lines(&purchase, &outcome, Path::new("x")).join("\n");
            (outcome.exit(), shown)
        };
        let (exit, declined) = shown(vectors::declined());
        assert_eq!(exit, Exit::NotPaid);
        assert!(
            declined.contains("DECLINED: 24.50 EUR (51 insufficient-funds)"),
            "{declined}"
        );
        assert!(declined.contains("too little money"), "{declined}");

        let (exit, lower) = shown(vectors::other_receipt(|receipt| {
            receipt.amount = Amount::new(2000, receipt.amount.currency()).unwrap();
        }));
        assert_eq!(exit, Exit::Done);
        assert!(
            lower.contains("20.00 EUR of the 24.50 EUR that you signed"),
            "{lower}"
        );
    }
}
