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

#[cfg(test)]
mod tests {
    use protocol::{
        encoding::base64url,
        identifiers::{Digest, OrderId},
        money::Amount,
        names::ClientName,
        problem::Problem,
        purchase::PurchaseResponse,
    };
    use serde_json::Value;

    use super::*;

    /// The approved purchase of the vectors, 24.50 EUR, as this merchant keeps it.
    fn purchase() -> PurchaseRecord {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../protocol/vectors/purchase.json"
        );
        let vector: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let receipt = text(&vector["message_5"]["jws"]);
        let claims = claims(&receipt).unwrap();
        PurchaseRecord {
            xid: claims.xid,
            sid: claims.sid,
            order: OrderId::random().unwrap(),
            client: ClientName::new("payer").unwrap(),
            client_x5t: claims.client,
            nc: claims.nc,
            nm: claims.nm,
            dsh: claims.dsh,
            pih: Digest::of(b"jwe"),
            amount: claims.amount,
            dual_signature: String::new(),
            order_disclosure: String::new(),
            payment_information: None,
            authorization_request: text(&vector["message_4"]["request"]["jws"]),
            state: PurchaseState::Decided(
                Decision::Approved,
                PurchaseResponse {
                    purchase_response: String::new(),
                    receipt,
                },
            ),
        }
    }

    /// Does operations one after the other, as the gateway would, and keeps their receipts.
    fn books(done: &[(Operation, u64, Option<Jti>)]) -> Books {
        let purchase = purchase();
        let mut books = Books::of(&purchase, Vec::new()).unwrap().unwrap();
        for (number, (operation, value, target)) in done.iter().enumerate() {
            let mut receipt = books.authorization.clone();
            receipt.action = operation.action();
            receipt.target = *target;
            receipt.amount = Amount::new(*value, receipt.amount.currency()).unwrap();
            receipt.totals = operation.applied(books.totals(), *value).unwrap();
            let mut operations = books.operations;
            operations.push(OperationRecord {
                jti: jti(number),
                xid: purchase.xid,
                operation: *operation,
                target: *target,
                amount: receipt.amount,
                request: String::new(),
                state: RequestState::Answered(with_claims(&purchase, &receipt)),
                made_at: receipt.iat,
                is_all: false,
                is_told: true,
            });
            books = Books::of(&purchase, operations).unwrap().unwrap();
        }
        books
    }

    /// The `jti` of what was done as the first, second, third.
    fn jti(number: usize) -> Jti {
        Jti::from_bytes([u8::try_from(number).unwrap(); 16])
    }

    /// The receipt of the vectors with other claims; nobody looks at its signature here.
    fn with_claims(purchase: &PurchaseRecord, receipt: &Receipt) -> String {
        let PurchaseState::Decided(_, response) = &purchase.state else {
            panic!("it is decided");
        };
        let mut parts: Vec<_> = response.receipt.split('.').map(str::to_owned).collect();
        parts[1] = base64url(&serde_json::to_vec(receipt).unwrap());
        parts.join(".")
    }

    #[test]
    fn what_is_open_follows_from_the_last_receipt() {
        let open = |books: &Books| {
            [Operation::Capture, Operation::Reversal, Operation::Refund]
                .map(|operation| books.open(operation, None).unwrap())
        };
        assert_eq!(open(&books(&[])), [2450, 2450, 0]);
        let captured = books(&[(Operation::Capture, 2000, None)]);
        assert_eq!(open(&captured), [450, 450, 2000]);
        let refunded = books(&[
            (Operation::Capture, 2000, None),
            (Operation::Refund, 700, None),
            (Operation::Reversal, 400, None),
        ]);
        assert_eq!(open(&refunded), [50, 50, 1300]);
    }

    #[test]
    fn a_booking_is_undone_by_what_of_it_was_not_undone_and_not_given_back() {
        let undo =
            |books: &Books, number| books.open(Operation::CaptureReversal, Some(jti(number)));
        let two = [
            (Operation::Capture, 1000, None),
            (Operation::Capture, 500, None),
        ];
        assert_eq!(undo(&books(&two), 0), Some(1000));
        assert_eq!(undo(&books(&two), 1), Some(500));
        let partly = books(&[
            two[0],
            two[1],
            (Operation::CaptureReversal, 300, Some(jti(0))),
        ]);
        assert_eq!(undo(&partly, 0), Some(700));
        assert_eq!(undo(&partly, 1), Some(500));
        let given_back = books(&[two[0], two[1], (Operation::Refund, 1200, None)]);
        assert_eq!(undo(&given_back, 0), Some(300));
        let refund = given_back.open(Operation::RefundReversal, Some(jti(2)));
        assert_eq!(refund, Some(1200));
        // A refund is no capture, and what is not here is nothing.
        assert_eq!(undo(&given_back, 2), None);
        assert_eq!(undo(&given_back, 3), None);
    }

    #[test]
    fn without_an_approval_there_are_no_books() {
        for state in [
            PurchaseState::Pending,
            PurchaseState::Failed(Problem::Expired),
        ] {
            let purchase = PurchaseRecord {
                state,
                ..purchase()
            };
            assert!(Books::of(&purchase, Vec::new()).unwrap().is_none());
        }
    }
}
