//! Modules that a machine has: where distributions put SoftHSM, and where `softhsm-setup/install test` puts Kryoptic.

use std::{
    env, io,
    path::{Path, PathBuf},
};

const SOFTHSM: [&str; 7] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// The version of Kryoptic that `softhsm-setup/install test` builds.
pub const KRYOPTIC: &str = "kryoptic-1.5.4";

/// SoftHSM's library.
///
/// # Errors
/// When it is not there.
pub fn softhsm() -> io::Result<&'static Path> {
    let mut places = SOFTHSM.into_iter().map(Path::new);
    places.find(|path| path.exists()).ok_or_else(missing)
}

/// Kryoptic's library.
///
/// # Errors
/// When it is not there.
pub fn kryoptic() -> io::Result<PathBuf> {
    let home = env::var_os("HOME").unwrap_or_default();
    let cache = env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| Path::new(&home).join(".cache"), PathBuf::from);
    let library = cache
        .join("twinseal")
        .join(KRYOPTIC)
        .join("libkryoptic_pkcs11.so");
    if library.exists() {
        Ok(library)
    } else {
        Err(missing())
    }
}

fn missing() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "a module is missing: run `softhsm-setup/install test`",
    )
}
