//! Where everything is below the provisioned directory, and how a file gets there: whole or not at all,
//! never over one that is there, and by one command at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    ops::Deref,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use protocol::names::Role;

use crate::{Failure, ca::Ca, say};

/// The label of the gateway's token.
pub(crate) const GATEWAY_TOKEN: &str = "twinseal-gateway";

/// The label of the certificate authorities' token.
pub(crate) const CA_TOKEN: &str = "twinseal-ca";

/// The provisioned directory, absolute.
#[derive(Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// One of the two token directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenPlace {
    /// The certificate authorities', which can be carried away.
    Ca,
    /// The gateway's.
    Gateway,
}

impl TokenPlace {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            TokenPlace::Ca => CA_TOKEN,
            TokenPlace::Gateway => GATEWAY_TOKEN,
        }
    }

    const fn directory(self) -> &'static str {
        match self {
            TokenPlace::Ca => "ca",
            TokenPlace::Gateway => "gateway",
        }
    }
}

impl Layout {
    /// A directory that is there, to read in.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        // SoftHSM's configuration wants an absolute path.
        let root = directory.canonicalize().map_err(|error| {
            Failure::new(format!(
                "{}: {error}; `softhsm-setup init --dir {}` makes it",
                directory.display(),
                directory.display()
            ))
        })?;
        if root.to_str().is_none() {
            return Err(Failure::new(format!(
                "{} is not UTF-8, as configurations are; use a directory with another name",
                root.display()
            )));
        }
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    pub(crate) fn token_file(&self, place: TokenPlace, file: &str) -> PathBuf {
        self.root.join(place.directory()).join(file)
    }

    pub(crate) fn user_pin(&self, place: TokenPlace) -> PathBuf {
        self.token_file(place, "user.pin")
    }

    pub(crate) fn so_pin(&self, place: TokenPlace) -> PathBuf {
        self.token_file(place, "so.pin")
    }

    pub(crate) fn softhsm_conf(&self, place: TokenPlace) -> PathBuf {
        self.token_file(place, "softhsm2.conf")
    }

    /// The certificate of the CA that issues now: `None` is the root.
    pub(crate) fn ca_certificate(&self, role: Option<Role>) -> PathBuf {
        self.certificate_of(self.issuing_ca(role))
    }

    /// The certificate of a CA.
    pub(crate) fn certificate_of(&self, ca: Ca) -> PathBuf {
        self.path(&format!("pki/{}.pem", ca.file_stem()))
    }

    /// Every file with the name of a certificate, in the directory and in those just below it.
    pub(crate) fn certificates(&self) -> Result<Vec<PathBuf>, Failure> {
        let entries = |directory: &Path| -> Result<Vec<PathBuf>, Failure> {
            fs::read_dir(directory)
                .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
                .map_err(|error| Failure::file(directory, &error))
        };
        let mut files = entries(&self.root)?;
        for directory in files.clone() {
            if directory.is_dir() {
                files.extend(entries(&directory)?);
            }
        }
        files.retain(|path| path.extension().is_some_and(|extension| extension == "pem"));
        files.sort();
        Ok(files)
    }

    /// The CRL of the CA that issues now: `None` is the root.
    pub(crate) fn ca_crl(&self, role: Option<Role>) -> PathBuf {
        self.crl_of(self.issuing_ca(role))
    }

    /// The CRL of a CA.
    pub(crate) fn crl_of(&self, ca: Ca) -> PathBuf {
        self.path(&format!("pki/{}.crl", ca.file_stem()))
    }
}

/// What is locked of a directory.
const LOCK: &str = ".lock";

/// Who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner: keys, PINs, cards.
    Owner,
    /// Everybody: certificates, CRLs, configurations.
    All,
}

/// The provisioned directory while no other command writes in it. What writes wants one of these, so that
/// nothing is read, changed and written back while another command does the same.
pub(crate) struct LockedLayout {
    layout: Layout,
    /// Unlocked when it is closed, however this process ends.
    _lock: File,
}

impl Deref for LockedLayout {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        &self.layout
    }
}

impl LockedLayout {
    /// The directory to be made, or completed. Waits until no other command writes.
    pub(crate) fn create(directory: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(directory).map_err(|error| Failure::file(directory, &error))?;
        Self::open(directory)
    }

    /// A directory that is there. Waits until no other command writes.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        Self::open_telling(directory, say)
    }

    /// The same; when it has to wait `tell` is told so.
    pub(crate) fn open_telling(directory: &Path, tell: impl FnOnce(&str)) -> Result<Self, Failure> {
        let layout = Layout::open(directory)?;
        let lock = lock(layout.root(), || {
            tell(&format!(
                "waiting: another softhsm-setup writes in {}",
                layout.root().display()
            ));
        })?;
        Ok(Self {
            layout,
            _lock: lock,
        })
    }

    /// Writes a file that is not there; one that is stays as it is. Tells whether it wrote.
    pub(crate) fn write_new(
        &self,
        path: &Path,
        content: &[u8],
        readers: Readers,
    ) -> Result<bool, Failure> {
        if path.exists() {
            return Ok(false);
        }
        self.replace(path, content, readers)?;
        Ok(true)
    }

    /// Writes a file in place of the one that is there: a reader finds the old or the new one, whole.
    pub(crate) fn replace(
        &self,
        path: &Path,
        content: &[u8],
        readers: Readers,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::file(path, &error);
        // The parent of a bare file name is the empty path.
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(directory).map_err(failed)?;
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        // Left by a run that was interrupted.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mode = match readers {
            Readers::Owner => 0o600,
            Readers::All => 0o644,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&unfinished)
            .map_err(failed)?;
        file.write_all(content).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&unfinished, path).map_err(failed)?;
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }
}

/// Locks a directory against every other process that locks it, by a file in it that others can't open: a directory anybody
/// could lock, and keep a revocation waiting; `waits` is called before it has to wait.
pub(crate) fn lock(directory: &Path, waits: impl FnOnce()) -> Result<File, Failure> {
    let failed = |error: io::Error| {
        Failure::new(format!(
            "{} can't be locked: {error}; use a directory on a file system with locks, and that you may write to",
            directory.display()
        ))
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(LOCK))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            waits();
            file.lock().map_err(failed)?;
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    Ok(file)
}
