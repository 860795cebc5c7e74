//! Message 4: what the gateway refuses of the merchant's request, and of how its parts go together.

use protocol::{encoding, identifiers::Digest, problem::Problem};
use serde_json::{Value, json};

use super::{
    draft::{Draft, Jws, Stage},
    edit::{bytes_of_part, on_json, put, set, whole},
    vector::{Message, Topic},
};
use crate::parties::{NOW, OTHER_GATEWAY, OTHER_MERCHANT};

const MESSAGE: Message = Message::AuthorizationRequest;

pub fn fill(topic: &mut Topic<'_>) {
    merchants(topic);
    bindings(topic);
    amounts(topic);
    gateways(topic);
    times(topic);
}

fn merchants(topic: &mut Topic<'_>) {
    let mismatch = Problem::MerchantMismatch;
    let parties = topic.parties;
    let other = &parties.other_merchant;
    topic
        .refused(
            MESSAGE,
            mismatch,
            "another merchant sends the request",
            "The TLS peer is not the merchant that is named.",
            |draft| draft,
        )
        .sent_by(OTHER_MERCHANT);
    topic.refused(
        MESSAGE,
        mismatch,
        "another merchant signs the request",
        "The signer is not the merchant that is named.",
        |draft| draft.signed_by(Jws::Request, other),
    );
    topic
        .refused(
            MESSAGE,
            mismatch,
            "another merchant asks for this payment",
            "The payer pays somebody else.",
            |draft| {
                draft
                    .signed_by(Jws::Request, other)
                    .claims(Jws::Request, set("/merchant", OTHER_MERCHANT))
            },
        )
        .sent_by(OTHER_MERCHANT);
    topic.refused(
        MESSAGE,
        mismatch,
        "a payment for another merchant",
        "DS names another merchant.",
        |draft| draft.claims(Jws::Dual, set("/merchant/id", OTHER_MERCHANT)),
    );
    let x5t = json!(other.x5t());
    topic.refused(
        MESSAGE,
        mismatch,
        "a payment for another certificate of the merchant",
        "DS names the certificate that signed message 2.",
        |draft| draft.claims(Jws::Dual, set("/merchant/x5t", x5t)),
    );
    topic.refused(
        MESSAGE,
        Problem::RoleMismatch,
        "the payer signs the request",
        "Its certificate leads to the client CA.",
        |draft| draft.signed_by(Jws::Request, &parties.client),
    );
    topic.refused(
        MESSAGE,
        Problem::RoleMismatch,
        "the merchant signs the DS",
        "Nobody but the payer signs for the payer.",
        |draft| draft.signed_by(Jws::Dual, &parties.merchant),
    );
    topic
        .refused(
            MESSAGE,
            Problem::CertificateRevoked,
            "a revoked merchant asks",
            "The merchant CA's CRL names its certificate.",
            |draft| draft,
        )
        .trusting("merchant revoked");
    topic
        .refused(
            MESSAGE,
            Problem::CertificateRevoked,
            "a revoked payer's payment",
            "The client CA's CRL names its certificate.",
            |draft| draft,
        )
        .trusting("client revoked");
}

fn bindings(topic: &mut Topic<'_>) {
    let first = Draft::new(topic.parties).make();
    let second = Draft::new(topic.parties).labelled("second purchase").make();
    let h = |text: &str| json!(Digest::of(text.as_bytes()));
    topic.each_refused(
        MESSAGE,
        Stage::Claims(Jws::Request),
        [
            (
                Problem::ChallengeMismatch,
                "a request with another sid",
                "Payer and merchant name two sessions.",
                set("/sid", encoding::base64url(&[9; 16])),
            ),
            (
                Problem::ChallengeMismatch,
                "a request with another xid",
                "Payer and merchant name two transactions.",
                set("/xid", encoding::base64url(&[9; 16])),
            ),
            (
                Problem::SignatureInvalid,
                "dsh of another signature",
                "dsh is not h(DS).",
                set("/dsh", h(&second.dual_signature)),
            ),
            (
                Problem::PaymentInformationInvalid,
                "pih of another sealed payment",
                "pih is not h(JWE).",
                set("/pih", h(&second.jwe)),
            ),
            (
                Problem::SignatureInvalid,
                "oid of other OI",
                "It is not one of the two digests.",
                set("/oid", h(&second.oi)),
            ),
            (
                Problem::PaymentInformationInvalid,
                "oid of the PI disclosure",
                "oid and the digest of PI are the two, not one of them twice.",
                set("/oid", h(&first.pi)),
            ),
        ],
    );
    let dual_signature = second.dual_signature.clone();
    topic.refused(
        MESSAGE,
        Problem::SignatureInvalid,
        "another DS than the request is about",
        "dsh is not h(DS).",
        |draft| draft.edit(Stage::GatewayHalf, whole(format!("{dual_signature}~"))),
    );
    topic.refused(
        MESSAGE,
        Problem::PaymentInformationInvalid,
        "the sealed payment of another purchase, asked for",
        "apv is another signature's digest.",
        |draft| draft.edit(Stage::Jwe, whole(second.jwe)),
    );
    topic.refused(
        MESSAGE,
        Problem::SignatureInvalid,
        "a DS with one bit of its signature changed",
        "It is no signature of the payer's.",
        |draft| draft.compact(Jws::Dual, bytes_of_part(2, |bytes| bytes[0] ^= 1)),
    );
    for (name, problem, why, which) in [
        (
            "a decoy in the place of the order's digest",
            Problem::SignatureInvalid,
            "oid is not one of the two digests.",
            &first.oi,
        ),
        (
            "a decoy in the place of the payment's digest",
            Problem::PaymentInformationInvalid,
            "The digest of PI is not one of the two.",
            &first.pi,
        ),
    ] {
        let replaced = h(which);
        topic.refused(MESSAGE, problem, name, why, |draft| {
            draft.claims(
                Jws::Dual,
                on_json(move |claims| {
                    let digests = claims["_sd"].as_array_mut().unwrap();
                    digests.retain(|digest| *digest != replaced);
                    digests.push(Value::from(Digest::of(b"decoy").to_string()));
                    digests.sort_by_key(Value::to_string);
                }),
            )
        });
    }
    topic.refused(
        MESSAGE,
        Problem::Malformed,
        "unsorted digests at the gateway",
        "Their order must say nothing.",
        |draft| {
            draft.claims(
                Jws::Dual,
                on_json(|claims| claims["_sd"].as_array_mut().unwrap().reverse()),
            )
        },
    );
}

