//! Message 3 with another form: what is refused before anybody looks at what it says.

use protocol::{encoding, problem::Problem};
use serde_json::json;

use super::{
    draft::{Jws, Stage},
    edit::{Edit, append, as_array, loosen, part, prepend, put, remove, set, whole},
    vector::{Message, Topic},
};

const MESSAGE: Message = Message::PurchaseRequest;

pub fn fill(topic: &mut Topic<'_>) {
    compact_form(topic);
    halves(topic);
    bodies(topic);
}

fn compact_form(topic: &mut Topic<'_>) {
    let cases: [(&str, &str, Edit); 10] = [
        (
            "a DS of two parts",
            "A compact JWS has three.",
            Box::new(|text| text.rsplit_once('.').unwrap().0.to_owned()),
        ),
        (
            "a DS of four parts",
            "A compact JWS has three.",
            append(".AA"),
        ),
        (
            "a DS that ends in a dot",
            "A compact JWS has three parts.",
            append("."),
        ),
        (
            "a line break in DS",
            "White space is no base64url.",
            part(1, |text| text[..40].to_owned() + "\n" + &text[40..]),
        ),
        (
            "a space before DS",
            "White space is no base64url.",
            prepend(" "),
        ),
        (
            "a padded signature",
            "base64url is without padding.",
            part(2, |text| format!("{text}==")),
        ),
        (
            "a signature with loose trailing bits",
            "One value has one text.",
            part(2, loosen),
        ),
        (
            "a header in the standard alphabet",
            "base64url has - and _ where base64 has + and /.",
            part(0, |text| format!("{}+", &text[..text.len() - 1])),
        ),
        (
            "claims that are no JSON",
            "The payload is one object.",
            part(1, |_| encoding::base64url(b"{\"version\":1")),
        ),
        (
            "claims that are an array",
            "The payload is one object.",
            part(1, |_| encoding::base64url(b"[1]")),
        ),
    ];
    topic.all_refused(
        MESSAGE,
        Problem::Malformed,
        Stage::Compact(Jws::Dual),
        cases,
    );
}

fn halves(topic: &mut Topic<'_>) {
    let made = super::draft::Draft::new(topic.parties).make();
    let receipt_half = format!("{}~{}~", made.receipt, made.oi);
    let session_half = format!("{}~{}~", made.session, made.oi);
    let both = format!("{}~{}~{}~", made.dual_signature, made.oi, made.pi);
    let cases: [(&str, &str, Edit); 8] = [
        (
            "no disclosure",
            "The merchant's half discloses OI.",
            whole(format!("{}~", made.dual_signature)),
        ),
        (
            "both disclosures",
            "The merchant never sees PI.",
            whole(both),
        ),
        (
            "no ~ at the end",
            "There is no key-binding JWT, and its place is empty.",
            Box::new(|text| text.trim_end_matches('~').to_owned()),
        ),
        (
            "a key-binding JWT",
            "There is none in this protocol.",
            append("e30.e30.AA"),
        ),
        (
            "an empty disclosure",
            "It is no disclosure.",
            whole(format!("{}~~", made.dual_signature)),
        ),
        (
            "a receipt where a DS is expected",
            "Each message has a typ of its own.",
            whole(receipt_half),
        ),
        (
            "a session where a DS is expected",
            "Each message has a typ of its own.",
            whole(session_half),
        ),
        (
            "a problem document where a DS is expected",
            "It is no signed message.",
            whole("{\"type\":\"urn:twinseal:problem:internal\"}~AA~"),
        ),
    ];
    topic.all_refused(MESSAGE, Problem::Malformed, Stage::MerchantHalf, cases);
}

fn bodies(topic: &mut Topic<'_>) {
    let cases: [(&str, &str, Edit); 8] = [
        (
            "a body with an unknown member",
            "The body has exactly two members.",
            set("/version", 1),
        ),
        (
            "a body without a sealed payment",
            "It is not optional.",
            remove("/payment_information"),
        ),
        (
            "a body with null for a sealed payment",
            "null is no value here.",
            set("/payment_information", json!(null)),
        ),
        (
            "a body with dual_signature twice",
            "A member twice can be read in two ways.",
            put("{", "{\"dual_signature\":\"\","),
        ),
        (
            "a body that is an array",
            "The body is one object.",
            as_array(""),
        ),
        (
            "a body with a number for a signature",
            "It is text.",
            set("/dual_signature", 1),
        ),
        (
            "a body with a byte order mark",
            "JSON has none.",
            prepend("\u{feff}"),
        ),
        (
            "a body with text after it",
            "The body is one object.",
            append("x"),
        ),
    ];
    topic.all_refused(MESSAGE, Problem::Malformed, Stage::PurchaseRequest, cases);
}
