//! Whose turn it is to ask the gateway for something after a purchase: one process at a time, `serve` or a
//! command, so that no two decide on different grounds what became of one request.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// The lock beside a store. The system gives it back when its holder ends, however it ends.
pub(crate) struct Turns {
    path: PathBuf,
}

/// The right to ask; given back when dropped.
pub(crate) struct Turn {
    _lock: File,
}

/// The lock can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be locked: {source}; check the directory and its owner", path.display())]
pub(crate) struct NoTurn {
    path: PathBuf,
    source: io::Error,
}

impl Turns {
    /// Those of a store.
    pub(crate) fn at(store: &Path) -> Self {
        let mut path = OsString::from(store);
        path.push("-turn");
        Self { path: path.into() }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// When the file can't be made or locked.
    pub(crate) async fn wait(&self) -> Result<Turn, NoTurn> {
        let path = self.path.clone();
        let locked = tokio::task::spawn_blocking(move || {
            let file = open(&path)?;
            file.lock()?;
            Ok(Turn { _lock: file })
        });
        let locked = locked
            .await
            .unwrap_or_else(|ended| Err(io::Error::other(ended)));
        locked.map_err(|source| self.failed(source))
    }

    /// A turn, unless somebody has it.
    ///
    /// # Errors
    /// When the file can't be made or locked.
    pub(crate) fn try_take(&self) -> Result<Option<Turn>, NoTurn> {
        let taken = open(&self.path).and_then(|file| match file.try_lock() {
            Ok(()) => Ok(Some(Turn { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        });
        taken.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> NoTurn {
        NoTurn {
            path: self.path.clone(),
            source,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_one_holder_s_until_it_is_given_back() {
        let directory = tempfile::TempDir::new().unwrap();
        let store = directory.path().join("m.db");
        let (one, other) = (Turns::at(&store), Turns::at(&store));
        let turn = one.wait().await.unwrap();
        assert!(other.try_take().unwrap().is_none());
        drop(turn);
        let turn = other.try_take().unwrap();
        assert!(turn.is_some());
        assert!(one.try_take().unwrap().is_none());
    }
}
