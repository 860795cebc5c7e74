//! Message 3 with a header or a signature that is refused.

use aws_lc_rs::hmac;
use protocol::{encoding, problem::Problem};
use serde_json::json;

use super::{
    draft::{Jws, Stage},
    edit::{Edit, as_array, bytes_of_part, part, prepend, put, remove, set},
    vector::{Message, Topic},
};

const MESSAGE: Message = Message::PurchaseRequest;

pub fn fill(topic: &mut Topic<'_>) {
    algorithms(topic);
    headers(topic);
    signatures(topic);
}

fn algorithms(topic: &mut Topic<'_>) {
    let signature_invalid = Problem::SignatureInvalid;
    topic.refused(
        MESSAGE,
        signature_invalid,
        "alg none, no signature",
        "ES256 is the only algorithm.",
        |draft| {
            draft
                .header(Jws::Dual, set("/alg", "none"))
                .compact(Jws::Dual, part(2, |_| String::new()))
        },
    );
    topic.refused(
        MESSAGE,
        signature_invalid,
        "alg none, signed all the same",
        "ES256 is the only algorithm.",
        |draft| draft.header(Jws::Dual, set("/alg", "none")),
    );
    topic.refused(
        MESSAGE,
        signature_invalid,
        "alg HS256 keyed with the public key",
        "A public key is no secret.",
        |draft| {
            draft
                .header(Jws::Dual, set("/alg", "HS256"))
                .signature(Jws::Dual, |key, input| {
                    let key = hmac::Key::new(hmac::HMAC_SHA256, key.public());
                    hmac::sign(&key, input).as_ref().to_vec()
                })
        },
    );
    for (name, alg) in [
        ("alg ES384", "ES384"),
        ("alg RS256", "RS256"),
        ("alg in lower case", "es256"),
    ] {
        topic.refused(
            MESSAGE,
            signature_invalid,
            name,
            "ES256 is the only algorithm, and written so.",
            |draft| draft.header(Jws::Dual, set("/alg", alg)),
        );
    }
}

fn headers(topic: &mut Topic<'_>) {
    let client = &topic.parties.client;
    let point = client.key.public();
    let jwk = json!({
        "kty": "EC", "crv": "P-256",
        "x": encoding::base64url(&point[1..33]), "y": encoding::base64url(&point[33..]),
    });
    let certificate = encoding::base64(&client.certificate);
    let five = json!(vec![certificate; 5]);
    let loose = json!([encoding::base64url(&client.certificate)]);
    let cases: [(&str, &str, Edit); 19] = [
        (
            "a header that is an array",
            "An object is read from an object; some readers take its values in a row.",
            as_array(""),
        ),
        (
            "jwk in the header",
            "A key that a message brings proves nothing.",
            set("/jwk", jwk),
        ),
        (
            "jku in the header",
            "Nothing is fetched.",
            set("/jku", "https://bookshop.example/keys"),
        ),
        (
            "x5u in the header",
            "Nothing is fetched.",
            set("/x5u", "https://bookshop.example/certificate"),
        ),
        (
            "kid in the header",
            "x5c says who signs, and nothing else.",
            set("/kid", "1"),
        ),
        (
            "crit in the header",
            "There are no extensions.",
            set("/crit", json!(["exp"])),
        ),
        (
            "b64 in the header",
            "The payload is always encoded (RFC 7797 is not used).",
            set("/b64", false),
        ),
        (
            "x5t#S256 in the header",
            "The header has exactly alg, typ and x5c.",
            set("/x5t#S256", "AA"),
        ),
        ("no typ", "typ tells the messages apart.", remove("/typ")),
        ("typ JWT", "typ is exact.", set("/typ", "JWT")),
        (
            "typ in upper case",
            "typ is exact.",
            set("/typ", "TWINSEAL-DS+SD-JWT"),
        ),
        (
            "typ with application/ before it",
            "typ is exact.",
            set("/typ", "application/twinseal-ds+sd-jwt"),
        ),
        (
            "typ of a receipt",
            "typ is exact.",
            set("/typ", "twinseal-receipt+jwt"),
        ),
        (
            "alg twice",
            "A member twice can be read in two ways.",
            put("\"alg\":\"ES256\"", "\"alg\":\"none\",\"alg\":\"ES256\""),
        ),
        ("no x5c", "Nobody says who signs.", remove("/x5c")),
        (
            "x5c empty",
            "x5c has one to four certificates.",
            set("/x5c", json!([])),
        ),
        (
            "x5c with five certificates",
            "x5c has one to four certificates.",
            set("/x5c", five),
        ),
        (
            "x5c in base64url",
            "x5c is standard base64 with padding (RFC 7515 section 4.1.6).",
            set("/x5c", loose),
        ),
        (
            "a header with a byte order mark",
            "JSON has none.",
            prepend("\u{feff}"),
        ),
    ];
    topic.all_refused(MESSAGE, Problem::Malformed, Stage::Header(Jws::Dual), cases);
}

