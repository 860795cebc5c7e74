//! Messages 5 and 6, which the payer refuses, and the proof that it shows to ask.

use protocol::{encoding, identifiers::Digest, problem::Problem};
use serde_json::json;

use super::{
    draft::{AT, Draft, Jws, Stage},
    edit::{Edit, on_json, remove, set},
    vector::{Message, Topic},
};
use crate::parties::OTHER_GATEWAY;

pub fn fill(topic: &mut Topic<'_>) {
    responses(topic);
    proofs(topic);
}

fn responses(topic: &mut Topic<'_>) {
    let message = Message::PurchaseResponse;
    let parties = topic.parties;
    let cases: [(Problem, &str, &str, Edit); 7] = [
        (
            Problem::SignatureInvalid,
            "declined, with an approved receipt",
            "status equals the receipt's decision.",
            set("/status", "declined"),
        ),
        (
            Problem::SignatureInvalid,
            "an answer about another receipt",
            "receipt is h(receipt).",
            set("/receipt", json!(Digest::of(b"another receipt"))),
        ),
        (
            Problem::ChallengeMismatch,
            "an answer about another transaction",
            "xid is not the signed one.",
            set("/xid", encoding::base64url(&[9; 16])),
        ),
        (
            Problem::ChallengeMismatch,
            "an answer with another nc",
            "nc is not the signed one.",
            set("/nc", encoding::base64url(&[9; 32])),
        ),
        (
            Problem::OrderMismatch,
            "an answer about another order",
            "The payer paid another.",
            set("/order", encoding::base64url(&[9; 16])),
        ),
        (
            Problem::Malformed,
            "an answer with an unknown status",
            "It is approved or declined.",
            set("/status", "pending"),
        ),
        (
            Problem::UnsupportedVersion,
            "an answer of version 2",
            "Only version 1 is known.",
            set("/version", 2),
        ),
    ];
    topic.each_refused(message, Stage::Claims(Jws::Answer), cases);
    topic.refused(
        message,
        Problem::SignatureInvalid,
        "success reported on a declined receipt",
        "status equals the receipt's decision.",
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
    topic.refused(
        message,
        Problem::MerchantMismatch,
        "another merchant answers",
        "It is not the one that was paid.",
        |draft| draft.signed_by(Jws::Answer, &parties.other_merchant),
    );
    topic.refused(
        message,
        Problem::RoleMismatch,
        "the payer answers itself",
        "Answers are the merchant's.",
        |draft| draft.signed_by(Jws::Answer, &parties.client),
    );
    topic.refused(
        message,
        Problem::Malformed,
        "an answer without a receipt",
        "The client believes the receipt alone.",
        |draft| draft.edit(Stage::PurchaseResponse, remove("/receipt")),
    );
    let old = Draft::new(parties)
        .labelled("second purchase")
        .make()
        .receipt;
    topic.refused(
        message,
        Problem::ChallengeMismatch,
        "an answer with an earlier purchase's receipt",
        "The receipt is about another transaction.",
        |draft| draft.edit(Stage::PurchaseResponse, set("/receipt", old)),
    );
}

fn proofs(topic: &mut Topic<'_>) {
    let message = Message::Inquiry;
    let parties = topic.parties;
    topic.refused(
        message,
        Problem::ChallengeMismatch,
        "a proof for another party",
        "aud is who is asked.",
        |draft| draft.claims(Jws::Inquiry, set("/aud", OTHER_GATEWAY)),
    );
    topic.refused(
        message,
        Problem::ChallengeMismatch,
        "a proof about another transaction",
        "xid is what is asked about.",
        |draft| draft.claims(Jws::Inquiry, set("/xid", encoding::base64url(&[9; 16]))),
    );
    topic.refused(
        message,
        Problem::RoleMismatch,
        "a merchant's proof",
        "Proofs are the payer's.",
        |draft| draft.signed_by(Jws::Inquiry, &parties.merchant),
    );
    topic
        .refused(
            message,
            Problem::Expired,
            "a proof 120 s old",
            "It is good for 60 s, and the skew.",
            |draft| draft,
        )
        .at(AT + 120);
    topic
        .refused(
            message,
            Problem::NotYetValid,
            "a proof 61 s from the future",
            "iat may be 60 s ahead.",
            |draft| draft,
        )
        .at(AT - 61);
}
