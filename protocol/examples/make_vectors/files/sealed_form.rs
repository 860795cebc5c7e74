//! Message 4 with a sealed PI that is refused before it is opened, or because it does not open.

use protocol::{encoding, problem::Problem};
use serde_json::json;

use super::{
    draft::Stage,
    edit::{
        Edit, append, as_array, bytes_of_part, loosen, on_json, part, prepend, put, remove, set,
        whole,
    },
    vector::{Message, Topic},
};
use crate::parties::keys::Key;

const MESSAGE: Message = Message::AuthorizationRequest;

pub fn fill(topic: &mut Topic<'_>) {
    headers(topic);
    ephemeral_keys(topic);
    compact_form(topic);
}

fn headers(topic: &mut Topic<'_>) {
    topic.all_refused(
        MESSAGE,
        Problem::PaymentInformationInvalid,
        Stage::JweHeader,
        [
            (
                "a JWE header that is an array",
                "An object is read from an object; some readers take its values in a row.",
                as_array(""),
            ),
            (
                "epk that is an array",
                "An object is read from an object; some readers take its values in a row.",
                as_array("/epk"),
            ),
            (
                "zip in the header",
                "Nothing is inflated.",
                set("/zip", "DEF"),
            ),
            (
                "apu in the header",
                "There is no PartyUInfo.",
                set("/apu", "AA"),
            ),
            (
                "kid in the JWE header",
                "The header has exactly six members.",
                set("/kid", "1"),
            ),
            (
                "crit in the JWE header",
                "There are no extensions.",
                set("/crit", json!(["exp"])),
            ),
            (
                "jwk in the JWE header",
                "The header has exactly six members.",
                set("/jwk", json!({})),
            ),
            (
                "alg ECDH-ES+A256KW",
                "The agreed key is the content key.",
                set("/alg", "ECDH-ES+A256KW"),
            ),
            ("alg dir", "Nobody shares a key.", set("/alg", "dir")),
            ("alg RSA-OAEP", "alg is ECDH-ES.", set("/alg", "RSA-OAEP")),
            ("enc A128GCM", "enc is A256GCM.", set("/enc", "A128GCM")),
            (
                "enc A256CBC-HS512",
                "enc is A256GCM.",
                set("/enc", "A256CBC-HS512"),
            ),
            ("typ JWE", "typ is exact.", set("/typ", "JWE")),
            ("no typ in the JWE header", "typ is exact.", remove("/typ")),
            ("no apv", "apv binds it to one signature.", remove("/apv")),
            (
                "an apv of 31 bytes",
                "It is a SHA-256.",
                set("/apv", encoding::base64url(&[1; 31])),
            ),
            (
                "an x5t#S256 of 20 bytes",
                "It is a SHA-256.",
                set("/x5t#S256", encoding::base64url(&[1; 20])),
            ),
            (
                "enc twice",
                "A member twice can be read in two ways.",
                put(
                    "\"enc\":\"A256GCM\"",
                    "\"enc\":\"A128GCM\",\"enc\":\"A256GCM\"",
                ),
            ),
            (
                "a JWE header with a byte order mark",
                "JSON has none.",
                prepend("\u{feff}"),
            ),
        ],
    );
}

fn ephemeral_keys(topic: &mut Topic<'_>) {
    // The prime p of P-256 (SEC 2 section 2.4.2).
    const P: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    let own = Key::named("first purchase ephemeral");
    let (x, y) = own.public()[1..].split_at(32);
    let text = |bytes: &[u8]| encoding::base64url(bytes);
    let both = |x: String, y: String| -> Edit {
        let (x, y) = (set("/epk/x", x), set("/epk/y", y));
        Box::new(move |header| y(x(header)))
    };
    let mut off_curve = y.to_vec();
    off_curve[31] ^= 1;
    let compressed = [&[2 + (y[31] & 1)], x].concat();
    let der_wrapped = [&[4, 32], x].concat();
    topic.all_refused(
        MESSAGE,
        Problem::PaymentInformationInvalid,
        Stage::JweHeader,
        [
            (
                "a point off the curve",
                "ECDH with it gives the key away bit by bit.",
                set("/epk/y", text(&off_curve)),
            ),
            (
                "a point of the twist",
                "No point of the curve has this x.",
                both(text(&x_of_the_twist()), text(&[1; 32])),
            ),
            (
                "the point at infinity as zeros",
                "It agrees on nothing.",
                both(text(&[0; 32]), text(&[0; 32])),
            ),
            (
                "a coordinate that is p",
                "Coordinates are below p.",
                set("/epk/x", text(&P)),
            ),
            (
                "a coordinate above p",
                "Coordinates are below p.",
                set("/epk/x", text(&[0xff; 32])),
            ),
            (
                "a coordinate of 31 bytes",
                "Coordinates have 32 bytes, zeros included (RFC 7518 section 6.2.1.2).",
                set("/epk/x", text(&x[1..])),
            ),
            (
                "a coordinate of 33 bytes",
                "Coordinates have 32 bytes.",
                set("/epk/x", text(&[&[0], x].concat())),
            ),
            (
                "a compressed point",
                "Points have x and y.",
                set("/epk/x", text(&compressed)),
            ),
            ("no y", "Points have x and y.", remove("/epk/y")),
            (
                "a coordinate wrapped in DER",
                "It is the bare number.",
                set("/epk/x", text(&der_wrapped)),
            ),
            (
                "a coordinate with loose trailing bits",
                "One value has one text.",
                on_json(|header| {
                    header["epk"]["x"] = loosen(header["epk"]["x"].as_str().unwrap()).into();
                }),
            ),
            (
                "an empty coordinate",
                "Coordinates have 32 bytes.",
                set("/epk/x", ""),
            ),
            (
                "a coordinate of 4,096 bytes",
                "Coordinates have 32 bytes.",
                set("/epk/x", text(&[1; 4096])),
            ),
            (
                "a private key in epk",
                "Whoever sends one gives it away.",
                set("/epk/d", text(&own.scalar())),
            ),
            ("crv P-384", "The curve is P-256.", set("/epk/crv", "P-384")),
            (
                "crv secp256k1",
                "The curve is P-256.",
                set("/epk/crv", "secp256k1"),
            ),
            ("kty OKP", "The curve is P-256.", set("/epk/kty", "OKP")),
            ("no epk", "There is nothing to agree with.", remove("/epk")),
            ("epk that is text", "It is a JWK.", set("/epk", "AA")),
        ],
    );
}

