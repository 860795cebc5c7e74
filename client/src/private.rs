//! Files that only their owner may read: card numbers, the signing key.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// A private file that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivateFileError {
    #[error("{} can't be read: {source}; check the path and its permissions", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{path} can be read by others than its owner (mode {mode:04o}); run: chmod 600 {path}",
        path = path.display()
    )]
    ReadableByOthers { path: PathBuf, mode: u32 },
}

/// Reads a text that is wiped after use, if nobody but its owner can read it.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, PrivateFileError> {
    let mut file = open(path)?;
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text)
        .map_err(|source| unreadable(path, source))?;
    Ok(text)
}

/// Refuses a file that others than its owner can read.
pub(crate) fn check(path: &Path) -> Result<(), PrivateFileError> {
    open(path).map(drop)
}

fn open(path: &Path) -> Result<File, PrivateFileError> {
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    // Of the open file: whoever exchanges the path in between gains nothing.
    let mode = file
        .metadata()
        .map_err(|source| unreadable(path, source))?
        .permissions()
        .mode()
        & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::ReadableByOthers {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(file)
}

fn unreadable(path: &Path, source: io::Error) -> PrivateFileError {
    PrivateFileError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_refused_with_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "secret").unwrap();
        assert_eq!(read(file.path()).unwrap().as_str(), "secret");
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            let error = read(file.path()).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
            assert!(error.contains(&format!("{mode:04o}")), "{error}");
        }
    }
}
