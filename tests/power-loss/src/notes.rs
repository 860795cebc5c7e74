//! What is followed and where it is noted: an append-only journal that outlives the process.

use std::{
    collections::HashMap,
    env,
    ffi::{CString, OsString},
    fs::{self, File},
    io::{self, Write as _},
    mem::ManuallyDrop,
    os::{
        fd::{FromRawFd as _, RawFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::{FileExt as _, MetadataExt as _},
        },
    },
    path::PathBuf,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{real, record::Record};

/// The files that are followed are below this directory.
const FOLLOW: &str = "TWINSEAL_POWER_LOSS_FOLLOW";

/// Where the journal is, the files that were removed, and the fuse. On the same file system.
const NOTES: &str = "TWINSEAL_POWER_LOSS_NOTES";

/// Bytes of which a disk writes all or none.
const SECTOR: &str = "TWINSEAL_POWER_LOSS_SECTOR";

/// Set when no sync is to have any effect.
const LYING: &str = "TWINSEAL_POWER_LOSS_LYING";

static SHIM: OnceLock<Option<Shim>> = OnceLock::new();

pub(crate) struct Shim {
    /// With a slash at its end.
    directory: Vec<u8>,
    /// Device and inode of the directory.
    pub(crate) identity: (u64, u64),
    notes: PathBuf,
    sector: u64,
    is_lying: bool,
    state: Mutex<State>,
}

/// Whoever changes a followed file holds its lock from the note to the end of the change.
pub(crate) struct State {
    journal: File,
    names: HashMap<u64, String>,
    syncs: u64,
    /// The name of a file, and how many of its changes and syncs are left until the power fails.
    fuse: Option<(String, u64)>,
}

/// The shim; none when the environment does not ask for it.
pub(crate) fn shim() -> Option<&'static Shim> {
    SHIM.get_or_init(|| {
        let mut directory = env::var_os(FOLLOW)?.into_vec();
        let asked = |name: &str| {
            env::var_os(name).unwrap_or_else(|| give_up(&format!("{name} is not set")))
        };
        let identity = fs::metadata(OsString::from_vec(directory.clone()))
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .unwrap_or_else(|error| give_up(&format!("{FOLLOW}: {error}")));
        directory.push(b'/');
        let notes = PathBuf::from(asked(NOTES));
        let sector = asked(SECTOR)
            .to_str()
            .and_then(|sector| sector.parse().ok())
            .unwrap_or_else(|| give_up(&format!("{SECTOR} is no number")));
        Some(Shim {
            directory,
            identity,
            sector,
            is_lying: env::var_os(LYING).is_some(),
            state: Mutex::new(State {
                journal: open_journal(&notes),
                names: HashMap::new(),
                syncs: 0,
                fuse: None,
            }),
            notes,
        })
    })
    .as_ref()
}

/// Not with `File::open`: that would come back here, to what is just being made.
fn open_journal(notes: &std::path::Path) -> File {
    let path = CString::new(notes.join("journal").into_os_string().into_vec()).unwrap_or_default();
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the path ends with a zero and lives until the call is over.
    let fd = unsafe { real::open(path.as_ptr(), flags, 0o600) };
    if fd < 0 {
        give_up(&format!("the journal: {}", io::Error::last_os_error()));
    }
    // SAFETY: it was just opened, and nobody else has it.
    unsafe { File::from_raw_fd(fd) }
}

/// Ends the process: to go on without a note would make the loss too small, and a test pass that must not.
pub(crate) fn give_up(why: &str) -> ! {
    let _ = writeln!(io::stderr(), "twinseal-power-loss: {why}");
    std::process::abort()
}

/// A file that somebody else has open, and closes.
pub(crate) fn borrowed(fd: RawFd) -> ManuallyDrop<File> {
    // SAFETY: the caller of the libc function vouches for the descriptor for as long as the call takes, and it
    // is never closed here.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd) })
}

