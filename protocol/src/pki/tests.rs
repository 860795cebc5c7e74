//! Good certificates, and everything that makes one bad, made with real keys.

mod leaves;
mod ocsp;
mod revocation;
mod signatures;
mod trusting;

use rustls_pki_types::CertificateDer;

use super::{
    Trust, Usage,
    test_pki::{Issued, NOW},
};
use crate::{names::Role, problem::Problem};

/// The problem that a chain has now, if any.
fn problem(
    trust: &Trust,
    chain: &[CertificateDer<'_>],
    role: Role,
    usage: Usage,
) -> Option<Problem> {
    trust
        .verify(chain, role, usage, NOW)
        .err()
        .map(|refusal| refusal.problem)
}

/// The problem that a certificate has as one that a merchant signs messages with.
fn signing_problem(trust: &Trust, issued: &Issued) -> Option<Problem> {
    problem(
        trust,
        std::slice::from_ref(&issued.der),
        Role::Merchant,
        Usage::MessageSigning,
    )
}
