//! Results on standard output, talk on standard error. Whoever closed either does not want to hear.

use std::io::{self, Write as _};

/// Prints a line of the result.
pub(crate) fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints the result as one JSON object.
pub(crate) fn print_json(object: &serde_json::Value) {
    print(&object.to_string());
}

/// Says a line to the person.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Says which step of the exchange was done, and what it did, line by line.
pub(crate) fn step(number: u8, name: &str, did: &[String]) {
    say(&format!("{number}/6  {name}"));
    for line in did {
        say(&format!("       {line}"));
    }
}
