//! Messages 1 and 2: what the merchant and the client refuse.

use protocol::{encoding, problem::Problem};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::{
    draft::{Jws, Stage},
    edit::{append, loosen, on_json, prepend, put, remove, set, whole},
    vector::{Message, Topic},
};
use crate::parties::{NOW, OTHER_GATEWAY, OTHER_MERCHANT};

pub fn fill(topic: &mut Topic<'_>) {
    requests(topic);
    expectations(topic);
    times(topic);
    encryption_certificates(topic);
    other_messages(topic);
}

fn requests(topic: &mut Topic<'_>) {
    let cases: [(Problem, &str, &str, super::edit::Edit); 18] = [
        (
            Problem::UnsupportedVersion,
            "message 1 of version 2",
            "The version is judged before unknown members.",
            put("\"version\":1", "\"version\":2,\"new\":true"),
        ),
        (
            Problem::Malformed,
            "a version that is text",
            "It is a number.",
            set("/version", "1"),
        ),
        (
            Problem::Malformed,
            "a version with a fraction",
            "Numbers are whole, and written so.",
            put("\"version\":1", "\"version\":1.0"),
        ),
        (
            Problem::Malformed,
            "a version with an exponent",
            "Numbers have no exponent.",
            put("\"version\":1", "\"version\":1e0"),
        ),
        (
            Problem::Malformed,
            "no version",
            "Every message says its version.",
            remove("/version"),
        ),
        (
            Problem::Malformed,
            "the version twice",
            "A member twice can be read in two ways.",
            put("\"version\":1", "\"version\":1,\"version\":1"),
        ),
        (
            Problem::Malformed,
            "a member twice, once escaped",
            "Names are compared after unescaping.",
            put("\"version\":1", "\"version\":1,\"versio\\u006e\":1"),
        ),
        (
            Problem::Malformed,
            "an unknown member in message 1",
            "Version 1 has exactly these members.",
            set("/extra", "x"),
        ),
        (
            Problem::Malformed,
            "a missing nonce",
            "nc is not optional.",
            remove("/nc"),
        ),
        (
            Problem::Malformed,
            "null for a nonce",
            "null is no value here.",
            set("/nc", json!(null)),
        ),
        (
            Problem::Malformed,
            "a byte order mark",
            "JSON has none (RFC 8259 section 8.1).",
            prepend("\u{feff}"),
        ),
        (
            Problem::Malformed,
            "text after the object",
            "The body is one object.",
            append("{}"),
        ),
        (
            Problem::Malformed,
            "an unpaired surrogate",
            "It is no character.",
            set_raw("/order", "\\ud800"),
        ),
        (
            Problem::Malformed,
            "a nonce with padding",
            "base64url is without padding.",
            on_json(|body| {
                body["nc"] = format!("{}=", body["nc"].as_str().unwrap()).into();
            }),
        ),
        (
            Problem::Malformed,
            "a nonce with loose trailing bits",
            "One value has one text.",
            on_json(|body| {
                body["nc"] = loosen(body["nc"].as_str().unwrap()).into();
            }),
        ),
        (
            Problem::Malformed,
            "a nonce of 248 bits",
            "Nonces have 256 bits.",
            set("/nc", encoding::base64url(&[1; 31])),
        ),
        (
            Problem::Malformed,
            "an order id of 256 bits",
            "Ids have 128 bits.",
            set("/order", encoding::base64url(&[1; 32])),
        ),
        (
            Problem::Malformed,
            "seventeen levels",
            "Sixteen is the most.",
            set_raw_after_version(&"[".repeat(16), &"]".repeat(16)),
        ),
    ];
    topic.each_refused(Message::SessionRequest, Stage::SessionRequest, cases);
    topic.refused(
        Message::SessionRequest,
        Problem::Malformed,
        "a nonce in the standard alphabet",
        "base64url has - and _ where base64 has + and /.",
        |draft| draft.edit(Stage::SessionRequest, set("/nc", "+".repeat(42) + "8")),
    );
    topic.refused_bytes(
        Message::SessionRequest,
        "a byte that is no UTF-8",
        "JSON is UTF-8.",
        b"{\"version\":1,\"nc\":\"\xff\",\"order\":\"AAAAAAAAAAAAAAAAAAAAAA\"}".to_vec(),
    );
    topic.refused_bytes(
        Message::SessionRequest,
        "nothing at all",
        "There is no object.",
        Vec::new(),
    );
}

/// Writes the inside of a string as it stands.
fn set_raw(pointer: &'static str, raw: &'static str) -> super::edit::Edit {
    let mark = set(pointer, "MARK");
    Box::new(move |text| mark(text).replacen("MARK", raw, 1))
}

fn set_raw_after_version(open: &str, close: &str) -> super::edit::Edit {
    put(
        "\"version\":1",
        format!("\"version\":1,\"deep\":{open}{close}"),
    )
}

