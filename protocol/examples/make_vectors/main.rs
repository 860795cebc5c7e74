//! Writes the test vectors of `protocol/vectors/` anew:
//! `cargo run -p twinseal-protocol --example make_vectors`.
//!
//! Keys, nonces, ids and salts follow from labels, signatures are those of RFC 6979: a second run
//! changes nothing, and whatever `git diff` shows after one was changed on purpose.
#![allow(
    clippy::unwrap_used,
    reason = "a vector that can't be made ends the program"
)]
#![allow(missing_docs, unreachable_pub, reason = "a program has no API")]

mod files;
#[path = "../../tests/messages/parties/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod parties;

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    for (name, text) in files::files() {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}