fn amounts(topic: &mut Topic<'_>) {
    topic.each_refused(
        MESSAGE,
        Stage::Claims(Jws::Request),
        [
            (
                Problem::AmountMismatch,
                "one cent more than signed",
                "The signed amount is the most.",
                set("/amount/value", 2451),
            ),
            (
                Problem::AmountMismatch,
                "the signed digits in dollars",
                "It is another currency.",
                set("/amount/currency", "USD"),
            ),
            (
                Problem::AmountMismatch,
                "the signed digits in won",
                "A currency without minor units.",
                set("/amount/currency", "KRW"),
            ),
            (
                Problem::AmountMismatch,
                "the signed digits in dinars",
                "A currency with three digits.",
                set("/amount/currency", "KWD"),
            ),
            (
                Problem::Malformed,
                "a request for nothing",
                "An amount is at least 1.",
                set("/amount/value", 0),
            ),
            (
                Problem::Malformed,
                "a request for less than nothing",
                "An amount is at least 1.",
                set("/amount/value", -1),
            ),
            (
                Problem::Malformed,
                "a request for 2^53 + 1",
                "Many readers make 2^53 of it.",
                put("\"value\":2450", "\"value\":9007199254740993"),
            ),
        ],
    );
}

fn gateways(topic: &mut Topic<'_>) {
    let mismatch = Problem::GatewayMismatch;
    let parties = topic.parties;
    let other = &parties.other_gateway_encryption;
    topic.each_refused(
        MESSAGE,
        Stage::Claims(Jws::Request),
        [(
            mismatch,
            "a request to another gateway",
            "It is meant for somebody else.",
            set("/gateway", OTHER_GATEWAY),
        )],
    );
    topic
        .refused(
            MESSAGE,
            mismatch,
            "a good request at another gateway",
            "It is meant for somebody else.",
            |draft| draft,
        )
        .judged_by(OTHER_GATEWAY);
    topic.refused(
        MESSAGE,
        mismatch,
        "a DS for another gateway",
        "DS names another gateway.",
        |draft| draft.claims(Jws::Dual, set("/gateway/id", OTHER_GATEWAY)),
    );
    topic.refused(
        MESSAGE,
        mismatch,
        "a payment sealed again to another gateway",
        "x5t#S256 is not the signed gateway.x5t.",
        |draft| draft.sealing(|sealing| sealing.recipient = other),
    );
    let x5t = json!(other.x5t());
    topic.refused(
        MESSAGE,
        mismatch,
        "signed and sealed to a key that is not this gateway's",
        "gateway.x5t is not a live encryption key.",
        |draft| {
            draft
                .sealing(|sealing| sealing.recipient = other)
                .claims(Jws::Dual, set("/gateway/x5t", x5t))
        },
    );
}

fn times(topic: &mut Topic<'_>) {
    topic
        .refused(
            MESSAGE,
            Problem::NotYetValid,
            "a request 61 s from the future",
            "iat may be 60 s ahead.",
            |draft| draft.claims(Jws::Dual, set("/iat", NOW.0 + 1)),
        )
        .at(NOW.0 + 21 - 61);
    topic
        .refused(
            MESSAGE,
            Problem::NotYetValid,
            "a payment 61 s from the future",
            "iat may be 60 s ahead.",
            |draft| draft.claims(Jws::Request, set("/iat", NOW.0 - 41)),
        )
        .at(NOW.0 + 20 - 61);
    topic
        .refused(
            MESSAGE,
            Problem::Expired,
            "a payment 60 s after its end",
            "now - skew = exp is too late.",
            |draft| draft,
        )
        .at(NOW.0 + 900 + 60);
}
