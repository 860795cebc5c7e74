//! Message 3 whose order information, or whose sealed payment as far as the merchant sees it, is not
//! what was signed or ordered.

use protocol::{encoding, identifiers::Digest, problem::Problem};
use serde_json::json;

use super::{
    draft::{Draft, Stage},
    edit::{Edit, as_array, on_json, remove, set},
    vector::{Message, Topic},
};

const MESSAGE: Message = Message::PurchaseRequest;

pub fn fill(topic: &mut Topic<'_>) {
    disclosures(topic);
    orders(topic);
    sealed_payments(topic);
}

/// Form of the OI disclosure: each of these is what the payer signed.
fn disclosures(topic: &mut Topic<'_>) {
    let cases: [(&str, &str, Edit); 17] = [
        (
            "OI that is an array",
            "An object is read from an object; some readers take its values in a row.",
            as_array("/2"),
        ),
        (
            "an item that is an array",
            "An object is read from an object; some readers take its values in a row.",
            as_array("/2/items/0"),
        ),
        (
            "an OI salt of 21 characters",
            "A salt has 22 to 86.",
            set("/0", "a".repeat(21)),
        ),
        (
            "an OI salt of 87 characters",
            "A salt has 22 to 86.",
            set("/0", "a".repeat(87)),
        ),
        (
            "an OI salt in another alphabet",
            "A salt is base64url.",
            set("/0", "+".repeat(43)),
        ),
        (
            "an OI salt that is a number",
            "A salt is text.",
            set("/0", 12345),
        ),
        (
            "PI's name on OI",
            "The merchant's disclosure is OI.",
            set("/1", "pi"),
        ),
        (
            "an OI disclosure of two elements",
            "An object's member has salt, name and value.",
            on_json(|oi| {
                oi.as_array_mut().unwrap().remove(1);
            }),
        ),
        (
            "an OI disclosure of four elements",
            "An object's member has salt, name and value.",
            on_json(|oi| oi.as_array_mut().unwrap().push(json!(1))),
        ),
        (
            "an OI disclosure that is an object",
            "It is an array.",
            on_json(|oi| *oi = json!({"oi": oi[2]})),
        ),
        (
            "a quantity of 0",
            "A quantity is at least 1.",
            set("/2/items/0/quantity", 0),
        ),
        (
            "a quantity above a million",
            "10^6 is the most.",
            set("/2/items/0/quantity", 1_000_001),
        ),
        (
            "a negative unit price",
            "Numbers are 0 or more.",
            set("/2/items/0/unit_price", -1),
        ),
        (
            "an unknown member in an item",
            "An item has exactly four members.",
            set("/2/items/0/colour", "red"),
        ),
        (
            "a delivery note of 2,049 bytes",
            "2,048 is the most.",
            set("/2/delivery", "a".repeat(2049)),
        ),
        (
            "null for a delivery note",
            "What is absent is left out.",
            set("/2/delivery", json!(null)),
        ),
        (
            "a total that is a number",
            "Money has a currency.",
            set("/2/total", 2450),
        ),
    ];
    topic.all_refused(MESSAGE, Problem::Malformed, Stage::Oi, cases);
    let cases: [(&str, &str, Edit); 4] = [
        (
            "an OI disclosure with padding",
            "base64url is without padding.",
            Box::new(|text| text + "="),
        ),
        (
            "an OI disclosure that is no base64url",
            "A disclosure is encoded.",
            Box::new(|text| text + "!"),
        ),
        (
            "an OI disclosure with a byte order mark",
            "JSON has none.",
            Box::new(|text| {
                let json = encoding::base64url_decode(&text).unwrap();
                encoding::base64url(&[b"\xef\xbb\xbf", json.as_slice()].concat())
            }),
        ),
        (
            "an OI disclosure with a line break",
            "White space is no base64url.",
            Box::new(|text| text[..40].to_owned() + "\n" + &text[40..]),
        ),
    ];
    topic.all_refused(MESSAGE, Problem::Malformed, Stage::OiDisclosure, cases);
    topic.refused(
        MESSAGE,
        Problem::TooLarge,
        "an OI disclosure above 32 KiB",
        "32,768 characters is the most.",
        |draft| draft.edit(Stage::Oi, set("/2/items/0/name", "a".repeat(24 * 1024))),
    );
}

