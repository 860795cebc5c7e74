//! What can be asked of an approved purchase, and what it does to its sums. Pure.

use std::marker::PhantomData;

use protocol::{
    identifiers::{Jti, Xid},
    json::Version,
    lifecycle::{
        Capture, CaptureReversal, LifecycleRequest, Operation as Asked, Refund, RefundReversal,
        Reversal,
    },
    money::Amount,
    names::{GatewayName, MerchantName},
    problem::Refusal,
    receipt::{Action, Totals},
    signing::SoftwareKey,
    time::Timestamp,
};

/// One of the five things that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Capture,
    CaptureReversal,
    Reversal,
    Refund,
    RefundReversal,
}

/// What one request says beside the operation.
pub(crate) struct Request {
    pub(crate) jti: Jti,
    pub(crate) iat: Timestamp,
    pub(crate) merchant: MerchantName,
    pub(crate) gateway: GatewayName,
    pub(crate) xid: Xid,
    pub(crate) amount: Amount,
    pub(crate) target: Option<Jti>,
}

impl Operation {
    const ALL: [Operation; 5] = [
        Operation::Capture,
        Operation::CaptureReversal,
        Operation::Reversal,
        Operation::Refund,
        Operation::RefundReversal,
    ];

    /// What its receipt is about.
    pub(crate) const fn action(self) -> Action {
        match self {
            Operation::Capture => Capture::ACTION,
            Operation::CaptureReversal => CaptureReversal::ACTION,
            Operation::Reversal => Reversal::ACTION,
            Operation::Refund => Refund::ACTION,
            Operation::RefundReversal => RefundReversal::ACTION,
        }
    }

    /// Reads the action's word, as the store has it.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.action().as_str() == word)
    }

    /// Where the gateway takes it.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Operation::Capture => "/v1/captures",
            Operation::CaptureReversal => "/v1/capture-reversals",
            Operation::Reversal => "/v1/reversals",
            Operation::Refund => "/v1/refunds",
            Operation::RefundReversal => "/v1/refund-reversals",
        }
    }

    /// How much of it the sums leave room for, in minor units; a booking that is undone has a limit of its
    /// own besides.
    pub(crate) fn room(self, totals: Totals) -> u64 {
        let used = totals.captured.saturating_add(totals.reversed);
        match self {
            Operation::Capture | Operation::Reversal => totals.authorized.saturating_sub(used),
            Operation::Refund | Operation::CaptureReversal => {
                totals.captured.saturating_sub(totals.refunded)
            }
            Operation::RefundReversal => totals.refunded,
        }
    }

    /// The sums after so much of it; `None` when they don't allow it.
    pub(crate) fn applied(self, totals: Totals, amount: u64) -> Option<Totals> {
        let mut after = totals;
        match self {
            Operation::Capture => after.captured = after.captured.checked_add(amount)?,
            Operation::CaptureReversal => after.captured = after.captured.checked_sub(amount)?,
            Operation::Reversal => after.reversed = after.reversed.checked_add(amount)?,
            Operation::Refund => after.refunded = after.refunded.checked_add(amount)?,
            Operation::RefundReversal => after.refunded = after.refunded.checked_sub(amount)?,
        }
        after.holds().then_some(after)
    }

    /// Signs a request for it.
    pub(crate) fn sign(self, key: &SoftwareKey, request: Request) -> Result<String, Refusal> {
        match self {
            Operation::Capture => signed::<Capture>(key, request),
            Operation::CaptureReversal => signed::<CaptureReversal>(key, request),
            Operation::Reversal => signed::<Reversal>(key, request),
            Operation::Refund => signed::<Refund>(key, request),
            Operation::RefundReversal => signed::<RefundReversal>(key, request),
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.action().fmt(f)
    }
}

fn signed<O: Asked>(key: &SoftwareKey, request: Request) -> Result<String, Refusal> {
    key.sign(&LifecycleRequest::<O> {
        version: Version,
        jti: request.jti,
        iat: request.iat,
        merchant: request.merchant,
        gateway: request.gateway,
        xid: request.xid,
        amount: request.amount,
        target: request.target,
        operation: PhantomData,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(authorized: u64, captured: u64, reversed: u64, refunded: u64) -> Totals {
        Totals {
            authorized,
            captured,
            reversed,
            refunded,
        }
    }

    #[test]
    fn an_operation_is_read_back_from_its_word_and_has_a_place_of_its_own() {
        let mut paths: Vec<_> = Operation::ALL.map(Operation::path).to_vec();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), Operation::ALL.len());
        for operation in Operation::ALL {
            let word = operation.to_string();
            assert_eq!(Operation::from_word(&word), Some(operation), "{word}");
        }
        assert_eq!(Operation::from_word("authorization"), None);
    }

    #[test]
    fn the_sums_leave_room_for_exactly_what_can_be_applied() {
        for before in [
            totals(1250, 0, 0, 0),
            totals(1250, 1250, 0, 0),
            totals(1250, 700, 300, 200),
            totals(1250, 700, 550, 700),
        ] {
            for operation in Operation::ALL {
                let room = operation.room(before);
                assert!(operation.applied(before, room).is_some(), "{operation}");
                let above = operation.applied(before, room + 1);
                assert!(above.is_none(), "{operation} in {before:?}");
            }
        }
    }

    #[test]
    fn what_is_undone_leaves_the_sums_as_they_were() {
        let before = totals(1250, 700, 300, 200);
        for (operation, undone_by) in [
            (Operation::Capture, Operation::CaptureReversal),
            (Operation::Refund, Operation::RefundReversal),
        ] {
            let after = operation.applied(before, 100).unwrap();
            assert_ne!(after, before);
            assert_eq!(undone_by.applied(after, 100), Some(before));
        }
    }
}