/// The smallest x, from 2 on, that no point of the curve has: its point is one of the twist.
fn x_of_the_twist() -> [u8; 32] {
    (2u8..)
        .map(|number| {
            let mut x = [0; 32];
            x[31] = number;
            x
        })
        .find(|x| p256::PublicKey::from_sec1_bytes(&[&[2], x.as_slice()].concat()).is_err())
        .unwrap()
}

fn compact_form(topic: &mut Topic<'_>) {
    topic.all_refused(
        MESSAGE,
        Problem::PaymentInformationInvalid,
        Stage::Jwe,
        [
            (
                "a JWE of four parts",
                "A compact JWE has five.",
                Box::new(|jwe| jwe.rsplit_once('.').unwrap().0.to_owned()),
            ),
            (
                "a JWE of six parts",
                "A compact JWE has five.",
                append(".AA"),
            ),
            (
                "an encrypted key",
                "The agreed key is the content key.",
                part(1, |_| "AA".to_owned()),
            ),
            (
                "a nonce of 11 bytes",
                "AES-GCM has 96 bits here.",
                bytes_of_part(2, |nonce| {
                    nonce.pop();
                }),
            ),
            (
                "a nonce of 16 bytes",
                "AES-GCM has 96 bits here.",
                bytes_of_part(2, |nonce| nonce.extend([0; 4])),
            ),
            (
                "no ciphertext",
                "There is at least one block.",
                part(3, |_| String::new()),
            ),
            (
                "a ciphertext of 511 bytes",
                "A multiple of 512.",
                bytes_of_part(3, |ciphertext| {
                    ciphertext.pop();
                }),
            ),
            (
                "a ciphertext of 513 bytes",
                "A multiple of 512.",
                bytes_of_part(3, |ciphertext| ciphertext.push(0)),
            ),
            (
                "a tag of 12 bytes",
                "Tags are not cut short.",
                bytes_of_part(4, |tag| tag.truncate(12)),
            ),
            ("no tag", "It is not optional.", part(4, |_| String::new())),
            (
                "a tag with one bit changed",
                "It does not hold.",
                bytes_of_part(4, |tag| tag[0] ^= 1),
            ),
            (
                "a ciphertext with one bit changed",
                "The tag does not hold.",
                bytes_of_part(3, |ciphertext| ciphertext[7] ^= 1),
            ),
            (
                "a nonce with one bit changed",
                "The tag does not hold.",
                bytes_of_part(2, |nonce| nonce[0] ^= 1),
            ),
            (
                "a header with white space added",
                "The header's text is authenticated.",
                bytes_of_part(0, |header| header.push(b' ')),
            ),
            (
                "a padded tag",
                "base64url is without padding.",
                part(4, |tag| format!("{tag}==")),
            ),
            (
                "a tag with loose trailing bits",
                "One value has one text.",
                part(4, loosen),
            ),
            (
                "a line break in the ciphertext",
                "White space is no base64url.",
                part(3, |text| format!("{}\n{}", &text[..40], &text[40..])),
            ),
            (
                "a JWE in JSON form",
                "It is compact.",
                whole("{\"protected\":\"\",\"ciphertext\":\"\"}"),
            ),
            ("an empty JWE", "It is no JWE.", whole("")),
        ],
    );
}
