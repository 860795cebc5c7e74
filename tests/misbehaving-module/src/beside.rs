//! Where this copy of the library lies: what tells it what to do, and what it tells, lie beside it.

use std::{
    ffi::{CStr, OsStr, OsString},
    io::{self, Write as _},
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use libloading::os::unix::Library;

/// A symbol of this copy, by whose address the loader knows which file it came from.
static SYMBOL: u8 = 0;

/// The file that this copy was loaded from.
pub(crate) fn library() -> PathBuf {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the place for the answer is of the right type and lives until the call is over.
    let is_known = unsafe { libc::dladdr((&raw const SYMBOL).cast(), found.as_mut_ptr()) } != 0;
    // SAFETY: all zero bytes are a value of it, and the call wrote nothing else than one.
    let found = unsafe { found.assume_init() };
    if !is_known || found.dli_fname.is_null() {
        give_up("the loader does not know which file this library is");
    }
    // SAFETY: the loader's string has a zero at its end, and lives as long as the library is loaded.
    let name = unsafe { CStr::from_ptr(found.dli_fname) };
    // Whoever loaded it may be in another directory later.
    std::path::absolute(OsStr::from_bytes(name.to_bytes()))
        .unwrap_or_else(|error| give_up(&format!("where this library is: {error}")))
}

/// A file beside the library, with its name and this ending.
pub(crate) fn with_ending(library: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(library);
    name.push(ending);
    name.into()
}

/// Keeps the library loaded to the end of the process: what it counts and which events were is to survive a caller
/// that closes it and loads it again.
pub(crate) fn stay_loaded(library: &Path) {
    // SAFETY: it is loaded already, so nothing of it runs.
    let kept = unsafe { Library::open(Some(library), libc::RTLD_NOW | libc::RTLD_NODELETE) };
    if let Err(error) = kept {
        give_up(&format!("to stay loaded: {error}"));
    }
}

/// Ends the process: a test must not pass because a fault did not happen.
pub(crate) fn give_up(why: &str) -> ! {
    let _ = writeln!(io::stderr(), "twinseal-misbehaving-module: {why}");
    std::process::abort()
}
