//! Message 4 with another form.

use protocol::{encoding, problem::Problem};

use super::{
    draft::{Draft, Jws, Stage},
    edit::{Edit, as_array, bytes_of_part, part, put, remove, set, whole},
    vector::{Message, Topic},
};

const MESSAGE: Message = Message::AuthorizationRequest;

pub fn fill(topic: &mut Topic<'_>) {
    form(topic);
}

fn form(topic: &mut Topic<'_>) {
    let made = Draft::new(topic.parties).make();
    topic.each_refused(
        MESSAGE,
        Stage::Claims(Jws::Request),
        [
            (
                Problem::UnsupportedVersion,
                "a request of version 2",
                "The version is judged before unknown members.",
                put("\"version\":1", "\"version\":2,\"new\":1"),
            ),
            (
                Problem::Malformed,
                "an unknown member in the request",
                "Version 1 has exactly these members.",
                set("/tip", 1),
            ),
            (
                Problem::Malformed,
                "a request without jti",
                "jti is the idempotency key.",
                remove("/jti"),
            ),
            (
                Problem::Malformed,
                "a jti of 64 bits",
                "Ids have 128 bits.",
                set("/jti", encoding::base64url(&[1; 8])),
            ),
            (
                Problem::Malformed,
                "another time to capture",
                "capture is \"now\" or \"later\".",
                set("/capture", "never"),
            ),
            (
                Problem::Malformed,
                "a member of the request twice",
                "A member twice can be read in two ways.",
                put("\"capture\":", "\"capture\":\"now\",\"capture\":"),
            ),
        ],
    );
    topic.refused(
        MESSAGE,
        Problem::SignatureInvalid,
        "a request with alg none",
        "ES256 is the only algorithm.",
        |draft| {
            draft
                .header(Jws::Request, set("/alg", "none"))
                .compact(Jws::Request, part(2, |_| String::new()))
        },
    );
    topic.refused(
        MESSAGE,
        Problem::Malformed,
        "a request with kid",
        "The header has exactly alg, typ and x5c.",
        |draft| draft.header(Jws::Request, set("/kid", "1")),
    );
    topic.refused(
        MESSAGE,
        Problem::SignatureInvalid,
        "a request changed after it was signed",
        "What is verified is the bytes as received.",
        |draft| {
            draft.compact(
                Jws::Request,
                bytes_of_part(1, |claims| {
                    let at = claims
                        .windows(5)
                        .position(|window| window == b"later")
                        .unwrap();
                    claims[at] = b'L';
                    claims.splice(at..at + 5, *b"now");
                }),
            )
        },
    );
    topic.refused(
        MESSAGE,
        Problem::Malformed,
        "a session where a request is expected",
        "Each message has a typ of its own.",
        |draft| draft.compact(Jws::Request, whole(made.session)),
    );
    let with_order = format!("{}~{}~", made.dual_signature, made.oi);
    let halves: [(&str, &str, Edit); 4] = [
        (
            "a DS with the OI disclosure",
            "The gateway never sees OI.",
            whole(with_order),
        ),
        (
            "a DS without its ~",
            "It is an SD-JWT without disclosures.",
            whole(made.dual_signature),
        ),
        (
            "a receipt where the gateway expects a DS",
            "Each message has a typ of its own.",
            whole(format!("{}~", made.receipt)),
        ),
        (
            "nothing where the gateway expects a DS",
            "It is no signed message.",
            whole("~"),
        ),
    ];
    topic.all_refused(MESSAGE, Problem::Malformed, Stage::GatewayHalf, halves);
    let bodies: [(&str, &str, Edit); 4] = [
        (
            "an authorization body that is an array",
            "An object is read from an object; some readers take its values in a row.",
            as_array(""),
        ),
        (
            "an authorization body with an unknown member",
            "The body has exactly three members.",
            set("/order_information", ""),
        ),
        (
            "an authorization body without the DS",
            "It is not optional.",
            remove("/dual_signature"),
        ),
        (
            "an authorization body with a member twice",
            "A member twice can be read in two ways.",
            put("{", "{\"payment_information\":\"\","),
        ),
    ];
    topic.all_refused(
        MESSAGE,
        Problem::Malformed,
        Stage::AuthorizationBody,
        bodies,
    );
}
