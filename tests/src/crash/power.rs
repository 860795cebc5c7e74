//! The gateway's store on a disk whose power can fail.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{
    loss::{Loss, Undone, Unsynced},
    random::Random,
};
use crate::{place::Place, service::program};

/// The database's name in a directory of its own.
pub(super) const DATABASE: &str = "gateway.db";

/// A store, and what its shim notes of it.
pub(super) struct Power {
    /// The directory whose files lose what was not synced.
    store: PathBuf,
    notes: PathBuf,
    sector: u64,
    is_lying: bool,
}

impl Power {
    /// Gives the gateway an empty store in a directory of its own.
    pub(super) fn over(place: &Place, is_lying: bool) -> Self {
        let (store, notes) = (place.path("gateway/store"), place.path("gateway/notes"));
        make_private(&store);
        place.edit("gateway/gateway.toml", |config| {
            config["store"]["path"] = format!("store/{DATABASE}").into();
        });
        Self {
            // As SQLite names it.
            store: store.canonicalize().unwrap(),
            notes,
            sector: 512,
            is_lying,
        }
    }

    /// Begins anew, with nothing stored.
    pub(super) fn take_new_store(&self) {
        fs::remove_dir_all(&self.store).unwrap();
        make_private(&self.store);
    }

    /// Begins to note, with nothing unsynced.
    pub(super) fn on(&mut self, random: &mut Random) {
        fs::create_dir(&self.notes).unwrap();
        self.sector = [512, 4096][random.below(2) as usize];
    }

    /// What the gateway is to be started with.
    pub(super) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut environment = vec![
            ("LD_PRELOAD", program("libtwinseal_power_loss.so")),
            ("TWINSEAL_POWER_LOSS_FOLLOW", self.store.clone()),
            ("TWINSEAL_POWER_LOSS_NOTES", self.notes.clone()),
            ("TWINSEAL_POWER_LOSS_SECTOR", self.sector.to_string().into()),
        ];
        if self.is_lying {
            environment.push(("TWINSEAL_POWER_LOSS_LYING", "yes".into()));
        }
        environment
    }

    /// Has the power fail in the next checkpoint, if it is long enough, three times out of four: only a checkpoint
    /// writes the database itself.
    pub(super) fn fail_in_checkpoint(&self, random: &mut Random) {
        if random.below(4) == 0 {
            return;
        }
        // Most of what can go wrong is near the beginning and the end, and how long it is nobody knows.
        let magnitude = random.below(13);
        self.fail_at(DATABASE, random.below(1 << magnitude));
    }

    /// Has the power fail after as many changes and syncs of a file, before the next one.
    pub(super) fn fail_at(&self, file: &str, left: u64) {
        // Written elsewhere first: it may be read at any moment.
        let written = self.notes.join("fuse.new");
        fs::write(&written, format!("{file} {left}")).unwrap();
        fs::rename(written, self.notes.join("fuse")).unwrap();
    }

    /// The power failed after the process was gone. Also tells whether that was within a checkpoint.
    pub(super) fn off(&mut self, random: &mut Random) -> (Undone, bool) {
        let journal = fs::read(self.notes.join("journal")).unwrap();
        let unsynced = Unsynced::of(&journal);
        let database = fs::metadata(self.store.join(DATABASE)).unwrap().ino();
        let loss = Loss {
            directory: &self.store,
            removed: &self.notes,
            sector: self.sector,
            random,
        };
        let undone = loss.undo(&unsynced);
        fs::remove_dir_all(&self.notes).unwrap();
        (undone, unsynced.has_changes_of(database))
    }
}

fn make_private(directory: &Path) {
    DirBuilder::new().mode(0o700).create(directory).unwrap();
}
