//! A request as it is sent, and sent again: the same bytes.

use hyper::{HeaderMap, body::Bytes};
use protocol::{
    authorization::AuthorizationResponse,
    identifiers::Jti,
    jws::Received,
    problem::{ProblemDocument, Retry},
    receipt::Receipt,
};

use super::workers::Links;

/// Who sends it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Merchant,
    Payer,
}

/// A request.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) sender: Sender,
    pub(super) path: &'static str,
    /// What a booking is undone by; none for what is no merchant's.
    pub(super) jti: Option<Jti>,
    pub(super) body: Bytes,
}

/// A request with its first answer.
#[derive(Clone)]
pub(super) struct Answered {
    pub(super) asked: Asked,
    pub(super) receipt: Box<Receipt>,
}

/// What came of sending it.
pub(super) enum Outcome {
    /// Acknowledged.
    Receipt(Box<Receipt>),
    /// Refused for good; nothing was stored.
    Refused,
    /// Nobody knows.
    Unknown(String),
}

impl Asked {
    pub(super) async fn send(&self, links: &Links) -> Outcome {
        let link = match self.sender {
            Sender::Merchant => links.merchant(),
            Sender::Payer => links.payer(),
        };
        let answer = match link
            .post_json(self.path, self.body.clone(), HeaderMap::new())
            .await
        {
            Ok(answer) => answer,
            Err(error) => return Outcome::Unknown(error.to_string()),
        };
        if answer.status == 200 {
            let response: AuthorizationResponse = serde_json::from_slice(&answer.body).unwrap();
            let receipt = Received::<Receipt>::read(&response.receipt).unwrap();
            return Outcome::Receipt(Box::new(receipt.unverified().clone()));
        }
        let document: ProblemDocument = serde_json::from_slice(&answer.body).unwrap();
        match document.problem() {
            Some(problem) if problem.retry() != Retry::SameRequest => Outcome::Refused,
            _ => Outcome::Unknown(document.kind),
        }
    }
}