fn signatures(topic: &mut Topic<'_>) {
    // The order n of P-256 (SEC 2 section 2.4.2).
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let cases: [(&str, &str, Edit); 12] = [
        (
            "no signature",
            "There is nothing to verify.",
            part(2, |_| String::new()),
        ),
        (
            "a signature of 63 bytes",
            "r and s have 32 bytes each.",
            bytes_of_part(2, |bytes| {
                bytes.pop();
            }),
        ),
        (
            "a signature of 65 bytes",
            "r and s have 32 bytes each.",
            bytes_of_part(2, |bytes| bytes.push(0)),
        ),
        (
            "a signature with one bit changed",
            "It is no signature of this key.",
            bytes_of_part(2, |bytes| bytes[40] ^= 1),
        ),
        (
            "r = 0",
            "r is 1 to n - 1.",
            bytes_of_part(2, |bytes| bytes[..32].fill(0)),
        ),
        (
            "s = 0",
            "s is 1 to n - 1.",
            bytes_of_part(2, |bytes| bytes[32..].fill(0)),
        ),
        (
            "r = s = 0",
            "Some verifiers accepted this for any message.",
            bytes_of_part(2, |bytes| bytes.fill(0)),
        ),
        (
            "r = n",
            "r is 1 to n - 1.",
            bytes_of_part(2, |bytes| bytes[..32].copy_from_slice(&N)),
        ),
        (
            "s = n",
            "s is 1 to n - 1.",
            bytes_of_part(2, |bytes| bytes[32..].copy_from_slice(&N)),
        ),
        (
            "r = s = n",
            "r and s are 1 to n - 1.",
            bytes_of_part(2, |bytes| {
                bytes[..32].copy_from_slice(&N);
                bytes[32..].copy_from_slice(&N);
            }),
        ),
        (
            "r above n",
            "r is 1 to n - 1.",
            bytes_of_part(2, |bytes| bytes[..32].fill(0xff)),
        ),
        (
            "r and s swapped",
            "It is no signature of this key.",
            bytes_of_part(2, |bytes| bytes.rotate_left(32)),
        ),
    ];
    topic.all_refused(
        MESSAGE,
        Problem::SignatureInvalid,
        Stage::Compact(Jws::Dual),
        cases,
    );
    topic.refused(
        MESSAGE,
        Problem::SignatureInvalid,
        "a signature in DER",
        "JWS has r and s side by side (RFC 7518 section 3.4).",
        |draft| draft.signature(Jws::Dual, |key, input| key.sign_der(input)),
    );
    topic.refused(
        MESSAGE,
        Problem::SignatureInvalid,
        "a signature of the payer's over something else",
        "What is verified is the bytes as received.",
        |draft| draft.signature(Jws::Dual, |key, _| key.sign(b"something else").to_vec()),
    );
    let mut thief = super::draft::Signer::from(&topic.parties.client);
    thief.key = topic.parties.other_client.key.clone();
    topic.refused(
        MESSAGE,
        Problem::SignatureInvalid,
        "another key beside the payer's certificate",
        "The signature is not the certificate's.",
        |draft| draft.signed_by(Jws::Dual, thief),
    );
}
