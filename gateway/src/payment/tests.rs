//! The state machine against a model that only remembers what happened and adds it up.

use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp(1_800_000_000);
const END: Timestamp = Timestamp(START.0 + 1000);
const AMOUNT: u64 = 100;

/// Everything that was done, and nothing else.
#[derive(Default)]
struct History {
    events: Vec<(Action, u64)>,
    released: u64,
}

impl History {
    fn sum(&self, of: Action) -> u64 {
        self.events
            .iter()
            .filter(|(action, _)| *action == of)
            .map(|(_, amount)| amount)
            .sum()
    }

    fn totals(&self) -> Totals {
        Totals {
            authorized: AMOUNT,
            captured: self.sum(Action::Capture) - self.sum(Action::CaptureReversal),
            reversed: self.sum(Action::Reversal),
            refunded: self.sum(Action::Refund) - self.sum(Action::RefundReversal),
        }
    }

    /// What the specification says of an operation, in its own words.
    fn allows(&self, action: Action, amount: u64, now: Timestamp) -> bool {
        let totals = self.totals();
        let open = AMOUNT - totals.captured - totals.reversed;
        match action {
            Action::Capture | Action::Reversal => now < END && amount <= open,
            Action::Refund | Action::CaptureReversal => totals.refunded + amount <= totals.captured,
            Action::RefundReversal => amount <= totals.refunded,
            Action::Authorization | Action::Cancellation => false,
        }
    }
}

/// An amount of money in each place, moved as the movements say.
#[derive(Debug, PartialEq, Eq)]
struct Books {
    available: i64,
    held: i64,
    merchant: i64,
}

impl Books {
    fn move_money(&mut self, movement: Movement, amount: u64) {
        let amount = i64::try_from(amount).unwrap();
        let Self {
            available,
            held,
            merchant,
        } = self;
        let (from, to) = match movement {
            Movement::HeldToMerchant => (held, merchant),
            Movement::HeldToAvailable => (held, available),
            Movement::MerchantToHeld => (merchant, held),
            Movement::MerchantToAvailable => (merchant, available),
            Movement::AvailableToMerchant => (available, merchant),
        };
        *from -= amount;
        *to += amount;
    }
}

fn steps() -> impl Strategy<Value = Vec<(Action, u64, u64)>> {
    let action = prop::sample::select(vec![
        Action::Capture,
        Action::CaptureReversal,
        Action::Reversal,
        Action::Refund,
        Action::RefundReversal,
        Action::Cancellation,
    ]);
    // Times run on, past the end now and then.
    prop::collection::vec((action, 1..=AMOUNT + 20, 0..120u64), 0..40)
}

proptest! {
    #[test]
    fn every_operation_is_done_exactly_when_the_sums_allow_it_and_moves_that_much(steps in steps()) {
        let mut payment = Payment::approved(AMOUNT, Capture::Later, END);
        let mut history = History::default();
        let mut books = Books { available: 0, held: AMOUNT as i64, merchant: 0 };
        let mut now = START;
        for (action, amount, seconds) in steps {
            now = now.plus(seconds);
            if let Some((ended, released)) = payment.expire(now) {
                payment = ended;
                history.released += released;
                books.move_money(Movement::HeldToAvailable, released);
            }
            let done = payment.apply(action, amount, now);
            prop_assert_eq!(done.is_ok(), history.allows(action, amount, now));
            if let Ok((next, movement)) = done {
                payment = next;
                history.events.push((action, amount));
                books.move_money(movement, amount);
            }
            let totals = payment.totals();
            prop_assert!(totals.holds());
            prop_assert_eq!(totals, history.totals());
            // The money is where the sums say that it is.
            prop_assert_eq!(books.held, payment.held() as i64);
            prop_assert_eq!(books.merchant, totals.captured as i64 - totals.refunded as i64);
            prop_assert_eq!(books.held + books.merchant + books.available, AMOUNT as i64);
            prop_assert_eq!(Payment::stored(totals, payment.held(), END), Some(payment));
        }
    }
}

#[test]
fn a_reversed_capture_can_be_captured_again_until_the_end_and_not_after_it() {
    let payment = Payment::approved(AMOUNT, Capture::Now, END);
    let (undone, movement) = payment.apply(Action::CaptureReversal, 40, START).unwrap();
    assert_eq!(movement, Movement::MerchantToHeld);
    assert!(
        undone
            .apply(Action::Capture, 40, Timestamp(END.0 - 1))
            .is_ok()
    );
    assert_eq!(
        undone.apply(Action::Capture, 40, END),
        Err(LimitExceeded::Ended)
    );
    let (_, late) = payment.apply(Action::CaptureReversal, 40, END).unwrap();
    assert_eq!(late, Movement::MerchantToAvailable);
}

#[test]
fn a_payment_says_its_state_in_a_word() {
    let payment = Payment::approved(AMOUNT, Capture::Later, END);
    let after = |payment: Payment, action, amount| payment.apply(action, amount, START).unwrap().0;
    assert_eq!(payment.state(), State::Authorized);
    let captured = after(payment, Action::Capture, 60);
    assert_eq!(captured.state(), State::Captured);
    assert_eq!(after(captured, Action::Refund, 60).state(), State::Refunded);
    assert_eq!(
        after(payment, Action::Reversal, AMOUNT).state(),
        State::Reversed
    );
    assert_eq!(payment.expire(END).unwrap().0.state(), State::Expired);
    assert_eq!(payment.expire(Timestamp(END.0 - 1)), None);
}

#[test]
fn a_booking_is_undone_in_parts_up_to_its_amount_and_only_in_an_open_batch() {
    let booking = Booking {
        net: 50,
        is_in_open_batch: true,
    };
    let rest = booking.undo(30).unwrap();
    assert_eq!(rest.net, 20);
    assert_eq!(rest.undo(21), Err(NotUndone::Net));
    assert_eq!(rest.undo(20).unwrap().net, 0);
    let closed = Booking {
        is_in_open_batch: false,
        ..booking
    };
    assert_eq!(closed.undo(1), Err(NotUndone::BatchClosed));
}

#[test]
fn sums_that_no_payment_has_are_not_read() {
    let totals = |captured, reversed, refunded| Totals {
        authorized: AMOUNT,
        captured,
        reversed,
        refunded,
    };
    assert!(Payment::stored(totals(60, 40, 60), 0, END).is_some());
    assert!(Payment::stored(totals(60, 41, 0), 0, END).is_none());
    assert!(Payment::stored(totals(60, 0, 61), 0, END).is_none());
    assert!(Payment::stored(totals(60, 30, 0), 11, END).is_none());
    assert!(Payment::stored(totals(u64::MAX, 1, 0), 0, END).is_none());
}
