//! Secrets in files: for their owner alone, or not at all.

use std::{fs, os::unix::fs::PermissionsExt as _};

use secret_file::SecretFileError;
use tempfile::TempDir;

#[test]
fn a_secret_is_read_from_a_file_that_nobody_else_may_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secret");
    secret_file::write_new(&path, "a secret\n").unwrap();
    assert_eq!(&*secret_file::read(&path).unwrap(), "a secret\n");
    assert!(secret_file::write_new(&path, "another").is_err());
    assert_eq!(&*secret_file::read(&path).unwrap(), "a secret\n");
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = secret_file::read(&path).unwrap_err();
        assert!(matches!(error, SecretFileError::Open { .. }), "{mode:o}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn what_is_no_secret_is_refused_and_never_quoted() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secret");
    assert!(secret_file::read(&path).is_err());
    secret_file::write_new(&path, &"x".repeat(70_000)).unwrap();
    let error = secret_file::read(&path).unwrap_err();
    assert!(!error.to_string().contains("xxx"), "{error}");
}
