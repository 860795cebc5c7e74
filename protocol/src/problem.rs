//! What goes wrong with a message, by name, and what the other side is told of it.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::schema;

/// The problems a party can be told of: `urn:twinseal:problem:<name>` in `application/problem+json`
/// (RFC 9457). A decline is not among them: it is an answer, with a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Not of the form that the message must have.
    Malformed,
    /// A `version` other than 1.
    UnsupportedVersion,
    /// A signature, or a digest under one, does not hold.
    SignatureInvalid,
    /// No path to a trust anchor of any role, or a leaf against its profile.
    CertificateUntrusted,
    /// Revoked, or nothing current says that it is not.
    CertificateRevoked,
    /// Outside its own dates.
    CertificateExpired,
    /// A good certificate of another role.
    RoleMismatch,
    /// Nonces that are not this session's.
    ChallengeMismatch,
    /// No such client session.
    SessionUnknown,
    /// The client session was used by another purchase request.
    SessionUsed,
    /// Too late.
    Expired,
    /// Too early.
    NotYetValid,
    /// Order information that is not the order's.
    OrderMismatch,
    /// An amount or currency that is not the signed one.
    AmountMismatch,
    /// TLS peer, signer and named merchant are not one.
    MerchantMismatch,
    /// Meant for another gateway or another of its keys.
    GatewayMismatch,
    /// Whatever is wrong with a sealed PI: one name for all.
    PaymentInformationInvalid,
    /// The transaction was decided, is being decided or was cancelled.
    Replayed,
    /// The same `jti` with other content.
    IdempotencyConflict,
    /// The same request is being worked on.
    InProgress,
    /// Above what remains.
    LimitExceeded,
    /// No such authorization for this merchant.
    UnknownAuthorization,
    /// A body or a part above its limit.
    TooLarge,
    /// Too many requests of one party.
    RateLimited,
    /// More work than can be queued.
    Overloaded,
    /// The token can't be used now.
    HsmUnavailable,
    /// The store can't be used now.
    StoreUnavailable,
    /// It may or may not have been decided: ask again with the same request.
    OutcomeUnknown,
    /// Our fault.
    Internal,
}

/// When it makes sense to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Send the same bytes again.
    SameRequest,
    /// Start a new purchase.
    NewPurchase,
    /// Don't.
    Never,
}

impl PartialSchema for Retry {
    fn schema() -> RefOr<Schema> {
        let description = "When it makes sense to try again: `same-request`, send the same bytes again; \
                           `new-purchase`, start a new purchase; `never`, don't.";
        schema::one_of(Self::ALL.map(Self::as_str), description).into()
    }
}

impl ToSchema for Retry {}

impl Retry {
    /// Every answer to it.
    pub const ALL: [Retry; 3] = [Retry::SameRequest, Retry::NewPurchase, Retry::Never];

    /// The word in the `retry` member.
    pub const fn as_str(self) -> &'static str {
        match self {
            Retry::SameRequest => "same-request",
            Retry::NewPurchase => "new-purchase",
            Retry::Never => "never",
        }
    }
}

impl Problem {
    /// Every problem, in the order of the specification.
    pub const ALL: [Problem; 29] = [
        Problem::Malformed,
        Problem::UnsupportedVersion,
        Problem::SignatureInvalid,
        Problem::CertificateUntrusted,
        Problem::CertificateRevoked,
        Problem::CertificateExpired,
        Problem::RoleMismatch,
        Problem::ChallengeMismatch,
        Problem::SessionUnknown,
        Problem::SessionUsed,
        Problem::Expired,
        Problem::NotYetValid,
        Problem::OrderMismatch,
        Problem::AmountMismatch,
        Problem::MerchantMismatch,
        Problem::GatewayMismatch,
        Problem::PaymentInformationInvalid,
        Problem::Replayed,
        Problem::IdempotencyConflict,
        Problem::InProgress,
        Problem::LimitExceeded,
        Problem::UnknownAuthorization,
        Problem::TooLarge,
        Problem::RateLimited,
        Problem::Overloaded,
        Problem::HsmUnavailable,
        Problem::StoreUnavailable,
        Problem::OutcomeUnknown,
        Problem::Internal,
    ];

