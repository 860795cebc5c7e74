//! Message 5, which the payer refuses.

use protocol::{encoding, identifiers::Digest, problem::Problem};
use serde_json::json;

use super::{
    draft::{Draft, Jws, Stage},
    edit::{as_array, bytes_of_part, on_json, part, remove, set, whole},
    vector::{Message, Topic},
};
use crate::parties::{OTHER_GATEWAY, OTHER_MERCHANT};

pub fn fill(topic: &mut Topic<'_>) {
    receipts_of_other_purchases(topic);
    receipts_that_contradict_themselves(topic);
    receipts_by_others(topic);
}

fn receipts_of_other_purchases(topic: &mut Topic<'_>) {
    let challenge = Problem::ChallengeMismatch;
    let id = || encoding::base64url(&[9; 16]);
    let nonce = || encoding::base64url(&[9; 32]);
    let other_client = json!(topic.parties.other_client.x5t());
    topic.each_refused(
        Message::Receipt,
        Stage::Claims(Jws::Receipt),
        [
            (
                challenge,
                "a receipt of another transaction",
                "xid is not the signed one.",
                set("/xid", id()),
            ),
            (
                challenge,
                "a receipt of another session",
                "sid is not the signed one.",
                set("/sid", id()),
            ),
            (
                challenge,
                "a receipt with another nc",
                "nc is not the signed one.",
                set("/nc", nonce()),
            ),
            (
                challenge,
                "a receipt with another nm",
                "nm is not the signed one.",
                set("/nm", nonce()),
            ),
            (
                Problem::SignatureInvalid,
                "a receipt about another signature",
                "dsh is not h(DS).",
                set("/dsh", json!(Digest::of(b"another signature"))),
            ),
            (
                Problem::SignatureInvalid,
                "a receipt of another client",
                "client is not the payer's certificate.",
                set("/client", other_client),
            ),
            (
                Problem::MerchantMismatch,
                "a receipt for another merchant",
                "merchant is not the signed one.",
                set("/merchant", OTHER_MERCHANT),
            ),
            (
                Problem::AmountMismatch,
                "a receipt for more than was signed",
                "The signed amount is the most.",
                set("/amount/value", 2451),
            ),
            (
                Problem::AmountMismatch,
                "a receipt in another currency",
                "It is not the signed one.",
                set("/amount/currency", "USD"),
            ),
        ],
    );
    topic.each_refused(
        Message::Receipt,
        Stage::Claims(Jws::Receipt),
        [
            (
                challenge,
                "the receipt of a capture where a decision is wanted",
                "Only an authorization's receipt decides a purchase.",
                on_json(|claims| {
                    claims["action"] = "capture".into();
                    claims["totals"]["captured"] = 2450.into();
                }),
            ),
            (
                challenge,
                "the receipt of a cancellation where a decision is wanted",
                "It says approved, and means the cancellation.",
                on_json(|claims| {
                    claims["action"] = "cancellation".into();
                    claims["totals"]["authorized"] = 0.into();
                    let members = claims.as_object_mut().unwrap();
                    members.remove("authorization");
                    members.remove("capture_before");
                }),
            ),
        ],
    );
    let old = Draft::new(topic.parties)
        .labelled("second purchase")
        .make()
        .receipt;
    topic.refused(
        Message::Receipt,
        challenge,
        "the receipt of an earlier purchase",
        "xid is not the signed one.",
        |draft| draft.compact(Jws::Receipt, whole(old)),
    );
}

