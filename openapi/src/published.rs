//! A document made once, printed and served.

use std::sync::OnceLock;

use hyper::{StatusCode, body::Bytes};
use mtls::exchange::{Answer, with_type};

use crate::Document;

/// What a service publishes.
pub struct Published {
    make: fn() -> Document,
    served: OnceLock<Bytes>,
}

impl Published {
    /// The document that this makes, whenever it is asked for first.
    pub const fn new(make: fn() -> Document) -> Self {
        Self {
            make,
            served: OnceLock::new(),
        }
    }

    /// As it is printed and checked in.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        (self.make)().to_json()
    }

    /// As it is served, whichever listener is asked.
    pub fn answer(&self) -> Answer {
        // That it can be written is tested where it is compared with what is checked in.
        let made = || (self.make)().to_compact_json().unwrap_or_default().into();
        let document = self.served.get_or_init(made);
        with_type(StatusCode::OK, "application/json", document.clone())
    }
}
