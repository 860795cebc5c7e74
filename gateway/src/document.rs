//! The gateway's OpenAPI document: made of its routes once, served, printed, and checked in.

use openapi::{Access, Document, Listener, Published};

use crate::{described, routes};

/// The document.
pub(crate) static DOCUMENT: Published = Published::new(document);

fn document() -> Document {
    Document::new(
        "Twinseal gateway",
        "The payment gateway: confirms payers by their dual signatures and approves payments. Its private keys stay \
         in a PKCS#11 token.",
        env!("CARGO_PKG_VERSION"),
    )
    .listener(
        &Listener {
            tag: "merchants",
            description: "the listener for merchants, mutual TLS.",
            access: Access::Merchants,
            port: "8443",
        },
        routes::MERCHANTS,
        described::for_merchants,
    )
    .listener(
        &Listener {
            tag: "payers",
            description: "the listener for payers, TLS with the gateway's certificate only.",
            access: Access::Anybody,
            port: "8444",
        },
        routes::PAYERS,
        described::for_payers,
    )
    .listener(
        &Listener {
            tag: "admin",
            description: "the listener for operators, plain HTTP on the loopback.",
            access: Access::Operators,
            port: "8445",
        },
        routes::OPERATORS,
        described::for_operators,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_that_is_checked_in_is_the_one_that_the_code_makes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi/gateway.json");
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in.trim_end() == DOCUMENT.to_json().unwrap(),
            "docs/openapi/gateway.json is not what the code says; run \
             `cargo run -p twinseal-gateway -- openapi > docs/openapi/gateway.json` and look at the difference"
        );
    }
}
