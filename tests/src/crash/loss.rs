//! What a disk has of files after the power failed: of all that was synced everything, of the rest whatever
//! it likes.
//!
//! Known are, of each sector that was written to since the last sync, what was in it then and before each later
//! write. A disk may have any of these, of each sector another one: writes are lost, torn and reordered. The
//! same goes for a file's length. What was done to the directory since it was synced is undone from some point
//! on: a file system that has a journal keeps the order of names. A file that was made shorter stays so.

#[path = "../../power-loss/src/record.rs"]
mod record;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use record::{DIRECTORY, Record};

use super::random::Random;

/// What was done since the last sync of what it was done to.
#[derive(Default)]
pub(super) struct Unsynced {
    /// By the file's number.
    changes: BTreeMap<u64, Vec<Change>>,
    entries: Vec<Entry>,
}

/// A write, with what it replaced.
struct Change {
    moment: u64,
    start: u64,
    end: u64,
    /// Of the file, before.
    length: u64,
    before: Vec<u8>,
}

/// A name that was made or removed.
struct Entry {
    moment: u64,
    file: u64,
    name: String,
    is_new: bool,
}

impl Unsynced {
    /// Follows a journal to where the process was killed.
    pub(super) fn of(mut journal: &[u8]) -> Self {
        let mut unsynced = Self::default();
        let mut syncs = HashMap::new();
        let mut moment = 0;
        while let Some(record) = Record::decode(&mut journal) {
            moment += 1;
            unsynced.follow(record, moment, &mut syncs);
        }
        unsynced
    }

    fn follow(&mut self, record: Record, moment: u64, syncs: &mut HashMap<u64, (u64, u64)>) {
        match record {
            Record::Created { file, name } => self.entries.push(Entry {
                moment,
                file,
                name,
                is_new: true,
            }),
            Record::Removed { file, name } => self.entries.push(Entry {
                moment,
                file,
                name,
                is_new: false,
            }),
            Record::Change {
                file,
                start,
                end,
                length,
                before,
            } => self.changes.entry(file).or_default().push(Change {
                moment,
                start,
                end,
                length,
                before,
            }),
            Record::Cut { file, length } => {
                let changes = self.changes.entry(file).or_default();
                changes.retain(|change| change.start < length);
                for change in changes {
                    change.length = change.length.min(length);
                    change.end = change.end.min(length);
                    change.before.truncate((length - change.start) as usize);
                }
            }
            Record::SyncBegun { file, number } => {
                syncs.insert(number, (file, moment));
            }
            Record::Synced { number } => {
                // What came after the sync was asked for may have missed it.
                let (file, begun) = syncs.remove(&number).unwrap();
                if file == DIRECTORY {
                    self.entries.retain(|entry| entry.moment > begun);
                } else if let Some(changes) = self.changes.get_mut(&file) {
                    changes.retain(|change| change.moment > begun);
                }
            }
        }
    }

    /// Whether a file has changes that were not synced.
    pub(super) fn has_changes_of(&self, file: u64) -> bool {
        self.changes
            .get(&file)
            .is_some_and(|changes| !changes.is_empty())
    }
}

/// Which of what was not synced is lost.
#[derive(Debug, Clone, Copy)]
enum Extent {
    Nothing,
    Everything,
    /// Of each sector, length and directory something else.
    AnyOfEach,
    /// All since a moment: a disk that keeps the order of writes.
    Since(u64),
}

impl Extent {
    fn any(unsynced: &Unsynced, random: &mut Random) -> Self {
        let changes = unsynced.changes.values().flatten();
        let moments: Vec<u64> = changes.map(|change| change.moment).collect();
        match random.below(8) {
            0 => Self::Nothing,
            1 | 2 => Self::Everything,
            3 | 4 if !moments.is_empty() => {
                Self::Since(moments[random.below(moments.len() as u64) as usize])
            }
            _ => Self::AnyOfEach,
        }
    }

