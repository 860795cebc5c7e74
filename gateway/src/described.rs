//! What the OpenAPI document says of each operation. A refusal that is not among an operation's problems is logged
//! when it happens, and fails the end-to-end tests.

use hyper::StatusCode;
use openapi::Described;
use protocol::{
    authorization::{self, AuthorizationBody, AuthorizationResponse},
    cancellation::CancellationBody,
    identifiers::{Jti, Xid},
    inquiry::{Certificates, Receipts},
    lifecycle::{
        BatchJws, BatchResponse, BodyOf, Capture, CaptureReversal, Operation, OperationJws, Refund,
        RefundReversal, Reversal,
    },
    problem::Problem,
};

use crate::{
    admin::Readiness,
    routes::{ForMerchants, ForOperators, ForPayers},
};

/// Any request of a merchant's, before its path is looked at.
const NOT_ADMITTED: &[Problem] = &[
    Problem::CertificateUntrusted,
    Problem::RoleMismatch,
    Problem::MerchantMismatch,
    Problem::RateLimited,
];

/// A signed message: its form and its signature.
const NOT_VERIFIED: &[Problem] = &[
    Problem::Malformed,
    Problem::UnsupportedVersion,
    Problem::SignatureInvalid,
    Problem::CertificateUntrusted,
    Problem::CertificateRevoked,
    Problem::CertificateExpired,
    Problem::RoleMismatch,
    Problem::TooLarge,
];

/// A request that was not done before: whether it may be done now.
const NOT_FIRST: &[Problem] = &[
    Problem::MerchantMismatch,
    Problem::GatewayMismatch,
    Problem::Expired,
    Problem::NotYetValid,
    Problem::IdempotencyConflict,
];

/// Reading a record, and a signature of the token's.
const NOT_READ: &[Problem] = &[
    Problem::Overloaded,
    Problem::HsmUnavailable,
    Problem::StoreUnavailable,
    Problem::Internal,
];

/// Writing a record, and a signature of the token's.
const NOT_WRITTEN: &[Problem] = &[
    Problem::Overloaded,
    Problem::HsmUnavailable,
    Problem::StoreUnavailable,
    Problem::OutcomeUnknown,
    Problem::Internal,
];

pub(crate) fn for_merchants(operation: ForMerchants) -> Described {
    match operation {
        ForMerchants::Authorize => Described::new(
            "authorize",
            "Decide a purchase",
            "Message 4 of the protocol: confirms the payer by the dual signature, opens the payment in the token, and \
             has the card issuer decide. A decline is an answer with a receipt, not a problem. The same request gets \
             the same claims again, whatever the time.",
        )
        .body::<AuthorizationBody>()
        .answers::<AuthorizationResponse>(StatusCode::OK, "The decision's receipt.")
        .problems(authorization::PROBLEMS),
        ForMerchants::Receipts => Described::new(
            "merchantsReceipts",
            "The receipts of a transaction",
            "All receipts of a transaction of the asking merchant's own: the decision's, then those of what was done \
             after it.",
        )
        .argument::<Xid>()
        .answers::<Receipts>(StatusCode::OK, "The receipts, oldest first.")
        .problems(&[Problem::UnknownAuthorization])
        .problems(NOT_READ),
        ForMerchants::Capture => operation_of::<Capture>(
            "capture",
            "Book what is held",
            "Moves a part of what is held, or all of it, to the merchant, until `capture_before`.",
        ),
        ForMerchants::CaptureReversal => operation_of::<CaptureReversal>(
            "reverseCapture",
            "Undo a capture",
            "Undoes a capture, wholly or in part, while its batch is open. `target` is the capture's `jti`.",
        ),
        ForMerchants::Reversal => operation_of::<Reversal>(
            "reverse",
            "Release what is held",
            "Gives a part of what is held, or all of it, back to the payer.",
        ),
        ForMerchants::Refund => operation_of::<Refund>(
            "refund",
            "Give back what was captured",
            "Moves a part of what was captured, or all of it, back to the payer.",
        ),
        ForMerchants::RefundReversal => operation_of::<RefundReversal>(
            "reverseRefund",
            "Undo a refund",
            "Undoes a refund, wholly or in part, while its batch is open and the payer still has the money. `target` \
             is the refund's `jti`.",
        ),
        ForMerchants::CloseBatch => Described::new(
            "closeBatch",
            "Close a batch",
            "Closes the merchant's open batch of one currency. An empty one closes with zeros.",
        )
        .body::<BodyOf<BatchJws>>()
        .answers::<BatchResponse>(StatusCode::OK, "What the batch came to.")
        .problems(NOT_VERIFIED)
        .problems(NOT_FIRST)
        .problems(NOT_WRITTEN),
        ForMerchants::Batch => Described::new(
            "batch",
            "A closed batch",
            "What a closed batch of the asking merchant's own came to, by the `jti` of the request that closed it.",
        )
        .argument::<Jti>()
        .answers::<BatchResponse>(StatusCode::OK, "What the batch came to.")
        .problems(&[Problem::UnknownAuthorization])
        .problems(NOT_READ),
        ForMerchants::Certificates => certificates(),
        ForMerchants::Document => Described::document("document"),
    }
    .problems(NOT_ADMITTED)
}

