//! Secrets in files that nobody else may read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// A longer file holds no secret of ours.
const BYTES_MAX: u64 = 64 * 1024;

/// A file whose secret can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It can't be read, or is no text.
    #[error("{} can't be read: {source}; check the path and its owner", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "{} has mode {mode:03o} and is user {owner}'s, others may read it; make it your own and run chmod 600 on it, and use another secret if somebody did",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Whose it is.
        owner: u32,
    },
}

/// Reads a file's text, which is wiped when dropped.
///
/// # Errors
/// When it can't be read, is no text, is longer than any secret, or may be read by others.
pub fn read(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    // Of the file that is open, whatever is at the path by now.
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o777;
    if others_may_read(metadata.uid(), mode, rustix::process::geteuid().as_raw()) {
        return Err(SecretFileError::Open {
            path: path.to_owned(),
            mode,
            owner: metadata.uid(),
        });
    }
    // As large as it gets, so that no copy is left behind by growing.
    let bytes = metadata.len().min(BYTES_MAX) as usize;
    let mut text = Zeroizing::new(String::with_capacity(bytes + 1));
    let mut limited = file.take(BYTES_MAX + 1);
    limited.read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > BYTES_MAX {
        let too_long = io::Error::new(io::ErrorKind::InvalidData, "it is too long");
        return Err(unreadable(too_long));
    }
    Ok(text)
}

/// Whether a file is anybody's but ours. One of root's that our group may read counts as ours when we are not root: so
/// systemd's credentials and Kubernetes' secrets get to a service (mode 0440).
const fn others_may_read(owner: u32, mode: u32, us: u32) -> bool {
    let is_handed_by_root = owner == 0 && us != 0;
    let forbidden = if is_handed_by_root { 0o037 } else { 0o077 };
    let is_strangers = owner != us && owner != 0;
    is_strangers || mode & forbidden != 0
}

/// Writes a new file for its owner alone; one that is there stays as it is.
///
/// # Errors
/// When it is there, or can't be written.
pub fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a secret is none.
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_may_read_what_root_hands_to_a_service_and_nothing_else() {
        const US: u32 = 990;
        for (owner, mode, us) in [
            (US, 0o600, US),
            (US, 0o400, US),
            (0, 0o440, US),
            (0, 0o640, US),
        ] {
            assert!(!others_may_read(owner, mode, us), "{owner} {mode:o}");
        }
        for (owner, mode, us) in [
            (US, 0o440, US),
            (0, 0o444, US),
            (0, 0o460, US),
            (0, 0o441, US),
            (0, 0o440, 0),
            (991, 0o440, US),
            // Who owns it reads it, and may have put it there.
            (991, 0o600, US),
            (991, 0o600, 0),
        ] {
            assert!(others_may_read(owner, mode, us), "{owner} {mode:o}");
        }
    }
}
