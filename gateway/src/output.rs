//! Results on standard output; the log is on standard error.

use std::error::Error;

use serde::Serialize;

/// Prints a line.
#[expect(
    clippy::print_stdout,
    reason = "a command line program prints its results"
)]
pub(crate) fn print(line: &str) {
    println!("{line}");
}

/// Prints a value for scripts.
pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), Box<dyn Error>> {
    print(&serde_json::to_string_pretty(value)?);
    Ok(())
}