fn receipts_that_contradict_themselves(topic: &mut Topic<'_>) {
    let malformed = Problem::Malformed;
    topic.each_refused(
        Message::Receipt,
        Stage::Claims(Jws::Receipt),
        [
            (
                malformed,
                "totals that are an array",
                "An object is read from an object; some readers take its values in a row.",
                as_array("/totals"),
            ),
            (
                malformed,
                "approved with the code of a decline",
                "Code and decision go together.",
                set("/code", "51"),
            ),
            (
                malformed,
                "a code with another's reason",
                "Code and reason go together.",
                set("/reason", "insufficient-funds"),
            ),
            (
                malformed,
                "an unknown code",
                "There are ten.",
                set("/code", "99"),
            ),
            (
                malformed,
                "declined with code 00",
                "Code and decision go together.",
                set("/decision", "declined"),
            ),
            (
                malformed,
                "approved without an authorization",
                "An approval has an id.",
                remove("/authorization"),
            ),
            (
                malformed,
                "approved without capture_before",
                "An approval has an end.",
                remove("/capture_before"),
            ),
            (
                malformed,
                "declined with an authorization",
                "A decline has none.",
                on_json(|claims| {
                    claims["decision"] = "declined".into();
                    claims["code"] = "05".into();
                    claims["reason"] = "do-not-honor".into();
                }),
            ),
            (
                malformed,
                "an unknown action",
                "Version 1 has none such.",
                set("/action", "approval"),
            ),
            (
                malformed,
                "a receipt with an unknown member",
                "Version 1 has exactly these members.",
                set("/note", "thank you"),
            ),
            (
                malformed,
                "a receipt without totals",
                "They are not optional.",
                remove("/totals"),
            ),
            (
                malformed,
                "negative totals",
                "Numbers are 0 or more.",
                set("/totals/captured", -1),
            ),
            (
                malformed,
                "a decline that authorized something",
                "What is declined holds nothing.",
                on_json(|claims| {
                    claims["decision"] = "declined".into();
                    claims["code"] = "51".into();
                    claims["reason"] = "insufficient-funds".into();
                    let members = claims.as_object_mut().unwrap();
                    members.remove("authorization");
                    members.remove("capture_before");
                }),
            ),
            (
                malformed,
                "captured and reversed above authorized",
                "The sums hold in every receipt.",
                on_json(|claims| {
                    claims["totals"]["captured"] = 2000.into();
                    claims["totals"]["reversed"] = 451.into();
                }),
            ),
            (
                malformed,
                "refunded above captured",
                "The sums hold in every receipt.",
                set("/totals/refunded", 1),
            ),
            (
                malformed,
                "an authorization with a target",
                "Only what undoes a booking names one.",
                set("/target", encoding::base64url(&[9; 16])),
            ),
            (
                malformed,
                "a capture reversal without a target",
                "It says what it undoes.",
                set("/action", "capture-reversal"),
            ),
            (
                malformed,
                "a cancellation with an authorization",
                "What is cancelled was never authorized.",
                set("/action", "cancellation"),
            ),
            (
                malformed,
                "a declined capture",
                "What can't be captured is a problem, not a receipt.",
                on_json(|claims| {
                    claims["action"] = "capture".into();
                    claims["decision"] = "declined".into();
                    claims["code"] = "51".into();
                    claims["reason"] = "insufficient-funds".into();
                    claims["totals"]["authorized"] = 0.into();
                    let members = claims.as_object_mut().unwrap();
                    members.remove("authorization");
                    members.remove("capture_before");
                }),
            ),
            (
                Problem::UnsupportedVersion,
                "a receipt of version 2",
                "Only version 1 is known.",
                set("/version", 2),
            ),
        ],
    );
}

fn receipts_by_others(topic: &mut Topic<'_>) {
    let parties = topic.parties;
    let message = Message::Receipt;
    topic.refused(
        message,
        Problem::RoleMismatch,
        "the merchant signs a receipt",
        "Receipts are the gateway's.",
        |draft| draft.signed_by(Jws::Receipt, &parties.merchant),
    );
    topic.refused(
        message,
        Problem::RoleMismatch,
        "the gateway's encryption key signs a receipt",
        "Its key usage is keyAgreement.",
        |draft| draft.signed_by(Jws::Receipt, &parties.gateway_encryption),
    );
    topic.refused(
        message,
        Problem::GatewayMismatch,
        "another gateway signs in this one's name",
        "The signer is the gateway that is named.",
        |draft| draft.signed_by(Jws::Receipt, &parties.other_gateway),
    );
    topic.refused(
        message,
        Problem::GatewayMismatch,
        "another gateway's receipt",
        "It is not the signed gateway.",
        |draft| {
            draft
                .signed_by(Jws::Receipt, &parties.other_gateway)
                .claims(Jws::Receipt, set("/gateway", OTHER_GATEWAY))
        },
    );
    topic
        .refused(
            message,
            Problem::CertificateRevoked,
            "a receipt of a revoked key",
            "The gateway CA's CRL names it.",
            |draft| draft,
        )
        .trusting("gateway signing revoked");
    topic.refused(
        message,
        Problem::SignatureInvalid,
        "a receipt with alg none",
        "ES256 is the only algorithm.",
        |draft| {
            draft
                .header(Jws::Receipt, set("/alg", "none"))
                .compact(Jws::Receipt, part(2, |_| String::new()))
        },
    );
    topic.refused(
        message,
        Problem::SignatureInvalid,
        "a receipt raised after it was signed",
        "What is verified is the bytes as received.",
        |draft| {
            draft.compact(
                Jws::Receipt,
                bytes_of_part(1, |claims| {
                    let at = claims
                        .windows(4)
                        .position(|window| window == b"2450")
                        .unwrap();
                    claims[at + 3] = b'1';
                }),
            )
        },
    );
    let answer = Draft::new(parties).make().answer;
    topic.refused(
        message,
        Problem::Malformed,
        "the merchant's answer where a receipt is expected",
        "Each message has a typ of its own.",
        |draft| draft.compact(Jws::Receipt, whole(answer)),
    );
}