    /// How many of the changes at these moments are kept, the first ones.
    fn kept(self, moments: &[u64], random: &mut Random) -> usize {
        match self {
            Self::Nothing => moments.len(),
            Self::Everything => 0,
            Self::AnyOfEach => random.below(moments.len() as u64 + 1) as usize,
            Self::Since(moment) => moments.partition_point(|change| *change < moment),
        }
    }
}

/// What was undone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Undone {
    pub(super) sectors: usize,
    pub(super) names: usize,
}

/// A loss of power over one directory.
pub(super) struct Loss<'a> {
    /// What is in it is what the kernel had.
    pub(super) directory: &'a Path,
    /// Where removed files were kept.
    pub(super) removed: &'a Path,
    /// Bytes of which the disk wrote all or none.
    pub(super) sector: u64,
    pub(super) random: &'a mut Random,
}

impl Loss<'_> {
    /// Undoes some of what was not synced.
    pub(super) fn undo(mut self, unsynced: &Unsynced) -> Undone {
        let extent = Extent::any(unsynced, self.random);
        // Nobody zeroes a sector that a file was given and that was not written.
        let is_noisy = self.random.below(2) == 0;
        let mut undone = Undone {
            names: self.undo_names(&unsynced.entries, extent),
            sectors: 0,
        };
        for entry in fs::read_dir(self.directory).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().ends_with("-shm") {
                fs::remove_file(path).unwrap();
                continue;
            }
            let file = File::options().read(true).write(true).open(path).unwrap();
            if let Some(changes) = unsynced.changes.get(&file.metadata().unwrap().ino()) {
                undone.sectors += self.undo_changes(&file, changes, extent, is_noisy);
            }
        }
        undone
    }

    fn undo_names(&mut self, entries: &[Entry], extent: Extent) -> usize {
        let moments: Vec<u64> = entries.iter().map(|entry| entry.moment).collect();
        let undone = &entries[extent.kept(&moments, self.random)..];
        for entry in undone.iter().rev() {
            let path = self.directory.join(&entry.name);
            if entry.is_new {
                fs::remove_file(path).unwrap();
            } else if !path.exists() {
                fs::hard_link(self.removed.join(entry.file.to_string()), path).unwrap();
            }
        }
        undone.len()
    }

    fn undo_changes(
        &mut self,
        file: &File,
        changes: &[Change],
        extent: Extent,
        is_noisy: bool,
    ) -> usize {
        let moments: Vec<u64> = changes.iter().map(|change| change.moment).collect();
        let length = changes
            .get(extent.kept(&moments, self.random))
            .map_or(file.metadata().unwrap().len(), |change| change.length);
        let mut undone = 0;
        for (start, versions) in by_sector(changes, self.sector) {
            let moments: Vec<u64> = versions.iter().map(|(moment, _)| *moment).collect();
            let Some((_, before)) = versions.get(extent.kept(&moments, self.random)) else {
                continue;
            };
            let mut content = before.to_vec();
            let was_never_written = content.is_empty();
            content.resize(self.sector as usize, 0);
            if was_never_written && is_noisy {
                content.fill_with(|| self.random.next() as u8);
            }
            file.write_all_at(&content, start).unwrap();
            undone += 1;
        }
        file.set_len(length).unwrap();
        undone
    }
}

/// What was in each sector before each change of it.
fn by_sector(changes: &[Change], sector: u64) -> BTreeMap<u64, Vec<(u64, &[u8])>> {
    let mut sectors: BTreeMap<u64, Vec<(u64, &[u8])>> = BTreeMap::new();
    for change in changes {
        let before = change.before.as_slice();
        for start in (change.start..change.end).step_by(sector as usize) {
            let from = before.len().min((start - change.start) as usize);
            let to = before.len().min(from + sector as usize);
            let version = (change.moment, &before[from..to]);
            sectors.entry(start).or_default().push(version);
        }
    }
    sectors
}

#[cfg(test)]
mod tests;
