//! What an implementation may not refuse.

use super::{
    draft::{AT, Jws, Stage},
    edit::{append, on_json, put, set},
    vector::{Message, Topic},
};
use crate::parties::NOW;

pub fn fill(topic: &mut Topic<'_>) {
    for (message, name) in [
        (Message::SessionRequest, "the good message 1"),
        (Message::Session, "the good message 2"),
        (Message::PurchaseRequest, "the good message 3"),
        (Message::AuthorizationRequest, "the good message 4"),
        (Message::Receipt, "the good message 5"),
        (Message::PurchaseResponse, "the good message 6"),
        (Message::Inquiry, "the good proof"),
    ] {
        topic.accepted(message, name, "It is purchase.json's.", |draft| draft);
    }
    form(topic);
    times(topic);
    content(topic);
}

fn form(topic: &mut Topic<'_>) {
    topic.accepted(
        Message::SessionRequest,
        "message 1 with white space and escapes",
        "JSON may be written in more than one way; only compact tokens are exact.",
        |draft| {
            draft
                .edit(
                    Stage::SessionRequest,
                    put("\"version\":1", "\n\t\"\\u0076ersion\" : 1 "),
                )
                .edit(Stage::SessionRequest, append("\r\n"))
        },
    );
    topic.accepted(
        Message::PurchaseRequest,
        "a high s in DS",
        "ECDSA has two signatures for one; ES256 does not choose between them.",
        |draft| draft.signature(Jws::Dual, |key, input| key.sign_with_high_s(input).to_vec()),
    );
    topic.accepted(
        Message::PurchaseRequest,
        "claims in another order, with white space",
        "What is verified is the bytes as received, and these are signed.",
        |draft| {
            draft.claims(
                Jws::Dual,
                Box::new(|text| {
                    let members = text.strip_prefix("{\"version\":1,").unwrap();
                    format!(
                        "{{ {}, \"version\": 1 }}",
                        members.strip_suffix('}').unwrap()
                    )
                }),
            )
        },
    );
    topic.accepted(
        Message::PurchaseRequest,
        "an OI salt of 22 characters",
        "The shortest salt there may be: 128 bits.",
        |draft| draft.edit(Stage::Oi, set("/0", "_".repeat(21) + "w")),
    );
    topic.accepted(
        Message::PurchaseRequest,
        "an OI salt of 86 characters",
        "The longest salt there may be.",
        |draft| draft.edit(Stage::Oi, set("/0", "_".repeat(85) + "w")),
    );
    topic.accepted(
        Message::AuthorizationRequest,
        "a high s in the authorization request",
        "As with DS.",
        |draft| {
            draft.signature(Jws::Request, |key, input| {
                key.sign_with_high_s(input).to_vec()
            })
        },
    );
}

fn times(topic: &mut Topic<'_>) {
    topic
        .accepted(
            Message::Session,
            "a session 60 s from the future",
            "iat = now + skew is the last that passes.",
            |draft| draft,
        )
        .at(NOW.0 - 60);
    topic
        .accepted(
            Message::Session,
            "a session 59 s after its end",
            "now - skew < exp still holds.",
            |draft| draft,
        )
        .at(NOW.0 + 900 + 59);
    topic
        .accepted(
            Message::PurchaseRequest,
            "a DS 60 s from the future",
            "iat = now + skew is the last that passes.",
            |draft| draft,
        )
        .at(NOW.0 + 20 - 60);
    topic
        .accepted(
            Message::PurchaseRequest,
            "a DS 59 s after its end",
            "now - skew < exp still holds.",
            |draft| draft,
        )
        .at(NOW.0 + 900 + 59);
    topic.accepted(
        Message::PurchaseRequest,
        "a DS that is good for 900 s",
        "The longest lifetime there may be.",
        |draft| draft.claims(Jws::Dual, set("/exp", NOW.0 + 920)),
    );
    topic
        .accepted(
            Message::AuthorizationRequest,
            "an authorization request 60 s from the future",
            "iat = now + skew is the last that passes.",
            |draft| draft.claims(Jws::Dual, set("/iat", NOW.0 + 1)),
        )
        .at(NOW.0 + 21 - 60);
    topic
        .accepted(
            Message::Inquiry,
            "a proof 119 s old",
            "It is good for 60 s, and the skew.",
            |draft| draft,
        )
        .at(AT + 119);
}

fn content(topic: &mut Topic<'_>) {
    topic.accepted(
        Message::AuthorizationRequest,
        "a lower amount than the signed one",
        "The merchant may ask for less.",
        |draft| draft.claims(Jws::Request, set("/amount/value", 1)),
    );
    topic.accepted(
        Message::AuthorizationRequest,
        "booked with the authorization",
        "capture is \"now\" or \"later\".",
        |draft| draft.claims(Jws::Request, set("/capture", "now")),
    );
    topic.accepted(
        Message::AuthorizationRequest,
        "paid from an account",
        "An instrument is a card or an account.",
        |draft| {
            draft.edit(
                Stage::Pi,
                on_json(|pi| {
                    pi[2]["instrument"] = serde_json::json!({
                        "type": "account", "account": "DE02120300000000202051",
                    });
                }),
            )
        },
    );
    topic.accepted(
        Message::AuthorizationRequest,
        "a PI disclosure that needs two blocks",
        "The plaintext has 1,024 bytes: the disclosure, and padding.",
        |draft| draft.edit(Stage::Pi, Box::new(|json| json + &" ".repeat(300))),
    );
    topic.accepted(
        Message::Receipt,
        "a declined receipt",
        "A decline is an answer: neither authorization nor capture_before.",
        |draft| {
            draft.claims(
                Jws::Receipt,
                on_json(|claims| {
                    claims["decision"] = "declined".into();
                    claims["code"] = "51".into();
                    claims["reason"] = "insufficient-funds".into();
                    claims["totals"]["authorized"] = 0.into();
                    let members = claims.as_object_mut().unwrap();
                    members.remove("authorization");
                    members.remove("capture_before");
                }),
            )
        },
    );
    topic.accepted(
        Message::Receipt,
        "a receipt for less than was signed",
        "The merchant asked for less; the payer is shown it.",
        |draft| {
            draft
                .claims(Jws::Receipt, set("/amount/value", 2000))
                .claims(Jws::Receipt, set("/totals/authorized", 2000))
        },
    );
}
