//! Secrets in files that nobody else may read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// A longer file holds no secret of ours.
const BYTES_MAX: u64 = 4096;

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
        "{} has mode {mode:03o}, others may read it; run chmod 600 on it, and use another secret if somebody did",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
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
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    // As large as it gets, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(BYTES_MAX as usize + 1));
    let mut limited = file.take(BYTES_MAX + 1);
    limited.read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > BYTES_MAX {
        let too_long = io::Error::new(io::ErrorKind::InvalidData, "it is too long");
        return Err(unreadable(too_long));
    }
    Ok(text)
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
