//! The merchant's OpenAPI document: made of its routes once, served, printed, and checked in.

use openapi::{Access, Document, Listener, Published};

use crate::{described, routes};

/// The document.
pub(crate) static DOCUMENT: Published = Published::new(document);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_that_is_checked_in_is_the_one_that_the_code_makes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi/merchant.json");
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in.trim_end() == DOCUMENT.to_json().unwrap(),
            "docs/openapi/merchant.json is not what the code says; run \
             `cargo run -p twinseal-merchant -- openapi > docs/openapi/merchant.json` and look at the difference"
        );
    }
}
