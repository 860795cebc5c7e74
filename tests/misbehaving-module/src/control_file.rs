//! The control file as it stands on the disk: looked at in each call, read when it is another one.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use crate::{beside::give_up, control::Control};

pub(crate) struct ControlFile {
    path: PathBuf,
    current: RwLock<Arc<Version>>,
    /// Held by whoever reads a new one and makes its events happen. Whoever needs it waits.
    change: Mutex<()>,
}

/// The file as it was read.
pub(crate) struct Version {
    pub(crate) control: Control,
    stamp: Stamp,
    /// Kept open, so that no later file gets its inode, and asked in each call: that takes less than to look the path up.
    file: File,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl ControlFile {
    /// Reads it for the first time. Nothing happens yet of what is to happen.
    pub(crate) fn open(path: PathBuf) -> Self {
        let version = read(&path).unwrap_or_else(|why| misunderstood(&path, &why));
        Self {
            current: RwLock::new(Arc::new(version)),
            path,
            change: Mutex::new(()),
        }
    }

    /// What it says now. `changed` is told of each new one, with the one before, and is done before any call goes by
    /// the new one.
    pub(crate) fn now(&self, changed: impl FnOnce(&Control, &Control)) -> Arc<Version> {
        let known = self.known();
        match known.file.metadata() {
            // One that another was renamed over has no name any more.
            Ok(metadata) if metadata.nlink() > 0 && known.stamp == Stamp::of(&metadata) => {
                return known;
            }
            Ok(_) => {}
            Err(error) => misunderstood(&self.path, &error.to_string()),
        }
        drop(known);
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        // Read whatever the stamp: the file may be a newer one by now, or another call was here first.
        let mut version = read(&self.path).unwrap_or_else(|why| misunderstood(&self.path, &why));
        let known = self.known();
        if known.stamp == version.stamp {
            return known;
        }
        version.control.continue_from(&known.control);
        changed(&known.control, &version.control);
        let version = Arc::new(version);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&version);
        version
    }

    /// The one that was read last.
    pub(crate) fn known(&self) -> Arc<Version> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(path: &PathBuf) -> Result<Version, String> {
    let open = || -> io::Result<(File, Stamp, String)> {
        let mut file = File::open(path)?;
        let stamp = Stamp::of(&file.metadata()?);
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((file, stamp, text))
    };
    let (file, stamp, text) = open().map_err(|error| error.to_string())?;
    let control = Control::parse(&text).map_err(|why| why.to_string())?;
    Ok(Version {
        control,
        stamp,
        file,
    })
}

fn misunderstood(path: &std::path::Path, why: &str) -> ! {
    give_up(&format!("the control file {}: {why}", path.display()))
}