    /// The last part of the problem's `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Problem::Malformed => "malformed",
            Problem::UnsupportedVersion => "unsupported-version",
            Problem::SignatureInvalid => "signature-invalid",
            Problem::CertificateUntrusted => "certificate-untrusted",
            Problem::CertificateRevoked => "certificate-revoked",
            Problem::CertificateExpired => "certificate-expired",
            Problem::RoleMismatch => "role-mismatch",
            Problem::ChallengeMismatch => "challenge-mismatch",
            Problem::SessionUnknown => "session-unknown",
            Problem::SessionUsed => "session-used",
            Problem::Expired => "expired",
            Problem::NotYetValid => "not-yet-valid",
            Problem::OrderMismatch => "order-mismatch",
            Problem::AmountMismatch => "amount-mismatch",
            Problem::MerchantMismatch => "merchant-mismatch",
            Problem::GatewayMismatch => "gateway-mismatch",
            Problem::PaymentInformationInvalid => "payment-information-invalid",
            Problem::Replayed => "replayed",
            Problem::IdempotencyConflict => "idempotency-conflict",
            Problem::InProgress => "in-progress",
            Problem::LimitExceeded => "limit-exceeded",
            Problem::UnknownAuthorization => "unknown-authorization",
            Problem::TooLarge => "too-large",
            Problem::RateLimited => "rate-limited",
            Problem::Overloaded => "overloaded",
            Problem::HsmUnavailable => "hsm-unavailable",
            Problem::StoreUnavailable => "store-unavailable",
            Problem::OutcomeUnknown => "outcome-unknown",
            Problem::Internal => "internal",
        }
    }

    /// The problem's `type`: `urn:twinseal:problem:<name>`.
    pub fn urn(self) -> String {
        format!("urn:twinseal:problem:{}", self.name())
    }

    /// Reads a problem's `type`; `None` for one that this version does not know.
    pub fn from_urn(urn: &str) -> Option<Self> {
        let name = urn.strip_prefix("urn:twinseal:problem:")?;
        Self::ALL.into_iter().find(|problem| problem.name() == name)
    }

    /// The HTTP status it travels with.
    pub const fn status(self) -> u16 {
        match self {
            Problem::Malformed
            | Problem::UnsupportedVersion
            | Problem::SignatureInvalid
            | Problem::ChallengeMismatch
            | Problem::Expired
            | Problem::NotYetValid
            | Problem::GatewayMismatch
            | Problem::PaymentInformationInvalid => 400,
            Problem::CertificateUntrusted
            | Problem::CertificateRevoked
            | Problem::CertificateExpired
            | Problem::RoleMismatch
            | Problem::MerchantMismatch => 403,
            Problem::SessionUnknown | Problem::UnknownAuthorization => 404,
            Problem::SessionUsed
            | Problem::OrderMismatch
            | Problem::AmountMismatch
            | Problem::Replayed
            | Problem::InProgress
            | Problem::LimitExceeded => 409,
            Problem::TooLarge => 413,
            Problem::IdempotencyConflict => 422,
            Problem::RateLimited => 429,
            Problem::Internal => 500,
            Problem::Overloaded
            | Problem::HsmUnavailable
            | Problem::StoreUnavailable
            | Problem::OutcomeUnknown => 503,
        }
    }

    /// When it makes sense to try again.
    pub const fn retry(self) -> Retry {
        match self {
            Problem::InProgress
            | Problem::RateLimited
            | Problem::Overloaded
            | Problem::HsmUnavailable
            | Problem::StoreUnavailable
            | Problem::OutcomeUnknown => Retry::SameRequest,
            Problem::Expired
            | Problem::SessionUnknown
            | Problem::SessionUsed
            | Problem::ChallengeMismatch => Retry::NewPurchase,
            _ => Retry::Never,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A problem's `type`.
enum ProblemType {}

impl PartialSchema for ProblemType {
    fn schema() -> RefOr<Schema> {
        let urns = Problem::ALL.map(Problem::urn);
        let mut object = schema::one_of(
            [],
            "The problem, or `about:blank` where the HTTP status says it all.",
        );
        let all = urns.into_iter().chain([ProblemDocument::BLANK.to_owned()]);
        object.enum_values = Some(all.map(Into::into).collect());
        object.into()
    }
}

impl ToSchema for ProblemType {}

/// The body of `application/problem+json` (RFC 9457): the name and no word more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDocument {
    /// `urn:twinseal:problem:<name>`, or `about:blank` where the HTTP status says it all.
    #[serde(rename = "type")]
    #[schema(value_type = ProblemType)]
    pub kind: String,
    /// The HTTP status, again.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What to quote to the other side's operators: their log has the same.
    pub request_id: String,
    /// When it makes sense to try again: `same-request`, `new-purchase`, `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Retry>, nullable = false)]
    pub retry: Option<String>,
}

impl ProblemDocument {
    /// The `type` where the HTTP status says it all.
    pub const BLANK: &'static str = "about:blank";

    /// The media type that it travels as.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// Says a problem by its name.
    pub fn new(problem: Problem, request_id: impl Into<String>) -> Self {
        Self {
            kind: problem.urn(),
            status: problem.status(),
            request_id: request_id.into(),
            retry: Some(problem.retry().as_str().to_owned()),
        }
    }

    /// Says what plain HTTP says: an unknown path, a wrong method.
    pub fn plain(status: u16, request_id: impl Into<String>) -> Self {
        Self {
            kind: Self::BLANK.to_owned(),
            status,
            request_id: request_id.into(),
            retry: None,
        }
    }

    /// The problem it names; `None` for `about:blank` and for one that this version does not know.
    pub fn problem(&self) -> Option<Problem> {
        Problem::from_urn(&self.kind)
    }
}

/// A message was refused: the problem is what its sender may know, the detail is for our log.
///
/// The detail never holds a secret, a card or a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the sender is told.
    pub problem: Problem,
    /// What the log says.
    pub detail: Cow<'static, str>,
}

impl Refusal {
    /// Names the problem and says in the log's words what was found.
    pub fn new(problem: Problem, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            problem,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem, self.detail)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_read_back_from_its_urn() {
        for problem in Problem::ALL {
            assert_eq!(Problem::from_urn(&problem.urn()), Some(problem));
        }
        assert_eq!(Problem::from_urn("about:blank"), None);
    }
}
