//! Results on standard output; the log, and progress for a person, on standard error.

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Prints a line.
pub(crate) fn print(line: &str) {
    // Whoever reads it may have read enough.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints a value for scripts.
pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), Box<dyn Error>> {
    print(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Shows how far long work is, to a person only.
pub(crate) fn progress(what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{msg} {human_pos} of {human_len} {wide_bar} {eta} left";
    ProgressBar::new(0)
        .with_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()))
        .with_message(what)
}