fn operation_of<O: Operation>(
    id: &'static str,
    summary: &'static str,
    details: &'static str,
) -> Described {
    Described::new(id, summary, details)
        .body::<BodyOf<OperationJws<O>>>()
        .answers::<AuthorizationResponse>(StatusCode::OK, "The operation's receipt.")
        .problems(NOT_VERIFIED)
        .problems(NOT_FIRST)
        .problems(&[
            Problem::UnknownAuthorization,
            Problem::AmountMismatch,
            Problem::LimitExceeded,
        ])
        .problems(NOT_WRITTEN)
}

pub(crate) fn for_payers(operation: ForPayers) -> Described {
    match operation {
        ForPayers::Receipts => Described::new(
            "payersReceipts",
            "The receipts of a transaction",
            "All receipts of a transaction of the asking payer's own, after those of a cancellation. Whoever can't \
             prove to be its payer gets the answer of a transaction that does not exist.",
        )
        .argument::<Xid>()
        .proof()
        .answers::<Receipts>(StatusCode::OK, "The receipts, oldest first.")
        .problems(&[Problem::UnknownAuthorization, Problem::RateLimited])
        .problems(NOT_READ),
        ForPayers::Cancel => Described::new(
            "cancel",
            "Withdraw a purchase",
            "Withdraws a signed purchase for ever, unless it was decided; the receipt says which. The payer's two \
             signatures are its permit.",
        )
        .body::<CancellationBody>()
        .answers::<AuthorizationResponse>(
            StatusCode::OK,
            "The cancellation's receipt, or that of the decision that came first.",
        )
        .problems(NOT_VERIFIED)
        .problems(&[
            Problem::ChallengeMismatch,
            Problem::GatewayMismatch,
            Problem::NotYetValid,
            Problem::UnknownAuthorization,
            Problem::RateLimited,
        ])
        .problems(NOT_WRITTEN),
        ForPayers::Certificates => certificates(),
        ForPayers::Document => Described::document("document"),
    }
}

/// At both listeners the same.
fn certificates() -> Described {
    Described::new(
        "certificates",
        "Certificates and CRLs",
        "The gateway's live certificates, and the CRLs in use: what others need to seal to it and to verify it.",
    )
    .answers::<Certificates>(StatusCode::OK, "Each certificate proves itself.")
}

pub(crate) fn for_operators(operation: ForOperators) -> Described {
    match operation {
        ForOperators::Health => Described::new("health", "Is it alive", "The process answers.")
            .answers_text("text/plain", "It is alive."),
        ForOperators::Ready => Described::new(
            "ready",
            "Is it ready",
            "Uses every key and writes a row of the store.",
        )
        .answers::<Readiness>(StatusCode::OK, "Every part has just worked.")
        .answers::<Readiness>(StatusCode::SERVICE_UNAVAILABLE, "A part does not work."),
        ForOperators::Metrics => Described::new("metrics", "Counts", "What Prometheus reads.")
            .answers_text("text/plain; version=0.0.4", "The counts."),
        ForOperators::Document => Described::document("document"),
    }
}
