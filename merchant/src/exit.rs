//! How a command ends.

use std::process::ExitCode;

/// The exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  could not be done; the last line says what to do
  2  the command line is wrong
  3  not found
  4  outcome unknown: the request is kept, and the same one is sent again by `serve`, or by running the
     same command again, which then tells what became of it and asks for nothing twice
  5  the gateway refused it, and nothing was done; the last line says what to do";

/// How a command ends; [`EXIT_CODES`] documents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unknown = 4,
    Refused = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
