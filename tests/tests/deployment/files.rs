//! The files below deploy/, and the programs that look at them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A path in the repository.
pub(crate) fn repository(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(relative)
}

/// A file below deploy/.
pub(crate) fn deployed(relative: &str) -> String {
    let path = repository("deploy").join(relative);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a program that is to succeed, and gives what it said.
pub(crate) fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; softhsm-setup/install test installs it")
    });
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}:\n{said}");
    said
}
