//! The transcript of a ceremony: a text for people, written anew after each step, so that a ceremony that fails leaves what
//! it did.

use std::{fmt::Write as _, path::PathBuf};

use protocol::identifiers::Digest;
use time::OffsetDateTime;

use crate::{
    Failure,
    issue::hex,
    layout::{LockedLayout, Readers},
};

/// A transcript in its file.
pub(super) struct Transcript<'a> {
    layout: &'a LockedLayout,
    path: PathBuf,
    text: String,
    steps: u32,
}

impl<'a> Transcript<'a> {
    pub(super) fn begin(layout: &'a LockedLayout, title: &str) -> Result<Self, Failure> {
        let mut transcript = Self {
            layout,
            path: layout.path("ceremony/transcript.txt"),
            text: format!("Transcript of a ceremony: {title}\n"),
            steps: 0,
        };
        transcript.write()?;
        Ok(transcript)
    }

    /// A step that was done, with what there is to be known of it.
    pub(super) fn step(&mut self, what: &str, facts: &[(&str, String)]) -> Result<(), Failure> {
        self.steps += 1;
        // Writing to a text can't fail.
        let _ = writeln!(self.text, "\n{}. {} {what}", self.steps, now());
        for (name, value) in facts {
            let _ = writeln!(self.text, "   {name:<14}{value}");
        }
        crate::say(&format!("{:>3}  {what}", self.steps));
        self.write()
    }

    /// Ends it, and gives its file and the hash that witnesses write down.
    pub(super) fn end(mut self, outcome: &str) -> Result<(PathBuf, String), Failure> {
        let _ = writeln!(self.text, "\nEnded {}: {outcome}", now());
        self.write()?;
        let hash = sha256(self.text.as_bytes());
        Ok((self.path, hash))
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.layout
            .replace(&self.path, self.text.as_bytes(), Readers::All)
    }
}

/// SHA-256, as `sha256sum` writes it.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(Digest::of(bytes).as_bytes())
}

/// A time as RFC 3339 writes it, in UTC.
pub(super) fn written(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!(
        "{}T{:02}:{:02}:{:02}Z",
        time.date(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn now() -> String {
    written(OffsetDateTime::now_utc())
}
