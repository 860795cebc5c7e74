//! What an approved purchase has come to, out of the receipts that this merchant verified and kept. Pure.

use protocol::{
    authorization::{AuthorizationRequest, Capture},
    identifiers::Jti,
    jws::Received,
    problem::Refusal,
    receipt::{Decision, Receipt, Totals},
};

use crate::{
    operation::Operation,
    store::{OperationRecord, PurchaseRecord, PurchaseState, RequestState},
};

/// The books of one approved purchase.
pub(crate) struct Books {
    /// The receipt of the authorization.
    pub(crate) authorization: Receipt,
    /// What was asked since, oldest first.
    pub(crate) operations: Vec<OperationRecord>,
    /// The capture that was booked with the authorization: the `jti` to undo it by.
    pub(crate) captured_with: Option<Jti>,
    totals: Totals,
}

impl Books {
    /// Reads the receipts, which were verified before they were kept. `None` when there is no approval to do
    /// anything with.
    ///
    /// # Errors
    /// When the store holds something else than it was given.
    pub(crate) fn of(
        purchase: &PurchaseRecord,
        operations: Vec<OperationRecord>,
    ) -> Result<Option<Self>, Refusal> {
        let PurchaseState::Decided(Decision::Approved, response) = &purchase.state else {
            return Ok(None);
        };
        let authorization = claims(&response.receipt)?;
        let asked = Received::<AuthorizationRequest>::read(&purchase.authorization_request)?;
        let asked = asked.unverified();
        let mut totals = authorization.totals;
        for operation in &operations {
            if let RequestState::Answered(receipt) = &operation.state {
                totals = claims(receipt)?.totals;
            }
        }
        Ok(Some(Self {
            authorization,
            captured_with: (asked.capture == Capture::Now).then_some(asked.jti),
            operations,
            totals,
        }))
    }

    /// The sums, by the last receipt.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// What was asked and is not known to be done or not.
    pub(crate) fn pending(&self) -> Option<&OperationRecord> {
        self.operations
            .iter()
            .find(|operation| operation.state == RequestState::Pending)
    }

    /// How much of an operation is open, in minor units; `None` when the booking to undo is not here.
    pub(crate) fn open(&self, operation: Operation, target: Option<Jti>) -> Option<u64> {
        let room = operation.room(self.totals);
        match target {
            None => Some(room),
            Some(target) => Some(room.min(self.left_of(operation, target)?)),
        }
    }

    /// What of a booking was not undone.
    fn left_of(&self, undoing: Operation, target: Jti) -> Option<u64> {
        let kind = match undoing {
            Operation::CaptureReversal => Operation::Capture,
            _ => Operation::Refund,
        };
        let is_first = kind == Operation::Capture && self.captured_with == Some(target);
        let booked = if is_first {
            self.authorization.amount.value()
        } else {
            let booking = self.done().find(|done| done.jti == target)?;
            (booking.operation == kind).then(|| booking.amount.value())?
        };
        let undone: u64 = self
            .done()
            .filter(|done| done.operation == undoing && done.target == Some(target))
            .map(|done| done.amount.value())
            .sum();
        Some(booked.saturating_sub(undone))
    }

    fn done(&self) -> impl Iterator<Item = &OperationRecord> {
        self.operations
            .iter()
            .filter(|operation| matches!(operation.state, RequestState::Answered(_)))
    }
}

/// The claims of a receipt that was verified when it came.
pub(crate) fn claims(receipt: &str) -> Result<Receipt, Refusal> {
    Ok(Received::<Receipt>::read(receipt)?.unverified().clone())
}
