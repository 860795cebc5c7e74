//! What is noted of the files that are followed, as bytes. The shim writes it and the crash harness reads it;
//! both include this file.

#![allow(dead_code, reason = "one side writes what the other one reads")]

/// In the place of a file's number: the directory itself.
pub(crate) const DIRECTORY: u64 = 0;

/// One thing that happened, or is just about to. Files go by their inode numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A file was made.
    Created { file: u64, name: String },
    /// A name goes away; what it named is kept beside the journal, under its number.
    Removed { file: u64, name: String },
    /// Whole sectors from `start` to `end` are written to, or the file grows.
    Change {
        file: u64,
        start: u64,
        end: u64,
        /// The file's length before.
        length: u64,
        /// What was there before, up to the file's end.
        before: Vec<u8>,
    },
    /// A file becomes shorter.
    Cut { file: u64, length: u64 },
    /// A sync was asked for: it is of all that was noted of the file so far.
    SyncBegun { file: u64, number: u64 },
    /// That sync was done.
    Synced { number: u64 },
}

/// The kind, four numbers, and the length of what follows.
const HEAD: usize = 1 + 5 * 8;

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, numbers, bytes): (u8, [u64; 4], &[u8]) = match self {
            Self::Created { file, name } => (1, [*file, 0, 0, 0], name.as_bytes()),
            Self::Removed { file, name } => (2, [*file, 0, 0, 0], name.as_bytes()),
            Self::Change {
                file,
                start,
                end,
                length,
                before,
            } => (3, [*file, *start, *end, *length], before),
            Self::Cut { file, length } => (4, [*file, *length, 0, 0], &[]),
            Self::SyncBegun { file, number } => (5, [*file, *number, 0, 0], &[]),
            Self::Synced { number } => (6, [*number, 0, 0, 0], &[]),
        };
        let mut encoded = Vec::with_capacity(HEAD + bytes.len());
        encoded.push(kind);
        for number in numbers {
            encoded.extend(number.to_le_bytes());
        }
        encoded.extend((bytes.len() as u64).to_le_bytes());
        encoded.extend(bytes);
        encoded
    }

    /// Takes the next one from the front. None at the end, and for one that was not written to its end: what it
    /// tells of was never begun.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let number = |index: usize| {
            let at = 1 + index * 8;
            head[at..at + 8]
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let (body, rest) = rest.split_at_checked(usize::try_from(number(4)).ok()?)?;
        let file = number(0);
        let name = || String::from_utf8_lossy(body).into_owned();
        let record = match head[0] {
            1 => Self::Created { file, name: name() },
            2 => Self::Removed { file, name: name() },
            3 => Self::Change {
                file,
                start: number(1),
                end: number(2),
                length: number(3),
                before: body.to_vec(),
            },
            4 => Self::Cut {
                file,
                length: number(1),
            },
            5 => Self::SyncBegun {
                file,
                number: number(1),
            },
            6 => Self::Synced { number: file },
            _ => return None,
        };
        *bytes = rest;
        Some(record)
    }
}
