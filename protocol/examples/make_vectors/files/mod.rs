//! The vector files, as texts: everything in them follows from labels, so that making them again
//! gives the same bytes.

mod accepted;
mod amount;
mod answers;
mod authorization;
mod authorization_form;
mod certificates;
mod draft;
mod edit;
mod good;
mod lifecycle;
mod order;
mod purchase;
mod purchase_form;
mod receipts;
mod sealed;
mod sealed_form;
mod sealed_payment;
mod session;
mod signature;
mod vector;

use self::vector::Topic;
use crate::parties::Parties;

/// Name and content of every file.
pub fn files() -> Vec<(&'static str, String)> {
    let parties = Parties::new();
    let topic = |about, fill: &[fn(&mut Topic<'_>)]| {
        let mut topic = Topic::new(&parties, about);
        for fill in fill {
            fill(&mut topic);
        }
        topic.text()
    };
    vec![
        ("parties.json", good::parties_file(&parties)),
        ("purchase.json", good::purchase_file(&parties)),
        (
            "accepted.json",
            topic(
                "Unusual, and to be accepted.",
                &[
                    accepted::fill,
                    certificates::fill_accepted,
                    lifecycle::fill_accepted,
                ],
            ),
        ),
        (
            "refused-sessions.json",
            topic("Messages 1 and 2 that are refused.", &[session::fill]),
        ),
        (
            "refused-purchase-forms.json",
            topic(
                "Message 3 with another form: encodings, headers, signatures.",
                &[purchase_form::fill, signature::fill],
            ),
        ),
        (
            "refused-purchases.json",
            topic(
                "Message 3 that says something else.",
                &[purchase::fill, amount::fill, order::fill],
            ),
        ),
        (
            "refused-certificates.json",
            topic(
                "Message 3 by a signer whose certificate does not do.",
                &[certificates::fill],
            ),
        ),
        (
            "refused-authorizations.json",
            topic(
                "Message 4 that is refused.",
                &[authorization_form::fill, authorization::fill],
            ),
        ),
        (
            "refused-sealed-payments.json",
            topic(
                "Message 4 with a sealed PI that is refused; the last of them only after it was opened.",
                &[sealed_form::fill, sealed_payment::fill],
            ),
        ),
        (
            "refused-answers.json",
            topic(
                "Messages 5 and 6, and proofs, that are refused.",
                &[receipts::fill, answers::fill],
            ),
        ),
        (
            "refused-lifecycle.json",
            topic(
                "Captures, refund reversals, batches and cancellations that are refused before any record is looked at.",
                &[lifecycle::fill],
            ),
        ),
    ]
}
