//! The operations, one function each, which read like the protocol's lists of checks.

mod authorize;
mod batches;
mod cancel;
mod certificates;
mod inquire;
mod operate;

pub(crate) use authorize::authorize;
pub(crate) use batches::{batch, close_batch};
pub(crate) use cancel::cancel;
pub(crate) use certificates::certificates;
pub(crate) use inquire::{authorizations, receipts};
pub(crate) use operate::{end_holds, operate};

use hsm::HsmError;
use protocol::problem::{Problem, Refusal};

use crate::store::StoreError;

/// What a counterparty is told when the token does not do its part.
pub(crate) fn hsm_refusal(error: HsmError) -> Refusal {
    let problem = match &error {
        HsmError::Overloaded => Problem::Overloaded,
        HsmError::InvalidInput => Problem::PaymentInformationInvalid,
        HsmError::DeadlinePassed | HsmError::Unavailable(_) => Problem::HsmUnavailable,
    };
    Refusal::new(problem, error.to_string())
}

/// What a counterparty is told when the store does not do its part.
pub(crate) fn store_refusal(error: StoreError) -> Refusal {
    let problem = match &error {
        StoreError::Overloaded => Problem::Overloaded,
        StoreError::OutcomeUnknown => Problem::OutcomeUnknown,
        _ => Problem::StoreUnavailable,
    };
    Refusal::new(problem, error.to_string())
}

fn idempotency_conflict() -> Refusal {
    Refusal::new(
        Problem::IdempotencyConflict,
        "this jti was used by another request",
    )
}

fn no_randomness(error: protocol::identifiers::NoRandomness) -> Refusal {
    Refusal::new(Problem::Internal, error.to_string())
}