impl Shim {
    /// The name of a file below the directory. SQLite's -shm is shared memory that recovery makes anew: after a
    /// loss of power it is gone, and nothing is noted of it.
    pub(crate) fn name_of(&self, path: &[u8]) -> Option<String> {
        let name = path.strip_prefix(self.directory.as_slice())?;
        (!name.ends_with(b"-shm")).then(|| String::from_utf8_lossy(name).into_owned())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the bytes from `start` to `end` of a followed file, which may grow.
    pub(crate) fn change<T>(
        &self,
        fd: RawFd,
        file: u64,
        (start, end): (u64, u64),
        act: impl FnOnce() -> T,
    ) -> T {
        let mut state = self.lock();
        state.burn(self, file);
        let opened = borrowed(fd);
        let read = || -> io::Result<(u64, Vec<u8>, u64)> {
            let length = opened.metadata()?.len();
            let start = start / self.sector * self.sector;
            let there = end
                .next_multiple_of(self.sector)
                .min(length)
                .saturating_sub(start);
            let mut before = vec![0; usize::try_from(there).map_err(io::Error::other)?];
            opened.read_exact_at(&mut before, start)?;
            Ok((start, before, length))
        };
        let (start, before, length) =
            read().unwrap_or_else(|error| give_up(&format!("what a write replaces: {error}")));
        state.note(&Record::Change {
            file,
            start,
            end: end.next_multiple_of(self.sector),
            length,
            before,
        });
        act()
    }

    /// Makes a followed file shorter, or longer.
    pub(crate) fn resize<T>(&self, fd: RawFd, file: u64, to: u64, act: impl FnOnce() -> T) -> T {
        let length = borrowed(fd)
            .metadata()
            .map_or_else(|error| give_up(&error.to_string()), |found| found.len());
        if to >= length {
            return self.change(fd, file, (length, to), act);
        }
        let mut state = self.lock();
        state.burn(self, file);
        state.note(&Record::Cut { file, length: to });
        act()
    }

    /// Syncs a followed file or the directory. What is written while that goes on is not part of it, so nobody
    /// else has to wait.
    pub(crate) fn sync(&self, file: u64, act: impl FnOnce() -> libc::c_int) -> libc::c_int {
        let mut state = self.lock();
        state.burn(self, file);
        state.syncs += 1;
        let number = state.syncs;
        state.note(&Record::SyncBegun { file, number });
        drop(state);
        let done = act();
        if done == 0 && !self.is_lying {
            self.lock().note(&Record::Synced { number });
        }
        done
    }

    /// Notes that a name goes away, and keeps what it named.
    pub(crate) fn keep_removed(&self, state: &mut State, path: &std::path::Path, name: String) {
        let Ok(file) = fs::symlink_metadata(path).map(|found| found.ino()) else {
            // Nothing is there, nothing goes away.
            return;
        };
        if let Err(error) = fs::hard_link(path, self.notes.join(file.to_string())) {
            give_up(&format!("{} can't be kept: {error}", path.display()));
        }
        state.note(&Record::Removed { file, name });
    }
}

impl State {
    pub(crate) fn note(&mut self, record: &Record) {
        // One write, so that a kill can only leave the last record without its end.
        if let Err(error) = self.journal.write_all(&record.encode()) {
            give_up(&format!("the journal: {error}"));
        }
    }

    pub(crate) fn named(&mut self, file: u64, name: String) {
        self.names.insert(file, name);
    }

    /// Ends the process before the change or the sync at which the power is to fail.
    fn burn(&mut self, shim: &Shim, file: u64) {
        if self.fuse.is_none() {
            self.fuse = fs::read_to_string(shim.notes.join("fuse"))
                .ok()
                .and_then(|text| {
                    let (name, left) = text.split_once(' ')?;
                    Some((name.to_owned(), left.parse().ok()?))
                });
        }
        let Some((name, left)) = &mut self.fuse else {
            return;
        };
        if self.names.get(&file) != Some(name) {
            return;
        }
        if *left == 0 {
            real::kill_this_process();
        }
        *left -= 1;
    }
}

/// The bytes of a path that libc was given.
pub(crate) fn path_of(path: &std::ffi::CStr) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()))
}
