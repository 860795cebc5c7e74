//! A payment after its approval: what each operation does to its sums, and where the money goes. Pure: no
//! clock, no I/O; the store makes each change only from the state that it was computed from.

use protocol::{
    authorization::Capture,
    receipt::{Action, Totals},
    time::Timestamp,
};

/// An approved payment. All sums are minor units and net: what was undone does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payment {
    authorized: u64,
    captured: u64,
    reversed: u64,
    refunded: u64,
    /// What is still held of the payer's money. Less than what is not captured or reversed only when the
    /// hold has ended.
    held: u64,
    /// From this moment on nothing can be captured.
    capture_before: Timestamp,
}

/// Which of the two books gives, and which takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Movement {
    /// Booked for the merchant.
    HeldToMerchant,
    /// Released to the payer.
    HeldToAvailable,
    /// A capture undone while the authorization lasts: held again.
    MerchantToHeld,
    /// Given back: a refund, or a capture undone after the authorization's end.
    MerchantToAvailable,
    /// A refund undone.
    AvailableToMerchant,
}

/// What remains does not allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitExceeded {
    #[error("above what is held")]
    Hold,
    #[error("above what was captured and not refunded")]
    Captured,
    #[error("above what was refunded")]
    Refunded,
    #[error("the authorization has ended")]
    Ended,
    #[error("an authorization is no operation on itself")]
    NoOperation,
}

/// What a payment has come to, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Held, nothing booked.
    Authorized,
    /// Something is booked.
    Captured,
    /// Everything that was booked was given back.
    Refunded,
    /// Everything was released by the merchant.
    Reversed,
    /// The hold ended before anything was booked.
    Expired,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            State::Authorized => "authorized",
            State::Captured => "captured",
            State::Refunded => "refunded",
            State::Reversed => "reversed",
            State::Expired => "expired",
        }
    }
}

impl Payment {
    /// A payment as it was approved.
    pub(crate) fn approved(amount: u64, capture: Capture, capture_before: Timestamp) -> Self {
        let (captured, held) = match capture {
            Capture::Now => (amount, 0),
            Capture::Later => (0, amount),
        };
        Self {
            authorized: amount,
            captured,
            reversed: 0,
            refunded: 0,
            held,
            capture_before,
        }
    }

    /// A payment as a store kept it; `None` when the sums can't be a payment's.
    pub(crate) fn stored(totals: Totals, held: u64, capture_before: Timestamp) -> Option<Self> {
        let payment = Self {
            authorized: totals.authorized,
            captured: totals.captured,
            reversed: totals.reversed,
            refunded: totals.refunded,
            held,
            capture_before,
        };
        let used = totals.captured.checked_add(totals.reversed)?;
        (totals.holds() && held <= totals.authorized - used).then_some(payment)
    }

    /// The sums that receipts tell.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            authorized: self.authorized,
            captured: self.captured,
            reversed: self.reversed,
            refunded: self.refunded,
        }
    }

    /// What is still held.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// The word for it.
    pub(crate) fn state(&self) -> State {
        if self.captured > 0 {
            if self.refunded == self.captured {
                State::Refunded
            } else {
                State::Captured
            }
        } else if self.held > 0 {
            State::Authorized
        } else if self.reversed == self.authorized {
            State::Reversed
        } else {
            State::Expired
        }
    }

    /// Does an operation, and says where its money goes. Whether a booking that is undone still has that
    /// much is the booking's to say, see [`Booking`].
    ///
    /// # Errors
    /// When what remains does not allow it.
    pub(crate) fn apply(
        self,
        action: Action,
        amount: u64,
        now: Timestamp,
    ) -> Result<(Self, Movement), LimitExceeded> {
        // A hold that was ended stays so, also for who looked at the time before: nothing is missing from one that goes on.
        let has_ended = now >= self.capture_before
            || self.held < self.authorized - self.captured - self.reversed;
        let mut next = self;
        let movement = match action {
            Action::Capture => {
                if has_ended {
                    return Err(LimitExceeded::Ended);
                }
                next.held = less(self.held, amount, LimitExceeded::Hold)?;
                next.captured += amount;
                Movement::HeldToMerchant
            }
            Action::Reversal => {
                if has_ended {
                    return Err(LimitExceeded::Ended);
                }
                next.held = less(self.held, amount, LimitExceeded::Hold)?;
                next.reversed += amount;
                Movement::HeldToAvailable
            }
            Action::Refund => {
                let refundable = self.captured - self.refunded;
                less(refundable, amount, LimitExceeded::Captured)?;
                next.refunded += amount;
                Movement::MerchantToAvailable
            }
            Action::CaptureReversal => {
                let refundable = self.captured - self.refunded;
                less(refundable, amount, LimitExceeded::Captured)?;
                next.captured -= amount;
                if has_ended {
                    Movement::MerchantToAvailable
                } else {
                    next.held += amount;
                    Movement::MerchantToHeld
                }
            }
            Action::RefundReversal => {
                next.refunded = less(self.refunded, amount, LimitExceeded::Refunded)?;
                Movement::AvailableToMerchant
            }
            Action::Authorization | Action::Cancellation => {
                return Err(LimitExceeded::NoOperation);
            }
        };
        Ok((next, movement))
    }

    /// Ends the hold of an authorization that is over, and says how much is released; `None` when there is
    /// nothing to end.
    pub(crate) fn expire(self, now: Timestamp) -> Option<(Self, u64)> {
        (now >= self.capture_before && self.held > 0)
            .then_some((Self { held: 0, ..self }, self.held))
    }
}

/// A capture or a refund as far as it can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Booking {
    /// What was booked and not undone.
    pub(crate) net: u64,
    /// Whether its batch is open: only then it can be undone.
    pub(crate) is_in_open_batch: bool,
}

/// A booking can't be undone by this much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotUndone {
    #[error("its batch is closed")]
    BatchClosed,
    #[error("above what of the booking was not undone")]
    Net,
}

impl Booking {
    /// Takes a part of it back.
    ///
    /// # Errors
    /// When its batch is closed, or less than that is left of it.
    pub(crate) fn undo(self, amount: u64) -> Result<Self, NotUndone> {
        if !self.is_in_open_batch {
            return Err(NotUndone::BatchClosed);
        }
        let net = less(self.net, amount, NotUndone::Net)?;
        Ok(Self { net, ..self })
    }
}

fn less<E>(from: u64, amount: u64, otherwise: E) -> Result<u64, E> {
    from.checked_sub(amount).ok_or(otherwise)
}

#[cfg(test)]
mod tests;