fn expectations(topic: &mut Topic<'_>) {
    let other = topic.parties.other_merchant.clone();
    topic.refused(
        Message::Session,
        Problem::ChallengeMismatch,
        "another client's nonce",
        "A session answers one request.",
        |draft| draft.claims(Jws::Session, set("/nc", encoding::base64url(&[9; 32]))),
    );
    topic
        .refused(
            Message::Session,
            Problem::MerchantMismatch,
            "the session of a shop that the person did not choose",
            "The chosen host is not among the DNS names of the signing certificate.",
            |draft| draft,
        )
        .for_host("record-store.example");
    topic.refused(
        Message::Session,
        Problem::MerchantMismatch,
        "another shop's session, passed on",
        "It is good for that shop's host, not for the chosen one.",
        |draft| {
            draft
                .signed_by(Jws::Session, &other)
                .claims(Jws::Session, set("/merchant/id", OTHER_MERCHANT))
        },
    );
    topic.refused(
        Message::Session,
        Problem::MerchantMismatch,
        "a session in another merchant's name",
        "The signer is the merchant that is named.",
        |draft| draft.claims(Jws::Session, set("/merchant/id", OTHER_MERCHANT)),
    );
    topic.each_refused(
        Message::Session,
        Stage::Claims(Jws::Session),
        [
            (
                Problem::OrderMismatch,
                "a session for another order",
                "The person saw another.",
                set("/order", encoding::base64url(&[9; 16])),
            ),
            (
                Problem::AmountMismatch,
                "a session for another amount",
                "The person saw another.",
                set("/amount/value", 2451),
            ),
            (
                Problem::AmountMismatch,
                "a session in another currency",
                "The same digits are other money.",
                set("/amount/currency", "USD"),
            ),
            (
                Problem::AmountMismatch,
                "a session in a currency of another exponent",
                "2450 fils are not 24.50.",
                set("/amount/currency", "KWD"),
            ),
            (
                Problem::Malformed,
                "a session for nothing",
                "An amount is at least 1.",
                set("/amount/value", 0),
            ),
            (
                Problem::Malformed,
                "a session with an unknown member",
                "Version 1 has exactly these members.",
                set("/discount", 1),
            ),
            (
                Problem::Malformed,
                "a session without a merchant's nonce",
                "nm is not optional.",
                remove("/nm"),
            ),
            (
                Problem::UnsupportedVersion,
                "a session of version 2",
                "Only version 1 is known.",
                set("/version", 2),
            ),
        ],
    );
    topic
        .refused(
            Message::Session,
            Problem::CertificateRevoked,
            "a session of a revoked merchant",
            "The merchant CA's CRL names the certificate.",
            |draft| draft,
        )
        .trusting("merchant revoked");
}

fn times(topic: &mut Topic<'_>) {
    topic
        .refused(
            Message::Session,
            Problem::NotYetValid,
            "a session 61 s from the future",
            "iat may be 60 s ahead.",
            |draft| draft,
        )
        .at(NOW.0 - 61);
    topic
        .refused(
            Message::Session,
            Problem::Expired,
            "a session 60 s after its end",
            "now - skew = exp is too late.",
            |draft| draft,
        )
        .at(NOW.0 + 900 + 60);
    for (name, exp) in [
        ("a session that ends as it starts", NOW.0),
        ("a session of 901 s", NOW.0 + 901),
    ] {
        topic.refused(
            Message::Session,
            Problem::Malformed,
            name,
            "exp is 1 to 900 s after iat.",
            |draft| draft.claims(Jws::Session, set("/exp", exp)),
        );
    }
}

fn encryption_certificates(topic: &mut Topic<'_>) {
    let parties = topic.parties;
    let x5c = |certificate: &CertificateDer<'_>| json!([encoding::base64(certificate)]);
    let good = &parties.gateway_encryption.certificate;
    let other = &parties.other_gateway_encryption.certificate;
    for (problem, name, why, chain) in [
        (
            Problem::GatewayMismatch,
            "another gateway's encryption certificate",
            "It does not carry the name gateway.id.",
            x5c(other),
        ),
        (
            Problem::RoleMismatch,
            "a signing certificate to seal to",
            "Its key usage is digitalSignature.",
            x5c(&parties.gateway.certificate),
        ),
        (
            Problem::RoleMismatch,
            "the merchant's own certificate to seal to",
            "It leads to the merchant CA.",
            x5c(&parties.merchant.certificate),
        ),
        (
            Problem::CertificateUntrusted,
            "a certificate that can't be read",
            "It is no X.509.",
            json!([encoding::base64(b"no certificate")]),
        ),
        (
            Problem::Malformed,
            "no certificate to seal to",
            "x5c has one to four.",
            json!([]),
        ),
        (
            Problem::Malformed,
            "five certificates to seal to",
            "x5c has one to four.",
            json!(vec![encoding::base64(good); 5]),
        ),
        (
            Problem::Malformed,
            "a certificate in base64url",
            "x5c is standard base64 with padding (RFC 7515 section 4.1.6).",
            json!([encoding::base64url(good)]),
        ),
    ] {
        topic.refused(Message::Session, problem, name, why, |draft| {
            draft.claims(Jws::Session, set("/gateway/x5c", chain))
        });
    }
    let chain = x5c(other);
    topic.refused(
        Message::Session,
        Problem::GatewayMismatch,
        "a gateway that the client did not configure",
        "Its certificate is good, but the instrument is not for it.",
        |draft| {
            draft
                .claims(Jws::Session, set("/gateway/id", OTHER_GATEWAY))
                .claims(Jws::Session, set("/gateway/x5c", chain))
        },
    );
    topic
        .refused(
            Message::Session,
            Problem::CertificateRevoked,
            "a revoked encryption certificate",
            "The gateway CA's CRL names it.",
            |draft| draft,
        )
        .trusting("gateway encryption revoked");
}

fn other_messages(topic: &mut Topic<'_>) {
    let made = super::draft::Draft::new(topic.parties).make();
    for (name, compact) in [
        ("a receipt where a session is expected", made.receipt),
        (
            "an authorization request where a session is expected",
            made.request,
        ),
    ] {
        topic.refused(
            Message::Session,
            Problem::Malformed,
            name,
            "Each message has a typ of its own.",
            |draft| draft.compact(Jws::Session, whole(compact)),
        );
    }
}
