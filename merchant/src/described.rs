//! What the OpenAPI document says of each operation. A refusal that is not among an operation's problems is logged
//! when it happens, and fails the end-to-end tests.

use hyper::StatusCode;
use openapi::Described;
use protocol::{
    authorization,
    identifiers::Xid,
    problem::Problem,
    purchase::{PurchaseRequest, PurchaseResponse},
    session::{SessionRequest, SessionResponse},
};
use utoipa::ToSchema;

use crate::{
    catalogue::Wish,
    http::{Ordered, Shop},
    routes::ForPayers,
};

/// The body of a notice: members that are not known are passed over.
#[derive(ToSchema)]
#[schema(as = Notice)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Told {
    /// What happened: `payment.expired`, `payment.cancelled` or `batch.closed`; others are taken and kept.
    r#type: String,
    /// When, as RFC 3339 has it.
    timestamp: String,
    /// Of what; docs/PROTOCOL.md tells the members.
    data: serde_json::Map<String, serde_json::Value>,
}

pub(crate) fn for_payers(operation: ForPayers) -> Described {
    match operation {
        ForPayers::Catalogue => Described::new(
            "catalogue",
            "What is sold",
            "The shop's own, before the protocol begins.",
        )
        .answers::<Shop>(StatusCode::OK, "The shop and its catalogue."),
        ForPayers::Order => Described::new(
            "order",
            "Order",
            "Makes an order at the catalogue's prices. The shop's own, before the protocol begins.",
        )
        .body::<Wish>()
        .answers::<Ordered>(StatusCode::CREATED, "The order, as the payer is to sign it.")
        .problems(&[
            Problem::Malformed,
            Problem::TooLarge,
            Problem::RateLimited,
            Problem::StoreUnavailable,
            Problem::Internal,
        ]),
        ForPayers::OpenSession => Described::new(
            "openSession",
            "Open a client session",
            "Message 1 of the protocol, the temporary authentication: a session id and a nonce for this client only, \
             and the gateway's certificate that the payment is to be sealed to.",
        )
        .body::<SessionRequest>()
        .answers::<SessionResponse>(StatusCode::OK, "Message 2.")
        .problems(&[
            Problem::Malformed,
            Problem::UnsupportedVersion,
            Problem::OrderMismatch,
            Problem::Replayed,
            Problem::TooLarge,
            Problem::RateLimited,
            Problem::Overloaded,
            Problem::StoreUnavailable,
            Problem::Internal,
        ]),
        ForPayers::Purchase => Described::new(
            "purchase",
            "Buy",
            "Message 3 of the protocol: checked, then the gateway is asked, whose problems are relayed by their names. \
             The same request gets the first answer again, or `in-progress`. A decline is an answer with a receipt, \
             not a problem.",
        )
        .body::<PurchaseRequest>()
        .answers::<PurchaseResponse>(StatusCode::OK, "Message 6, with the gateway's receipt.")
        .problems(&[
            Problem::SessionUnknown,
            Problem::SessionUsed,
            Problem::OrderMismatch,
            Problem::InProgress,
        ])
        .problems(authorization::PROBLEMS),
        ForPayers::Inquire => Described::new(
            "inquire",
            "What became of a purchase",
            "Message 6 again, for the payer that signed the purchase. Whoever can't prove to be it gets the answer of \
             a transaction that does not exist.",
        )
        .argument::<Xid>()
        .proof()
        .answers::<PurchaseResponse>(StatusCode::OK, "Message 6, with the gateway's receipt.")
        .problems(&[Problem::UnknownAuthorization, Problem::InProgress])
        .problems(authorization::PROBLEMS),
        ForPayers::Notice => Described::new(
            "notice",
            "What the gateway tells",
            "A notice of the gateway's, by the Standard Webhooks specification: `webhook-id`, `webhook-timestamp` and \
             `webhook-signature` are held against the bytes of the body before it is read. The same id is taken again \
             and kept once. A merchant without a webhook secret does not have this path.",
        )
        .open_body::<Told>()
        .answers_nothing(StatusCode::NO_CONTENT, "Taken.")
        .problems(&[
            Problem::SignatureInvalid,
            Problem::Malformed,
            Problem::TooLarge,
            Problem::StoreUnavailable,
            Problem::Internal,
        ]),
        ForPayers::Document => Described::document("document"),
    }
}