fn orders(topic: &mut Topic<'_>) {
    // The payer signed it so; the merchant's books say otherwise.
    let signed: [(&str, &str, Edit); 6] = [
        (
            "another quantity than ordered",
            "OI equals the order member by member.",
            set("/2/items/0/quantity", 3),
        ),
        (
            "another order id",
            "OI equals the order member by member.",
            set("/2/order", encoding::base64url(&[9; 16])),
        ),
        (
            "another delivery note",
            "OI equals the order member by member.",
            set("/2/delivery", "13 Long Lane, Lower Snodbury"),
        ),
        (
            "no delivery note where the order has one",
            "OI equals the order member by member.",
            remove("/2/delivery"),
        ),
        (
            "another total than the amount",
            "OI equals the order member by member.",
            set("/2/total/value", 2449),
        ),
        (
            "items in another order",
            "OI equals the order member by member.",
            on_json(|oi| oi[2]["items"].as_array_mut().unwrap().reverse()),
        ),
    ];
    topic.all_refused(MESSAGE, Problem::OrderMismatch, Stage::Oi, signed);
    // Put under a signature that was made over another one.
    let exchanged: [(&str, &str, Edit); 3] = [
        (
            "other OI under the same DS",
            "Its digest was not signed.",
            set("/2/items/0/unit_price", 1),
        ),
        (
            "a boundary moved between two values",
            "sku and name are apart in what was signed.",
            on_json(|oi| {
                oi[2]["items"][1]["sku"] = "BAG-1P".into();
                oi[2]["items"][1]["name"] = "aper bag".into();
            }),
        ),
        (
            "the same OI under another salt",
            "The salt is part of what was signed.",
            set("/0", "a".repeat(43)),
        ),
    ];
    for (name, why, edit) in exchanged {
        let changed = Draft::new(topic.parties).edit(Stage::Oi, edit).make().oi;
        topic.refused(MESSAGE, Problem::OrderMismatch, name, why, |draft| {
            draft.edit(
                Stage::MerchantHalf,
                Box::new(move |half| {
                    let (dual_signature, _) = half.split_once('~').unwrap();
                    format!("{dual_signature}~{changed}~")
                }),
            )
        });
    }
}

/// What the merchant can see of a sealed payment without opening it.
fn sealed_payments(topic: &mut Topic<'_>) {
    let other = Draft::new(topic.parties).labelled("second purchase").make();
    let other_gateway = &topic.parties.other_gateway_encryption;
    topic.refused(
        MESSAGE,
        Problem::PaymentInformationInvalid,
        "the sealed payment of another purchase",
        "apv is another signature's digest.",
        |draft| draft.edit(Stage::Jwe, Box::new(move |_| other.jwe.clone())),
    );
    topic.refused(
        MESSAGE,
        Problem::PaymentInformationInvalid,
        "an apv of another signature",
        "A sealed payment fits one signature.",
        |draft| draft.sealing(|sealing| sealing.apv = Some(Digest::of(b"another signature"))),
    );
    topic.refused(
        MESSAGE,
        Problem::GatewayMismatch,
        "a payment sealed to another gateway",
        "x5t#S256 is not the signed gateway.x5t.",
        |draft| draft.sealing(|sealing| sealing.recipient = other_gateway),
    );
    topic.refused(
        MESSAGE,
        Problem::PaymentInformationInvalid,
        "a sealed payment that is no JWE",
        "Whatever is wrong with it has one name.",
        |draft| draft.edit(Stage::Jwe, Box::new(|_| "e30.e30.AA".to_owned())),
    );
}
