//! What modules do differently, as rows of a table. Also the source of the table in docs/HSM.md: the
//! conformance tests include this file.

pub(crate) mod garbage;
pub(crate) mod mechanisms;
pub(crate) mod objects;
pub(crate) mod state;
pub(crate) mod subject;

use std::path::Path;

use self::subject::{Observed, Subject};

/// One thing that was looked at.
pub(crate) struct Row {
    /// What it is.
    pub(crate) what: &'static str,
    /// What the module does.
    pub(crate) found: String,
}

impl Row {
    pub(crate) fn new(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            found: found.into(),
        }
    }
}

/// Whether wrong PINs may be tried.
#[derive(PartialEq, Eq)]
pub(crate) enum WrongPins {
    /// They may: the token is for this alone.
    Tried,
    /// They may not: it locks.
    #[allow(dead_code, reason = "the tests have tokens to spend")]
    Never,
}

/// Looks at everything, with keys that are made for it and destroyed afterwards.
pub(crate) fn observe(
    module: &Path,
    token: &str,
    pin: &str,
    wrong_pins: &WrongPins,
) -> Observed<Vec<Row>> {
    let mut subject = Subject::new(module, token, pin)?;
    let mut rows = mechanisms::observe(&subject)?;
    rows.extend(objects::observe(&subject)?);
    rows.extend(garbage::observe(&subject)?);
    rows.extend(state::observe(&mut subject)?);
    subject.clean_up()?;
    if *wrong_pins == WrongPins::Tried {
        rows.extend(state::wrong_pins(&subject)?);
    }
    Ok(rows)
}
