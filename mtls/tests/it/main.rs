//! Real sockets, real handshakes, real certificates.

#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap is a failed test, also in what the tests share"
)]

mod clients;
mod harness;
mod identities;
mod limits;
mod pki;
mod rooted;
mod servers;
mod slots;
mod trust_files;
