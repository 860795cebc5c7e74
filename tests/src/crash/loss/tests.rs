//! The disk has what was synced, and of the rest any version of each sector.

use std::{collections::BTreeSet, path::PathBuf};

use tempfile::TempDir;

use super::*;

const SECTOR: usize = 4;

/// A directory with one file, whose changes are noted by hand.
struct Scene {
    directory: TempDir,
    removed: TempDir,
    journal: Vec<u8>,
}

impl Scene {
    fn with(content: &[u8]) -> Self {
        let scene = Self {
            directory: TempDir::new().unwrap(),
            removed: TempDir::new().unwrap(),
            journal: Vec::new(),
        };
        fs::write(scene.path(), content).unwrap();
        scene
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("file")
    }

    fn file(&self) -> u64 {
        fs::metadata(self.path()).unwrap().ino()
    }

    fn note(&mut self, record: Record) {
        self.journal.extend(record.encode());
    }

    /// Writes whole sectors, as the shim would have it.
    fn write(&mut self, start: usize, bytes: &[u8]) {
        let mut content = fs::read(self.path()).unwrap();
        let end = start + bytes.len();
        let there = start.min(content.len())..end.min(content.len());
        self.note(Record::Change {
            file: self.file(),
            start: start as u64,
            end: end as u64,
            length: content.len() as u64,
            before: content[there].to_vec(),
        });
        content.resize(content.len().max(end), 0);
        content[start..end].copy_from_slice(bytes);
        fs::write(self.path(), content).unwrap();
    }

    fn begin_sync(&mut self, file: u64, number: u64) {
        self.note(Record::SyncBegun { file, number });
    }

    fn end_sync(&mut self, number: u64) {
        self.note(Record::Synced { number });
    }

    /// What the file has after a loss; none when it is not there.
    fn lose(&self, seed: u64) -> Option<Vec<u8>> {
        let loss = Loss {
            directory: self.directory.path(),
            removed: self.removed.path(),
            sector: SECTOR as u64,
            random: &mut Random::new(seed),
        };
        loss.undo(&Unsynced::of(&self.journal));
        fs::read(self.path()).ok()
    }
}

/// Everything that can come of a scene.
fn outcomes(scene: impl Fn() -> Scene) -> BTreeSet<Option<Vec<u8>>> {
    (0..100).map(|seed| scene().lose(seed)).collect()
}

fn texts(outcomes: &BTreeSet<Option<Vec<u8>>>) -> Vec<String> {
    let text = |found: &Option<Vec<u8>>| String::from_utf8(found.clone().unwrap()).unwrap();
    outcomes.iter().map(text).collect()
}

#[test]
fn each_sector_has_any_of_what_was_written_since_the_last_sync() {
    let found = outcomes(|| {
        let mut scene = Scene::with(b"aaaa0000");
        scene.write(0, b"bbbb1111");
        scene.write(0, b"cccc");
        scene
    });
    let all = [
        "aaaa0000", "aaaa1111", "bbbb0000", "bbbb1111", "cccc0000", "cccc1111",
    ];
    assert_eq!(texts(&found), all);
}

#[test]
fn what_was_synced_is_never_undone() {
    let found = outcomes(|| {
        let mut scene = Scene::with(b"aaaa");
        scene.write(0, b"bbbb");
        scene.begin_sync(scene.file(), 1);
        scene.end_sync(1);
        scene
    });
    assert_eq!(texts(&found), ["bbbb"]);
}

#[test]
fn a_write_that_meets_a_sync_may_have_missed_it() {
    let found = outcomes(|| {
        let mut scene = Scene::with(b"aaaa");
        scene.write(0, b"bbbb");
        scene.begin_sync(scene.file(), 1);
        scene.write(0, b"cccc");
        scene.end_sync(1);
        scene
    });
    assert_eq!(texts(&found), ["bbbb", "cccc"]);
}

#[test]
fn a_sync_that_was_not_done_has_synced_nothing() {
    let found = outcomes(|| {
        let mut scene = Scene::with(b"aaaa");
        scene.write(0, b"bbbb");
        scene.begin_sync(scene.file(), 1);
        scene
    });
    assert_eq!(texts(&found), ["aaaa", "bbbb"]);
}

#[test]
fn a_file_may_have_grown_without_what_was_written_to_it() {
    let lengths: BTreeSet<usize> = outcomes(|| {
        let mut scene = Scene::with(b"aaaa");
        scene.write(4, b"bbbb");
        scene
    })
    .into_iter()
    .map(|found| {
        let found = found.unwrap();
        assert_eq!(found[..4], *b"aaaa");
        found.len()
    })
    .collect();
    assert_eq!(lengths, BTreeSet::from([4, 8]));
}

#[test]
fn a_file_that_was_made_vanishes_until_its_directory_is_synced() {
    let made = |is_synced: bool| {
        move || {
            let mut scene = Scene::with(b"");
            let (file, name) = (scene.file(), "file".to_owned());
            scene.note(Record::Created { file, name });
            if is_synced {
                scene.begin_sync(DIRECTORY, 1);
                scene.end_sync(1);
            }
            scene
        }
    };
    let there = Some(Vec::new());
    assert_eq!(outcomes(made(false)), BTreeSet::from([None, there.clone()]));
    assert_eq!(outcomes(made(true)), BTreeSet::from([there]));
}

#[test]
fn a_file_that_was_removed_comes_back_with_what_was_synced() {
    let found = outcomes(|| {
        let mut scene = Scene::with(b"aaaa");
        let (file, name) = (scene.file(), "file".to_owned());
        fs::hard_link(scene.path(), scene.removed.path().join(file.to_string())).unwrap();
        scene.write(0, b"bbbb");
        scene.note(Record::Removed { file, name });
        fs::remove_file(scene.path()).unwrap();
        scene
    });
    let expected = [None, Some(b"aaaa".to_vec()), Some(b"bbbb".to_vec())];
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_note_without_its_end_is_of_what_never_began() {
    let mut scene = Scene::with(b"aaaa");
    scene.write(0, b"bbbb");
    let whole = scene.journal.len();
    scene.write(0, b"cccc");
    for end in whole..scene.journal.len() {
        let unsynced = Unsynced::of(&scene.journal[..end]);
        assert_eq!(unsynced.changes[&scene.file()].len(), 1);
    }
}
