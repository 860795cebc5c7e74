//! The merchant's OpenAPI document: made of its routes once, served, printed, and checked in.

use std::sync::LazyLock;

use hyper::{StatusCode, body::Bytes};
use mtls::exchange::{Answer, with_type};
use openapi::{Access, Document, Listener};

use crate::{described, routes};

/// The document as it is printed and checked in.
pub(crate) fn json() -> Result<String, serde_json::Error> {
    document().to_json()
}

fn document() -> Document {
    Document::new(
        "Twinseal merchant",
        "The shop: sells, has payers sign, asks the gateway. It never sees a card.",
        env!("CARGO_PKG_VERSION"),
    )
    .listener(
        &Listener {
            tag: "payers",
            description: "the listener for payers, TLS.",
            access: Access::Anybody,
            port: "8543",
        },
        routes::PAYERS,
        described::for_payers,
    )
}

/// The document as it is served.
pub(crate) fn answer() -> Answer {
    // That it can be written is tested below.
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| document().to_compact_json().unwrap_or_default().into());
    with_type(StatusCode::OK, "application/json", DOCUMENT.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_that_is_checked_in_is_the_one_that_the_code_makes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi/merchant.json");
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in.trim_end() == json().unwrap(),
            "docs/openapi/merchant.json is not what the code says; run \
             `cargo run -p twinseal-merchant -- openapi > docs/openapi/merchant.json` and look at the difference"
        );
    }
}
