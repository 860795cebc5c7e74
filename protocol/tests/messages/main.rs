//! The message layer without sockets or tokens: a whole purchase, an independent JOSE and SD-JWT
//! library on the other side of each message, and properties that hold for any input.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture that can't be made ends the test"
)]
#![allow(missing_docs, unreachable_pub, reason = "a test program has no API")]

mod exchange;
mod interoperability;
mod judge;
#[path = "../../examples/make_vectors/files/mod.rs"]
mod make_vectors;
mod other_library;
mod parties;
mod properties;
mod purchase;
mod vectors;
