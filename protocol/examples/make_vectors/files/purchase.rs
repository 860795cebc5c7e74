//! Message 3 of the right form that says something else than the session or the order.

use protocol::{encoding, identifiers::Digest, problem::Problem};
use serde_json::{Value, json};

use super::{
    draft::{Draft, Jws, Stage},
    edit::{Edit, as_array, loosen, on_json, put, remove, set},
    vector::{Message, Topic},
};
use crate::parties::{NOW, OTHER_GATEWAY, OTHER_MERCHANT};

const MESSAGE: Message = Message::PurchaseRequest;

pub fn fill(topic: &mut Topic<'_>) {
    claims(topic);
    digests(topic);
    bindings(topic);
    times(topic);
}

fn claims(topic: &mut Topic<'_>) {
    let deep = format!(
        "\"version\":1,\"deep\":{}{}",
        "[".repeat(16),
        "]".repeat(16)
    );
    let cases: [(Problem, &str, &str, Edit); 15] = [
        (
            Problem::UnsupportedVersion,
            "a DS of version 2",
            "The version is judged before unknown members.",
            put("\"version\":1", "\"version\":2,\"new\":1"),
        ),
        (
            Problem::UnsupportedVersion,
            "a DS of version 0",
            "Only version 1 is known.",
            set("/version", 0),
        ),
        (
            Problem::Malformed,
            "an amount that is an array",
            "An object is read from an object; some readers take its values in a row.",
            as_array("/amount"),
        ),
        (
            Problem::Malformed,
            "a merchant that is an array",
            "An object is read from an object; some readers take its values in a row.",
            as_array("/merchant"),
        ),
        (
            Problem::Malformed,
            "an unknown member in DS",
            "Version 1 has exactly these members.",
            set("/tip", 1),
        ),
        (
            Problem::Malformed,
            "a DS without exp",
            "exp is not optional.",
            remove("/exp"),
        ),
        (
            Problem::Malformed,
            "a DS with null for exp",
            "null is no value here.",
            set("/exp", json!(null)),
        ),
        (
            Problem::Malformed,
            "a DS with text for iat",
            "Times are numbers.",
            set("/iat", "1800000020"),
        ),
        (
            Problem::Malformed,
            "a DS with a fraction of a second",
            "Times are whole seconds.",
            put("\"iat\":1800000020", "\"iat\":1800000020.0"),
        ),
        (
            Problem::Malformed,
            "a member of DS twice",
            "A member twice can be read in two ways.",
            put("\"xid\":", "\"xid\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"xid\":"),
        ),
        (
            Problem::Malformed,
            "a deep member of DS twice",
            "Duplicates are refused at any depth.",
            put("\"amount\":{", "\"amount\":{\"value\":1,"),
        ),
        (
            Problem::Malformed,
            "seventeen levels in DS",
            "Sixteen is the most.",
            put("\"version\":1", deep),
        ),
        (
            Problem::Malformed,
            "an xid of 120 bits",
            "Ids have 128 bits.",
            set("/xid", encoding::base64url(&[1; 15])),
        ),
        (
            Problem::Malformed,
            "an xid with loose trailing bits",
            "One value has one text.",
            on_json(|claims| claims["xid"] = loosen(claims["xid"].as_str().unwrap()).into()),
        ),
        (
            Problem::Malformed,
            "a nonce of 128 bits in DS",
            "Nonces have 256 bits.",
            set("/nc", encoding::base64url(&[1; 16])),
        ),
    ];
    topic.each_refused(MESSAGE, Stage::Claims(Jws::Dual), cases);
}

