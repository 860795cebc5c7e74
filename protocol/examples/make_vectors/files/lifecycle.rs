//! What comes after an authorization: requests of the merchant, and the payer's cancellation. They are
//! judged as far as no record is needed.

use protocol::{encoding, identifiers::Digest, problem::Problem};
use serde_json::json;

use super::{
    draft::{AT, Draft, Jws, Stage},
    edit::{Edit, put, remove, set, whole},
    vector::{Message, Topic},
};
use crate::parties::{OTHER_GATEWAY, OTHER_MERCHANT};

pub fn fill(topic: &mut Topic<'_>) {
    requests_of_another_form(topic);
    requests_of_others(topic);
    requests_too_early_or_too_late(topic);
    batches(topic);
    cancellations(topic);
}

pub fn fill_accepted(topic: &mut Topic<'_>) {
    topic.accepted(
        Message::Capture,
        "a capture",
        "It is of its form, and its signer's.",
        |draft| draft,
    );
    topic.accepted(
        Message::RefundReversal,
        "a refund reversal, with its target",
        "It names the refund that it undoes.",
        |draft| draft,
    );
    topic.accepted(
        Message::Batch,
        "the closing of a batch",
        "It names the batch by its currency.",
        |draft| draft,
    );
    topic
        .accepted(
            Message::Capture,
            "a capture in the last second",
            "300 s and the skew of 60 s.",
            |draft| draft,
        )
        .at(AT + 359);
    topic
        .accepted(
            Message::Cancellation,
            "a cancellation long after the signature's end",
            "The dual signature's exp is not judged: what was signed can be withdrawn for ever.",
            |draft| draft,
        )
        .at(AT + 86_400);
}

fn requests_of_another_form(topic: &mut Topic<'_>) {
    let malformed = Problem::Malformed;
    topic.each_refused(
        Message::Capture,
        Stage::Claims(Jws::Capture),
        [
            (
                malformed,
                "a capture without an amount",
                "It is always said, also when it is all.",
                remove("/amount"),
            ),
            (
                malformed,
                "a capture of nothing",
                "An amount is 1 or more.",
                set("/amount/value", 0),
            ),
            (
                malformed,
                "a capture of a fraction",
                "Minor units are whole.",
                put("\"value\":2450", "\"value\":2450.5"),
            ),
            (
                malformed,
                "a capture below zero",
                "An amount is 1 or more.",
                set("/amount/value", -5),
            ),
            (
                malformed,
                "a capture with a target",
                "Only what undoes a booking names one.",
                set("/target", encoding::base64url(&[9; 16])),
            ),
            (
                malformed,
                "a capture with an unknown member",
                "Version 1 has exactly these members.",
                set("/final", true),
            ),
            (
                Problem::UnsupportedVersion,
                "a capture of version 2",
                "Only version 1 is known.",
                set("/version", 2),
            ),
        ],
    );
    topic.each_refused(
        Message::RefundReversal,
        Stage::Claims(Jws::RefundReversal),
        [(
            malformed,
            "a refund reversal without a target",
            "It says what it undoes.",
            remove("/target"),
        )],
    );
    topic.each_refused(
        Message::Capture,
        Stage::LifecycleBody,
        [
            (
                malformed,
                "a capture in a body with a member twice",
                "Two readers could read two requests.",
                put("{", "{\"request\":\"x\","),
            ),
            (
                malformed,
                "a capture in a body with more",
                "The body has one member.",
                set("/amount", 2450),
            ),
        ],
    );
    topic.refused(
        Message::Capture,
        malformed,
        "a refund reversal sent as a capture",
        "typ is exact.",
        |draft| draft.header(Jws::Capture, set("/typ", "twinseal-refund-reversal+jwt")),
    );
    topic.refused(
        Message::Capture,
        Problem::SignatureInvalid,
        "a capture with alg none",
        "alg is ES256.",
        |draft| draft.header(Jws::Capture, set("/alg", "none")),
    );
}

