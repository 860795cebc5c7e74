//! A token in a module that does as it is told: fails, hangs, loses what it had.

use std::{cell::Cell, env, fs, path::PathBuf};

use hsm::{TokenConfig, pin::PinSource, uri::Pkcs11Uri, waiver::Waivers};

use crate::directory::{LABEL, PIN, TokenDirectory, write_pin};

/// A copy of the misbehaving module around a copy of SoftHSM, so that each has a state of its own.
pub(crate) struct Misbehaving {
    path: PathBuf,
    wrapped: PathBuf,
    reports: Cell<u32>,
}

impl Misbehaving {
    pub(crate) fn new(directory: &TokenDirectory, name: &str) -> Self {
        let module = Self {
            path: directory.path(&format!("{name}.so")),
            wrapped: directory.path(&format!("{name}-softhsm.so")),
            reports: Cell::new(0),
        };
        fs::copy(library(), &module.path).unwrap();
        fs::copy(directory.module(), &module.wrapped).unwrap();
        module.does("");
        module
    }

    /// What it does from its next call on: the lines of its control file.
    pub(crate) fn does(&self, lines: &str) {
        let text = format!("module {}\n{lines}\n", self.wrapped.display());
        fs::write(self.beside(".control.new"), text).unwrap();
        fs::rename(self.beside(".control.new"), self.beside(".control")).unwrap();
    }

    /// What stands after a name in its report, which its next call writes. `lines` is what it does besides.
    pub(crate) fn reported(&self, lines: &str, name: &str) -> String {
        self.reports.set(self.reports.get() + 1);
        let id = format!("report {}", self.reports.get());
        self.does(&format!("{lines}\n{id}"));
        loop {
            let report = fs::read_to_string(self.beside(".calls")).unwrap_or_default();
            if report.starts_with(&format!("{id}\n")) {
                return report
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
                    .unwrap_or_default()
                    .to_owned();
            }
            std::thread::yield_now();
        }
    }

    /// How a program that serves would open the token of this label in it.
    pub(crate) fn config(&self, directory: &TokenDirectory, label: &str) -> TokenConfig {
        let pin_file = directory.path("user.pin");
        write_pin(&pin_file, PIN, 0o600);
        TokenConfig {
            module: self.path.clone(),
            uri: Pkcs11Uri::for_token(label),
            pin: PinSource::File(pin_file),
            sessions: 2,
            queue_max: 1024,
            waivers: Waivers::default(),
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        PathBuf::from(format!("{}{ending}", self.path.display()))
    }
}

/// The library; Cargo builds it beside the tests.
fn library() -> PathBuf {
    let name = format!(
        "{}twinseal_misbehaving_module{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    );
    let test = env::current_exe().unwrap();
    let path = test
        .ancestors()
        .skip(1)
        .map(|directory| directory.join(&name))
        .find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{name} is not built"))
}

/// Copies the token of the tests, keys and PIN included, as a token of another label and serial number: what a
/// vendor's tool does between two devices. SoftHSM keeps a token as a directory of files.
pub(crate) fn duplicate(directory: &TokenDirectory, label: &str) {
    let tokens = directory.path("tokens");
    let original = fs::read_dir(&tokens)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let copy = tokens.join("00000000-0000-0000-0000-000000000001");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(&original).unwrap() {
        let file = file.unwrap();
        let mut bytes = fs::read(file.path()).unwrap();
        if file.file_name() == "token.object" {
            let padded = |text: &str| format!("{text:<32}").into_bytes();
            replace(&mut bytes, &padded(LABEL), &padded(label));
            let serial = serial_number(&bytes);
            let other: Vec<u8> = serial.iter().map(|digit| other_digit(*digit)).collect();
            replace(&mut bytes, &serial, &other);
        }
        fs::write(copy.join(file.file_name()), bytes).unwrap();
    }
}

/// Sixteen hexadecimal digits, as SoftHSM numbers its tokens.
fn serial_number(bytes: &[u8]) -> Vec<u8> {
    bytes
        .windows(16)
        .find(|window| window.iter().all(u8::is_ascii_hexdigit))
        .unwrap()
        .to_vec()
}

fn other_digit(digit: u8) -> u8 {
    if digit == b'1' { b'2' } else { b'1' }
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .unwrap();
    bytes[at..at + from.len()].copy_from_slice(to);
}
