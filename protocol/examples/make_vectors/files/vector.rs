//! One vector: an input, who judges it and when, and what has to come of it.

use protocol::{encoding, problem::Problem};
use serde_json::{Value, json};

use super::{
    draft::{AT, Draft, Made, Stage},
    edit::Edit,
};
use crate::parties::{GATEWAY, MERCHANT, Parties};

/// Which message an input is, and so who judges it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message {
    SessionRequest,
    Session,
    PurchaseRequest,
    AuthorizationRequest,
    Receipt,
    PurchaseResponse,
    Inquiry,
    Capture,
    RefundReversal,
    Batch,
    Cancellation,
}

impl Message {
    fn name(self) -> &'static str {
        match self {
            Message::SessionRequest => "session-request",
            Message::Session => "session",
            Message::PurchaseRequest => "purchase-request",
            Message::AuthorizationRequest => "authorization-request",
            Message::Receipt => "receipt",
            Message::PurchaseResponse => "purchase-response",
            Message::Inquiry => "inquiry",
            Message::Capture => "capture",
            Message::RefundReversal => "refund-reversal",
            Message::Batch => "batch",
            Message::Cancellation => "cancellation",
        }
    }

    fn of(self, made: Made) -> String {
        match self {
            Message::SessionRequest => made.session_request,
            Message::Session => made.session,
            Message::PurchaseRequest => made.purchase_request,
            Message::AuthorizationRequest => made.authorization_body,
            Message::Receipt => made.receipt,
            Message::PurchaseResponse => made.purchase_response,
            Message::Inquiry => made.inquiry,
            Message::Capture => made.capture_body,
            Message::RefundReversal => made.refund_reversal_body,
            Message::Batch => made.batch_body,
            Message::Cancellation => made.cancellation_body,
        }
    }
}

pub struct Vector {
    name: &'static str,
    message: Message,
    input: Vec<u8>,
    at: u64,
    expected: Option<Problem>,
    why: &'static str,
    trust: &'static str,
    context: Option<(&'static str, &'static str)>,
}

impl Vector {
    /// Judged at another time than half a minute after the session was opened.
    pub fn at(&mut self, at: u64) -> &mut Self {
        self.at = at;
        self
    }

    /// Judged with another of the trusts.
    pub fn trusting(&mut self, trust: &'static str) -> &mut Self {
        self.trust = trust;
        self
    }

    /// Message 2, for a person who chose another host.
    pub fn for_host(&mut self, host: &'static str) -> &mut Self {
        self.context = Some(("host", host));
        self
    }

    /// A merchant's request, from another TLS peer.
    pub fn sent_by(&mut self, peer: &'static str) -> &mut Self {
        self.context = Some(("peer", peer));
        self
    }

    /// A request, at another gateway.
    pub fn judged_by(&mut self, gateway: &'static str) -> &mut Self {
        self.context = Some(("gateway", gateway));
        self
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "name": self.name,
            "message": self.message.name(),
            "expect": self.expected.map_or("accepted", Problem::name),
            "why": self.why,
            "at": self.at,
            "trust": self.trust,
        });
        match self.message {
            Message::Session => json["host"] = json!("bookshop.example"),
            Message::AuthorizationRequest
            | Message::Capture
            | Message::RefundReversal
            | Message::Batch => {
                json["peer"] = json!(MERCHANT);
                json["gateway"] = json!(GATEWAY);
            }
            Message::Cancellation => json["gateway"] = json!(GATEWAY),
            _ => {}
        }
        if let Some((name, value)) = self.context {
            json[name] = json!(value);
        }
        match std::str::from_utf8(&self.input) {
            Ok(text) => json["input"] = json!(text),
            Err(_) => json["input_base64url"] = json!(encoding::base64url(&self.input)),
        }
        json
    }
}

/// Vectors of one topic, which become one file.
pub struct Topic<'a> {
    pub parties: &'a Parties,
    about: &'static str,
    vectors: Vec<Vector>,
}

impl<'a> Topic<'a> {
    pub fn new(parties: &'a Parties, about: &'static str) -> Self {
        Self {
            parties,
            about,
            vectors: Vec::new(),
        }
    }

    pub fn refused(
        &mut self,
        message: Message,
        expected: Problem,
        name: &'static str,
        why: &'static str,
        change: impl FnOnce(Draft<'a>) -> Draft<'a>,
    ) -> &mut Vector {
        self.add(message, Some(expected), name, why, change)
    }

    /// One vector for each change of a text.
    pub fn each_refused<const N: usize>(
        &mut self,
        message: Message,
        stage: Stage,
        cases: [(Problem, &'static str, &'static str, Edit); N],
    ) {
        for (expected, name, why, edit) in cases {
            self.refused(message, expected, name, why, |draft| {
                draft.edit(stage, edit)
            });
        }
    }

    /// One vector for each change of a text, all of them one problem.
    pub fn all_refused<const N: usize>(
        &mut self,
        message: Message,
        expected: Problem,
        stage: Stage,
        cases: [(&'static str, &'static str, Edit); N],
    ) {
        self.each_refused(
            message,
            stage,
            cases.map(|(name, why, edit)| (expected, name, why, edit)),
        );
    }

    pub fn accepted(
        &mut self,
        message: Message,
        name: &'static str,
        why: &'static str,
        change: impl FnOnce(Draft<'a>) -> Draft<'a>,
    ) -> &mut Vector {
        self.add(message, None, name, why, change)
    }

    /// A body that is no text.
    pub fn refused_bytes(
        &mut self,
        message: Message,
        name: &'static str,
        why: &'static str,
        input: Vec<u8>,
    ) {
        let vector = self.add(message, Some(Problem::Malformed), name, why, |draft| draft);
        vector.input = input;
    }

    fn add(
        &mut self,
        message: Message,
        expected: Option<Problem>,
        name: &'static str,
        why: &'static str,
        change: impl FnOnce(Draft<'a>) -> Draft<'a>,
    ) -> &mut Vector {
        assert!(
            self.vectors.iter().all(|vector| vector.name != name),
            "{name}: twice"
        );
        let made = change(Draft::new(self.parties)).make();
        self.vectors.push(Vector {
            name,
            message,
            input: message.of(made).into_bytes(),
            at: AT,
            expected,
            why,
            trust: "usual",
            context: None,
        });
        self.vectors.last_mut().unwrap()
    }

    pub fn text(&self) -> String {
        let vectors: Vec<Value> = self.vectors.iter().map(Vector::json).collect();
        written(&json!({"about": self.about, "vectors": vectors}))
    }
}

/// JSON as the files have it.
pub fn written(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}