fn digests(topic: &mut Topic<'_>) {
    let decoy = || Value::from(Digest::of(b"decoy").to_string());
    let sd = |change: fn(&mut Vec<Value>)| -> Edit {
        on_json(move |claims| change(claims["_sd"].as_array_mut().unwrap()))
    };
    let three = on_json(move |claims| {
        let digests = claims["_sd"].as_array_mut().unwrap();
        digests.push(decoy());
        digests.sort_by_key(|digest| digest.to_string());
    });
    let cases: [(Problem, &str, &str, Edit); 11] = [
        (
            Problem::Malformed,
            "three digests",
            "A decoy would hide which two were signed.",
            three,
        ),
        (
            Problem::Malformed,
            "one digest",
            "There are OI and PI.",
            sd(|digests| {
                digests.pop();
            }),
        ),
        (
            Problem::Malformed,
            "no digests",
            "There are OI and PI.",
            set("/_sd", json!([])),
        ),
        (
            Problem::Malformed,
            "digests that are not sorted",
            "Their order must say nothing.",
            sd(|digests| digests.reverse()),
        ),
        (
            Problem::Malformed,
            "the same digest twice",
            "OI and PI are two.",
            sd(|digests| digests[1] = digests[0].clone()),
        ),
        (
            Problem::Malformed,
            "a digest with loose trailing bits",
            "One value has one text.",
            sd(|digests| digests[1] = loosen(digests[1].as_str().unwrap()).into()),
        ),
        (
            Problem::Malformed,
            "a digest of another length",
            "SHA-256 has 32 bytes.",
            sd(|digests| digests[1] = encoding::base64url(&[0xff; 48]).into()),
        ),
        (
            Problem::Malformed,
            "another digest algorithm",
            "_sd_alg is sha-256.",
            set("/_sd_alg", "sha-512"),
        ),
        (
            Problem::Malformed,
            "no digest algorithm",
            "_sd_alg is not optional here.",
            remove("/_sd_alg"),
        ),
        (
            Problem::Malformed,
            "digests below the top level",
            "_sd stands at the top only.",
            set("/merchant/_sd", json!(["x"])),
        ),
        (
            Problem::Malformed,
            "an array element to disclose",
            "There is no ... in this protocol.",
            set("/amount/...", "x"),
        ),
    ];
    topic.each_refused(MESSAGE, Stage::Claims(Jws::Dual), cases);
    let oid = Draft::new(topic.parties).make().oi;
    topic.refused(
        MESSAGE,
        Problem::OrderMismatch,
        "a decoy in the place of OI",
        "The digest of the OI disclosure is not one of the two.",
        |draft| {
            draft.claims(
                Jws::Dual,
                on_json(move |claims| {
                    let oid = Value::from(Digest::of(oid.as_bytes()).to_string());
                    let digests = claims["_sd"].as_array_mut().unwrap();
                    digests.retain(|digest| *digest != oid);
                    digests.push(decoy());
                    digests.sort_by_key(|digest| digest.to_string());
                }),
            )
        },
    );
}

fn bindings(topic: &mut Topic<'_>) {
    let other_merchant = topic.parties.other_merchant.x5t();
    let other_gateway = topic.parties.other_gateway_encryption.x5t();
    let id = encoding::base64url(&[9; 16]);
    let nonce = encoding::base64url(&[9; 32]);
    let cases: [(Problem, &str, &str, Edit); 9] = [
        (
            Problem::ChallengeMismatch,
            "the sid of another session",
            "A signature is good in one session.",
            set("/sid", id),
        ),
        (
            Problem::ChallengeMismatch,
            "another client nonce",
            "It is not this session's.",
            set("/nc", nonce.clone()),
        ),
        (
            Problem::ChallengeMismatch,
            "another merchant nonce",
            "It is stale, or foreign.",
            set("/nm", nonce),
        ),
        (
            Problem::MerchantMismatch,
            "another merchant's name",
            "The payer pays somebody else.",
            set("/merchant/id", OTHER_MERCHANT),
        ),
        (
            Problem::MerchantMismatch,
            "another merchant's certificate",
            "merchant.x5t is what signed message 2.",
            set("/merchant/x5t", json!(other_merchant)),
        ),
        (
            Problem::GatewayMismatch,
            "another gateway's name",
            "Message 2 named another.",
            set("/gateway/id", OTHER_GATEWAY),
        ),
        (
            Problem::GatewayMismatch,
            "another gateway's certificate",
            "gateway.x5t is the one in message 2.",
            set("/gateway/x5t", json!(other_gateway)),
        ),
        (
            Problem::Malformed,
            "a client's name for the merchant",
            "The role is in the name.",
            set("/merchant/id", "urn:twinseal:client:7f3a9c21"),
        ),
        (
            Problem::Malformed,
            "a merchant's name in upper case",
            "Names are lower case.",
            set("/merchant/id", "urn:twinseal:merchant:BookShop"),
        ),
    ];
    topic.each_refused(MESSAGE, Stage::Claims(Jws::Dual), cases);
}

fn times(topic: &mut Topic<'_>) {
    topic
        .refused(
            MESSAGE,
            Problem::NotYetValid,
            "a DS 61 s from the future",
            "iat may be 60 s ahead.",
            |draft| draft,
        )
        .at(NOW.0 + 20 - 61);
    topic
        .refused(
            MESSAGE,
            Problem::Expired,
            "a DS 60 s after its end",
            "now - skew = exp is too late.",
            |draft| draft,
        )
        .at(NOW.0 + 900 + 60);
    for (name, exp) in [
        ("a DS that ends as it starts", NOW.0 + 20),
        ("a DS that ends before it starts", NOW.0 + 19),
        ("a DS of 901 s", NOW.0 + 921),
    ] {
        topic.refused(
            MESSAGE,
            Problem::Malformed,
            name,
            "exp is 1 to 900 s after iat.",
            |draft| draft.claims(Jws::Dual, set("/exp", exp)),
        );
    }
}
