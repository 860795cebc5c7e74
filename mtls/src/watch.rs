//! Files that others replace while we run: certificates, keys, CRLs. By a rename, or by another target of a symbolic
//! link, as Kubernetes does it with a whole directory.
//!
//! They are looked at, not subscribed to: a look costs a few microseconds, and it sees network file systems and links
//! into directories that did not exist before.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Some files, as they were when they were looked at last.
pub struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<Option<Stamp>>,
}

/// What changes when a file is replaced or written to, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// None, when there is no such file, or it may not be looked at.
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

impl Watch {
    /// Files as they are now: to be called before they are read, so that no change is missed.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self {
            seen: files.iter().map(|file| Stamp::of(file)).collect(),
            files,
        }
    }

    /// Returns once a file has changed, and none has since the look before: a set of files that is replaced one by one
    /// is read when it is whole, most likely.
    pub async fn changed(&mut self) {
        let mut before = self.seen.clone();
        loop {
            sleep(LOOK).await;
            let files = self.files.clone();
            let look = move || files.iter().map(|file| Stamp::of(file)).collect::<Vec<_>>();
            let Ok(now) = spawn_blocking(look).await else {
                continue;
            };
            if now != self.seen && now == before {
                self.seen = now;
                return;
            }
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_renamed_into_place_is_seen() {
        let directory = tempfile::TempDir::new().unwrap();
        let (file, next) = (directory.path().join("a"), directory.path().join("next"));
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(vec![file.clone()]);
        fs::write(&next, "two").unwrap();
        fs::rename(&next, &file).unwrap();
        watch.changed().await;
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
    }

    #[tokio::test]
    async fn another_target_of_a_link_above_the_files_is_seen() {
        // As a volume of Kubernetes: file → ..data/file, ..data → a directory that is replaced.
        let directory = tempfile::TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("file"), "the same").unwrap();
        }
        symlink("1", path("..data")).unwrap();
        symlink("..data/file", path("file")).unwrap();
        let mut watch = Watch::new(vec![path("file")]);
        symlink("2", path("..next")).unwrap();
        fs::rename(path("..next"), path("..data")).unwrap();
        watch.changed().await;
    }

    #[tokio::test]
    async fn a_file_that_appears_is_seen_and_nothing_after_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("a");
        let mut watch = Watch::new(vec![file.clone()]);
        fs::write(&file, "one").unwrap();
        watch.changed().await;
        let again = tokio::time::timeout(LOOK * 4, watch.changed()).await;
        assert!(again.is_err(), "it changed once");
    }
}
