//! For tests: a copy of this library around a copy of SoftHSM, in a directory of a test's own.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use crate::installed::softhsm;

/// A module of its own, with a state of its own, that does as it is told.
pub struct ModuleCopy {
    path: PathBuf,
    wrapped: PathBuf,
    reports: AtomicU32,
}

impl ModuleCopy {
    /// Makes the files `<name>.so`, `<name>-softhsm.so` and the control file.
    ///
    /// # Errors
    /// When this library or SoftHSM is not there, or the directory can't be written.
    pub fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let copy = Self {
            path: directory.join(format!("{name}.so")),
            wrapped: directory.join(format!("{name}-softhsm.so")),
            reports: AtomicU32::new(0),
        };
        fs::copy(this_library()?, &copy.path)?;
        fs::copy(softhsm()?, &copy.wrapped)?;
        copy.does("")?;
        Ok(copy)
    }

    /// Where the module is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it does from its next call on: lines of its control file.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn does(&self, lines: &str) -> io::Result<()> {
        let text = format!("module {}\n{lines}\n", self.wrapped.display());
        fs::write(self.beside(".control.new"), text)?;
        fs::rename(self.beside(".control.new"), self.beside(".control"))
    }

    /// What stands after a name in its report.
    ///
    /// # Errors
    /// As [`ModuleCopy::report`].
    pub fn reported(&self, lines: &str, name: &str) -> io::Result<String> {
        let report = self.report(lines)?;
        let value = report
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.unwrap_or_default().to_owned())
    }

    /// Its report, which its next call writes: somebody has to call it. `lines` is what it does besides.
    ///
    /// # Errors
    /// When the files can't be written or read.
    pub fn report(&self, lines: &str) -> io::Result<String> {
        let number = self.reports.fetch_add(1, Ordering::Relaxed) + 1;
        self.does(&format!("{lines}\nreport {number}"))?;
        loop {
            let report = match fs::read_to_string(self.beside(".calls")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                read => read.unwrap_or_default(),
            };
            if report.starts_with(&format!("report {number}\n")) {
                return Ok(report);
            }
            thread::yield_now();
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        PathBuf::from(format!("{}{ending}", self.path.display()))
    }
}

/// Copies the only SoftHSM token of a directory, keys and PINs included, as one of another label and serial number: what
/// a vendor's tool does between two devices. SoftHSM keeps a token as a directory of files.
///
/// # Errors
/// When there is no token, or the directory can't be written.
pub fn duplicate_token(tokens: &Path, label: &str, copys_label: &str) -> io::Result<()> {
    let original = fs::read_dir(tokens)?.next().ok_or_else(missing)??.path();
    let copy = tokens.join("00000000-0000-0000-0000-000000000001");
    fs::create_dir(&copy)?;
    for file in fs::read_dir(&original)? {
        let file = file?;
        let mut bytes = fs::read(file.path())?;
        if file.file_name() == "token.object" {
            let padded = |text: &str| format!("{text:<32}").into_bytes();
            replace(&mut bytes, &padded(label), &padded(copys_label))?;
            // Sixteen hexadecimal digits.
            let serial = bytes
                .windows(16)
                .find(|window| window.iter().all(u8::is_ascii_hexdigit))
                .ok_or_else(missing)?
                .to_vec();
            let other: Vec<u8> = serial
                .iter()
                .map(|&digit| if digit == b'1' { b'2' } else { b'1' })
                .collect();
            replace(&mut bytes, &serial, &other)?;
        }
        fs::write(copy.join(file.file_name()), bytes)?;
    }
    Ok(())
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> io::Result<()> {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .ok_or_else(missing)?;
    bytes[at..at + from.len()].copy_from_slice(to);
    Ok(())
}

/// The library as Cargo built it: beside the test that runs.
///
/// # Errors
/// When it was not built.
pub fn this_library() -> io::Result<PathBuf> {
    let name = format!(
        "{}twinseal_misbehaving_module{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    );
    // target/<profile>/deps/<test>, or target/<profile>/<program>.
    let test = env::current_exe()?;
    let found = test
        .ancestors()
        .skip(1)
        .flat_map(|directory| [directory.join(&name), directory.join("deps").join(&name)])
        .find(|path| path.is_file());
    found.ok_or_else(missing)
}

fn missing() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "SoftHSM, a token of it, or this library is missing: run `softhsm-setup/install test` and `cargo build --workspace`",
    )
}
