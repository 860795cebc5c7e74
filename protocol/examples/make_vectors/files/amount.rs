//! Message 3 with an amount that is none, or is not the session's.

use protocol::problem::Problem;

use super::{
    draft::{Jws, Stage},
    edit::{Edit, put, set},
    vector::{Message, Topic},
};

const MESSAGE: Message = Message::PurchaseRequest;

pub fn fill(topic: &mut Topic<'_>) {
    let value = |text: &'static str| put("\"value\":2450", format!("\"value\":{text}"));
    let cases: [(Problem, &str, &str, Edit); 16] = [
        (
            Problem::Malformed,
            "an amount of 0",
            "An amount is at least 1.",
            value("0"),
        ),
        (
            Problem::Malformed,
            "a negative amount",
            "An amount is at least 1.",
            value("-2450"),
        ),
        (
            Problem::Malformed,
            "an amount of minus zero",
            "It is a float to some readers.",
            value("-0"),
        ),
        (
            Problem::Malformed,
            "an amount with a fraction",
            "Money is whole minor units.",
            value("2450.0"),
        ),
        (
            Problem::Malformed,
            "an amount with an exponent",
            "Numbers have no exponent.",
            value("1e3"),
        ),
        (
            Problem::Malformed,
            "an amount with a leading zero",
            "It is no JSON.",
            value("02450"),
        ),
        (
            Problem::Malformed,
            "an amount above a trillion",
            "10^12 is the most.",
            value("1000000000001"),
        ),
        (
            Problem::Malformed,
            "an amount of 2^53",
            "Not every reader keeps it exact.",
            value("9007199254740992"),
        ),
        (
            Problem::Malformed,
            "an amount of 2^53 + 1",
            "Many readers make 2^53 of it.",
            value("9007199254740993"),
        ),
        (
            Problem::Malformed,
            "an amount of 2^64 + 2450",
            "Some readers make 2450 of it.",
            value("18446744073709554066"),
        ),
        (
            Problem::Malformed,
            "an amount in text",
            "It is a number.",
            value("\"2450\""),
        ),
        (
            Problem::Malformed,
            "an amount with an exponent of its own",
            "The currency has one (ISO 4217).",
            set("/amount/exponent", 3),
        ),
        (
            Problem::Malformed,
            "a currency in lower case",
            "Codes are upper case.",
            set("/amount/currency", "eur"),
        ),
        (
            Problem::Malformed,
            "a currency without minor units",
            "XAU, gold, is no money to pay in.",
            set("/amount/currency", "XAU"),
        ),
        (
            Problem::AmountMismatch,
            "another amount than the session's",
            "The payer signs what the merchant offered.",
            set("/amount/value", 2449),
        ),
        (
            Problem::AmountMismatch,
            "the session's digits in another currency",
            "2450 won are not 24.50 euros.",
            set("/amount/currency", "KRW"),
        ),
    ];
    topic.each_refused(MESSAGE, Stage::Claims(Jws::Dual), cases);
}