fn requests_of_others(topic: &mut Topic<'_>) {
    let parties = topic.parties;
    let mismatch = Problem::MerchantMismatch;
    topic
        .refused(
            Message::Capture,
            mismatch,
            "a capture over another merchant's connection",
            "TLS peer, signer and merchant are one.",
            |draft| draft,
        )
        .sent_by(OTHER_MERCHANT);
    topic.refused(
        Message::Capture,
        mismatch,
        "a capture signed by another merchant",
        "TLS peer, signer and merchant are one.",
        |draft| draft.signed_by(Jws::Capture, &parties.other_merchant),
    );
    topic.refused(
        Message::Capture,
        mismatch,
        "a capture in another merchant's name",
        "TLS peer, signer and merchant are one.",
        |draft| draft.claims(Jws::Capture, set("/merchant", OTHER_MERCHANT)),
    );
    topic.refused(
        Message::Capture,
        Problem::RoleMismatch,
        "a capture signed by the payer",
        "Captures are the merchant's.",
        |draft| draft.signed_by(Jws::Capture, &parties.client),
    );
    topic
        .refused(
            Message::Capture,
            Problem::CertificateRevoked,
            "a capture by a revoked merchant",
            "Revocation is judged for every message.",
            |draft| draft,
        )
        .trusting("merchant revoked");
    topic.refused(
        Message::Capture,
        Problem::GatewayMismatch,
        "a capture meant for another gateway",
        "gateway is who is asked.",
        |draft| draft.claims(Jws::Capture, set("/gateway", OTHER_GATEWAY)),
    );
}

fn requests_too_early_or_too_late(topic: &mut Topic<'_>) {
    topic
        .refused(
            Message::Capture,
            Problem::Expired,
            "a capture that was delayed",
            "300 s and the skew of 60 s have passed: it is never done.",
            |draft| draft,
        )
        .at(AT + 360);
    topic.refused(
        Message::Capture,
        Problem::NotYetValid,
        "a capture from the future",
        "iat is 61 s ahead.",
        |draft| draft.claims(Jws::Capture, set("/iat", AT + 61)),
    );
}

fn batches(topic: &mut Topic<'_>) {
    topic.each_refused(
        Message::Batch,
        Stage::Claims(Jws::Batch),
        [
            (
                Problem::Malformed,
                "a batch of no currency",
                "XXX is no currency with minor units.",
                set("/currency", "XXX"),
            ),
            (
                Problem::Malformed,
                "a batch with an amount",
                "Its totals are the gateway's to say.",
                set("/amount", json!({"value": 1, "currency": "EUR"})),
            ),
            (
                Problem::MerchantMismatch,
                "another merchant's batch",
                "TLS peer, signer and merchant are one.",
                set("/merchant", OTHER_MERCHANT),
            ),
        ],
    );
}

fn cancellations(topic: &mut Topic<'_>) {
    let parties = topic.parties;
    let signature = Problem::SignatureInvalid;
    let cases: [(Problem, &str, &str, Edit); 4] = [
        (
            signature,
            "a cancellation of another signature",
            "dsh is h(DS).",
            set("/dsh", json!(Digest::of(b"another signature"))),
        ),
        (
            Problem::ChallengeMismatch,
            "a cancellation of another transaction",
            "xid is the signed one.",
            set("/xid", encoding::base64url(&[9; 16])),
        ),
        (
            Problem::GatewayMismatch,
            "a cancellation meant for another gateway",
            "gateway is who is asked.",
            set("/gateway", OTHER_GATEWAY),
        ),
        (
            Problem::NotYetValid,
            "a cancellation from the future",
            "iat is 61 s ahead.",
            set("/iat", AT + 61),
        ),
    ];
    topic.each_refused(
        Message::Cancellation,
        Stage::Claims(Jws::Cancellation),
        cases,
    );
    topic.refused(
        Message::Cancellation,
        signature,
        "another payer's cancellation",
        "Who signed withdraws.",
        |draft| draft.signed_by(Jws::Cancellation, &parties.other_client),
    );
    topic.refused(
        Message::Cancellation,
        Problem::RoleMismatch,
        "the merchant's cancellation",
        "Who signed withdraws.",
        |draft| draft.signed_by(Jws::Cancellation, &parties.merchant),
    );
    topic.refused(
        Message::Cancellation,
        signature,
        "a cancellation of a forged signature",
        "The dual signature is verified, all but its exp.",
        |draft| draft.signature(Jws::Dual, |_, _| vec![1; 64]),
    );
    let inquiry = Draft::new(parties).make().inquiry;
    topic.refused(
        Message::Cancellation,
        Problem::Malformed,
        "an inquiry in the place of a cancellation",
        "typ is exact.",
        |draft| draft.compact(Jws::Cancellation, whole(inquiry)),
    );
}
