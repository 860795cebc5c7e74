//! What the gateway's receipts about one purchase say together.

use protocol::{
    jws::Verified,
    problem::Refusal,
    receipt::{Action, Decision, Receipt, Totals},
};

use crate::outcome::Outcome;

/// Receipts that were each held against everything that was signed.
#[derive(Default)]
pub(crate) struct Told {
    /// The payer's cancellation was taken.
    pub(crate) withdrawn: Option<Verified<Receipt>>,
    /// The authorization was decided.
    pub(crate) decision: Option<Verified<Receipt>>,
    /// What the shop had done since, oldest first.
    pub(crate) after: Vec<Verified<Receipt>>,
    /// Why receipts that are kept here do not hold.
    pub(crate) doubts: Vec<Refusal>,
}

/// A decided purchase and what came after it.
pub(crate) struct Decided {
    pub(crate) receipt: Verified<Receipt>,
    /// What the shop had done since, oldest first, as far as it was asked for.
    pub(crate) after: Vec<Verified<Receipt>>,
    /// Why receipts that are kept here do not hold.
    pub(crate) doubts: Vec<Refusal>,
}

impl Told {
    /// Takes a receipt in, by what it is about; one that is there already stays.
    pub(crate) fn add(&mut self, receipt: Verified<Receipt>) {
        match receipt.claims().action {
            Action::Authorization => {
                self.decision.get_or_insert(receipt);
            }
            Action::Cancellation => {
                self.withdrawn.get_or_insert(receipt);
            }
            _ => {
                let jti = receipt.claims().jti;
                if self.after.iter().all(|known| known.claims().jti != jti) {
                    self.after.push(receipt);
                }
            }
        }
    }

    /// What the purchase came to; `None` without a receipt that says it. An approval holds money, whatever
    /// else is there; the shop's declined attempt after a cancellation changes nothing.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        let is_approved =
            |receipt: &Verified<Receipt>| receipt.claims().decision == Decision::Approved;
        match (self.decision, self.withdrawn) {
            (Some(receipt), None) => Some(decided(receipt, self.after, self.doubts)),
            (Some(receipt), Some(_)) if is_approved(&receipt) => {
                Some(decided(receipt, self.after, self.doubts))
            }
            (_, Some(withdrawn)) => Some(Outcome::Withdrawn(Box::new(withdrawn))),
            (None, None) => None,
        }
    }
}

fn decided(
    receipt: Verified<Receipt>,
    after: Vec<Verified<Receipt>>,
    doubts: Vec<Refusal>,
) -> Outcome {
    Outcome::Decided(Box::new(Decided {
        receipt,
        after,
        doubts,
    }))
}

impl Decided {
    /// The sums by the last receipt.
    pub(crate) fn totals(&self) -> Totals {
        self.after.last().unwrap_or(&self.receipt).claims().totals
    }
}

/// What a shop had done, before the amount.
pub(crate) const fn did(action: Action) -> &'static str {
    match action {
        Action::Authorization => "decided on",
        Action::Capture => "booked",
        Action::CaptureReversal => "undid a booking of",
        Action::Reversal => "released",
        Action::Refund => "gave back",
        Action::RefundReversal => "undid a refund of",
        Action::Cancellation => "took the withdrawal of",
    }
}
