//! The journal of the CAs: a line for each certificate and each revocation, appended and never changed.
//!
//! A certificate's line is on the disk before anybody has the certificate. So what a crash cuts off was handed out to
//! nobody, and what was handed out is there: a lost answer is given again from here, and a one-time secret is used when
//! a line says so.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use protocol::identifiers::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    Failure,
    layout::{Layout, LockedLayout, TokenPlace},
    say,
};

const FILE: &str = "journal.jsonl";

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Seconds since 1970.
    pub(crate) time: i64,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    Issued(Issued),
    Revoked(Revoked),
    /// The line before it was cut off by a crash; nobody had what it was about.
    CutOff {
        text: String,
    },
}

/// A certificate that a CA signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    pub(crate) how: How,
    /// As its key is labelled.
    pub(crate) ca: String,
    /// In hexadecimal digits.
    pub(crate) serial: String,
    /// A party's URN, or a CA's common name.
    pub(crate) subject: String,
    pub(crate) usage: String,
    pub(crate) spki_sha256: Digest,
    pub(crate) certificate_sha256: Digest,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
    /// The certificate itself: DER, in base64.
    pub(crate) certificate: String,
    /// Who asked for it, if somebody did over the network.
    #[serde(flatten)]
    pub(crate) asked: Option<Asked>,
}

/// How a certificate came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    /// By `init`, `client` or `merchant`, with all that belongs to it.
    Init,
    /// By `ceremony`: a CA's.
    Ceremony,
    /// By `ca replace`: that of a CA which takes another one's place.
    Replace,
    /// Before there was a journal: `init` found it in the directory.
    Found,
    /// By `issue`, for a request in a file.
    Issue,
    /// By `serve`, for an invitation.
    Enrol,
    /// By `serve`, in the place of another one.
    Renew,
    /// By `serve`, for itself.
    Service,
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            How::Init => "init",
            How::Ceremony => "ceremony",
            How::Replace => "replace",
            How::Found => "found",
            How::Issue => "issue",
            How::Enrol => "enrol",
            How::Renew => "renew",
            How::Service => "service",
        })
    }
}

/// By what right a certificate was asked for over the network, and with which request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// The id of the invitation, or SHA-256 of the certificate that was renewed.
    pub(crate) by: String,
    /// SHA-256 of the request.
    pub(crate) request_sha256: Digest,
}

/// A certificate that its CA revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revoked {
    pub(crate) ca: String,
    pub(crate) serial: String,
    pub(crate) subject: String,
    pub(crate) certificate_sha256: Digest,
    /// Whether its key stays good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) only: bool,
}

/// The journal, as far as it was read.
pub(crate) struct Journal {
    path: PathBuf,
    /// Where the last line that was read ends.
    end: u64,
    entries: Vec<Entry>,
}

/// The journal as it is, for looking at it, and whether its last line is not whole: somebody writes it, or a crash cut it
/// off.
pub(crate) fn look(layout: &Layout) -> Result<(Vec<Entry>, bool), Failure> {
    let mut journal = Journal::at(layout);
    let cut_off = journal.read_on()?;
    Ok((journal.entries, !cut_off.is_empty()))
}

impl Journal {
    /// Reads it, and puts right what a crash left of its last line.
    pub(crate) fn open(layout: &LockedLayout) -> Result<Self, Failure> {
        let mut journal = Self::at(layout);
        if let Some(cut_off) = journal.catch_up(layout)? {
            say(&cut_off);
        }
        Ok(journal)
    }

    fn at(layout: &Layout) -> Self {
        Self {
            path: layout.token_file(TokenPlace::Ca, FILE),
            end: 0,
            entries: Vec::new(),
        }
    }

    /// Reads what others wrote meanwhile. Gives what is to be told when the last line was cut off by a crash.
    pub(crate) fn catch_up(&mut self, layout: &LockedLayout) -> Result<Option<String>, Failure> {
        let cut_off = self.read_on()?;
        if cut_off.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&cut_off).into_owned();
        self.append(layout, Event::CutOff { text })?;
        Ok(Some(format!(
            "{}: a crash cut off its last line, and what that line was about was handed out to nobody; the line is kept \
             as an entry of its own",
            self.path.display()
        )))
    }

    /// Every line.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every certificate.
    pub(crate) fn issued(&self) -> impl Iterator<Item = &Issued> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Issued(issued) => Some(issued),
            _ => None,
        })
    }

    /// The serial numbers that a CA revoked.
    pub(crate) fn revoked_by(&self, ca: &str) -> Vec<Vec<u8>> {
        let serials = self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Revoked(revoked) if revoked.ca == ca => Some(&revoked.serial),
            _ => None,
        });
        serials.filter_map(|serial| bytes_of(serial)).collect()
    }

    /// Whether a certificate of this key was revoked, and the key with it.
    pub(crate) fn has_revoked_key(&self, spki_sha256: Digest) -> bool {
        let revoked = |certificate: Digest| {
            self.entries.iter().any(|entry| {
                matches!(&entry.event, Event::Revoked(revoked)
                    if !revoked.only && revoked.certificate_sha256 == certificate)
            })
        };
        self.issued()
            .filter(|issued| issued.spki_sha256 == spki_sha256)
            .any(|issued| revoked(issued.certificate_sha256))
    }

    /// Appends a line. When this returns it is on the disk.
    pub(crate) fn append(&mut self, _: &LockedLayout, event: Event) -> Result<(), Failure> {
        let path = self.path.clone();
        let failed = |error: io::Error| {
            Failure::new(format!(
                "{}: {error}; nothing is issued or revoked that is not written there: make room, and run the command \
                 again",
                path.display()
            ))
        };
        let entry = Entry {
            time: OffsetDateTime::now_utc().unix_timestamp(),
            event,
        };
        let mut line =
            serde_json::to_vec(&entry).map_err(|error| Failure::new(error.to_string()))?;
        line.push(b'\n');
        let is_new = !self.path.exists();
        // What others wrote is kept; what is behind the last whole line could not be written to its end.
        self.read_on()?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        file.set_len(self.end)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .and_then(|_| file.write_all(&line))
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        if is_new && let Some(directory) = path.parent() {
            File::open(directory)
                .and_then(|directory| directory.sync_all())
                .map_err(failed)?;
        }
        self.end += line.len() as u64;
        self.entries.push(entry);
        Ok(())
    }

    /// Reads the whole lines that are not read yet; gives what is behind the last one.
    fn read_on(&mut self) -> Result<Vec<u8>, Failure> {
        let failed = |error: io::Error| Failure::file(&self.path, &error);
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.end == 0 => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(failed(error)),
        };
        if fs::metadata(&self.path).map_err(failed)?.len() < self.end {
            return Err(Failure::new(format!(
                "{} is shorter than it was, and it only ever grows; put it back from a backup",
                self.path.display()
            )));
        }
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(self.end))
            .and_then(|_| file.read_to_end(&mut text))
            .map_err(failed)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        for line in text[..whole].split_inclusive(|byte| *byte == b'\n') {
            let entry = serde_json::from_slice(line).map_err(|_| {
                Failure::new(format!(
                    "{}: line {} is not an entry; put the journal back from a backup",
                    self.path.display(),
                    self.entries.len() + 1
                ))
            })?;
            self.entries.push(entry);
        }
        self.end += whole as u64;
        Ok(text.split_off(whole))
    }
}

/// What stands in hexadecimal digits.
fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    (0..hexadecimal.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hexadecimal.get(at..at + 2)?, 16).ok())
        .collect()
}
