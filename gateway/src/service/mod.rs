//! The operations, one function each, which read like the protocol's lists of checks.

mod authorize;
mod certificates;
mod inquire;

pub(crate) use authorize::authorize;
pub(crate) use certificates::certificates;
pub(crate) use inquire::{authorizations, receipts};

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
        _ => Problem::StoreUnavailable,
    };
    Refusal::new(problem, error.to_string())
}
