//! Message 4 with a sealed PI that is refused. Everything here is one problem.

use protocol::{encoding, identifiers::Digest, problem::Problem};
use serde_json::json;

use super::{
    draft::{Draft, Stage},
    edit::{as_array, put, remove, set, whole},
    vector::{Message, Topic},
};

const MESSAGE: Message = Message::AuthorizationRequest;

pub fn fill(topic: &mut Topic<'_>) {
    plaintexts(topic);
    contents(topic);
    bindings(topic);
}

fn plaintexts(topic: &mut Topic<'_>) {
    topic.all_refused(
        MESSAGE,
        Problem::PaymentInformationInvalid,
        Stage::Plaintext,
        [
            (
                "a plaintext that is not padded",
                "A multiple of 512.",
                Box::new(|text| text.trim_end_matches('~').to_owned()),
            ),
            (
                "a plaintext padded with spaces",
                "Padding is ~.",
                Box::new(|text| text.replace('~', " ")),
            ),
            (
                "a plaintext padded on the left",
                "Padding is on the right.",
                Box::new(|text| {
                    let disclosure = text.trim_end_matches('~');
                    format!("{}{disclosure}", "~".repeat(text.len() - disclosure.len()))
                }),
            ),
            (
                "a plaintext of padding alone",
                "There is a disclosure.",
                Box::new(|text| "~".repeat(text.len())),
            ),
            (
                "a plaintext of 4,608 bytes",
                "4,096 is the most.",
                Box::new(|text| format!("{text:~<4608}")),
            ),
            (
                "a plaintext that is no base64url",
                "It is a disclosure.",
                Box::new(|text| format!("!{}", &text[1..])),
            ),
            (
                "two disclosures",
                "It is one disclosure.",
                Box::new(|text| {
                    let disclosure = text.trim_end_matches('~');
                    format!("{:~<1024}", format!("{disclosure}~{disclosure}"))
                }),
            ),
        ],
    );
}

/// Content of the PI disclosure: each of these is what the payer signed and sealed.
fn contents(topic: &mut Topic<'_>) {
    topic.all_refused(
        MESSAGE,
        Problem::PaymentInformationInvalid,
        Stage::Pi,
        [
            (
                "PI that is an array",
                "An object is read from an object; some readers take its values in a row.",
                as_array("/2"),
            ),
            (
                "an instrument that is an array",
                "An object is read from an object; some readers take its values in a row.",
                as_array("/2/instrument"),
            ),
            (
                "PI of another transaction",
                "PI names its own.",
                set("/2/xid", encoding::base64url(&[9; 16])),
            ),
            (
                "PI for another merchant",
                "PI names its own.",
                set("/2/merchant", "urn:twinseal:merchant:record-store"),
            ),
            (
                "a PI salt of 21 characters",
                "A salt has 22 to 86.",
                set("/0", "a".repeat(21)),
            ),
            (
                "OI's name on PI",
                "The gateway's disclosure is PI.",
                set("/1", "oi"),
            ),
            (
                "an unknown member in PI",
                "PI has exactly three members.",
                set("/2/cvv", "123"),
            ),
            (
                "PI without an instrument",
                "It is not optional.",
                remove("/2/instrument"),
            ),
            (
                "a card number of 11 digits",
                "A card number has 12 to 19.",
                set("/2/instrument/pan", "41111111111"),
            ),
            (
                "a card number of 20 digits",
                "A card number has 12 to 19.",
                set("/2/instrument/pan", "41111111111111111111"),
            ),
            (
                "a card number with spaces",
                "A card number is digits.",
                set("/2/instrument/pan", "4111 1111 1111 1111"),
            ),
            (
                "a card number that is a number",
                "A card number is text.",
                set("/2/instrument/pan", 4_111_111_111_111_111u64),
            ),
            (
                "a thirteenth month",
                "Months are 01 to 12.",
                set("/2/instrument/expiry", "2031-13"),
            ),
            (
                "an expiry in another form",
                "It is YYYY-MM.",
                set("/2/instrument/expiry", "12/31"),
            ),
            (
                "a card without expiry",
                "A card has both.",
                remove("/2/instrument/expiry"),
            ),
            (
                "a card with an account",
                "An instrument is one of the two.",
                set("/2/instrument/account", "A1"),
            ),
            (
                "an account in lower case",
                "An account is A-Z and 0-9.",
                set(
                    "/2/instrument",
                    json!({"type": "account", "account": "de02"}),
                ),
            ),
            (
                "another type of instrument",
                "An instrument is a card or an account.",
                set("/2/instrument/type", "cash"),
            ),
            (
                "a member of PI twice",
                "A member twice can be read in two ways.",
                put(
                    "\"type\":\"card\"",
                    "\"type\":\"account\",\"type\":\"card\"",
                ),
            ),
            (
                "null in PI",
                "null is no value here.",
                set("/2/instrument/pan", json!(null)),
            ),
        ],
    );
}

fn bindings(topic: &mut Topic<'_>) {
    let payment = Problem::PaymentInformationInvalid;
    let message = MESSAGE;
    let parties = topic.parties;
    let second = Draft::new(parties).labelled("second purchase").make();
    topic.refused(
        message,
        payment,
        "PI of another purchase, sealed for this signature",
        "Its digest is not one of the two.",
        |draft| draft.edit(Stage::Plaintext, whole(second.plaintext)),
    );
    topic.refused(
        message,
        payment,
        "an apv that is not h(DS)",
        "A sealed payment fits one signature.",
        |draft| draft.sealing(|sealing| sealing.apv = Some(Digest::of(b"another signature"))),
    );
    topic.refused(
        message,
        payment,
        "a key derived without this apv",
        "PartyVInfo is apv's bytes.",
        |draft| {
            draft.sealing(|sealing| sealing.apv_of_kdf = Some(Digest::of(b"another signature")))
        },
    );
    let x5t = json!(parties.gateway_encryption.x5t());
    topic.refused(
        message,
        payment,
        "sealed to another key under this certificate's digest",
        "The tag does not hold.",
        |draft| {
            draft
                .sealing(|sealing| sealing.recipient = &parties.other_gateway_encryption)
                .edit(Stage::JweHeader, set("/x5t#S256", x5t))
        },
    );
}
