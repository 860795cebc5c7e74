//! What a loss of power could undo of the gateway's store, noted while the real gateway runs.
//!
//! The crash harness loads it into the gateway (`LD_PRELOAD`). It stands in for the libc functions by which SQLite
//! makes, writes, cuts, syncs and removes files. Before a file below the directory in
//! `TWINSEAL_POWER_LOSS_FOLLOW` changes, it notes in a journal what was there; it notes when a sync was asked for
//! and when it was done. The process can be killed at any moment: the journal is a file. What of it is undone
//! is the harness's choice, `tests/src/crash/disk.rs`.
//!
//! What it has no model of and SQLite might do one day (`rename`, `writev`, `fallocate`) ends the process, when it is
//! done to a followed file. It does not see other calls, files that are mapped into memory (SQLite maps -shm only,
//! unless asked), and descriptors that were duplicated.

// Linux with 64 bits only: elsewhere the library is empty, and the harness says so by failing.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(
    clippy::missing_safety_doc,
    reason = "each function has the contract of libc's function of the same name"
)]

mod followed;
mod notes;
mod real;
mod record;

use std::{ffi::CStr, io::Seek as _, os::unix::fs::MetadataExt as _};

use libc::{c_char, c_int, c_void, mode_t, off_t, size_t, ssize_t};

use crate::{
    notes::{Shim, borrowed, give_up, path_of, shim},
    record::{DIRECTORY, Record},
};

/// `open(2)`. The mode is a variadic argument there; on the systems above it is passed like any other, and is
/// what nobody reads when it was not given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's, see above.
    let real = || unsafe { real::open(path, flags, mode) };
    let Some(shim) = shim() else { return real() };
    // SAFETY: the caller gives a string with a zero at its end.
    let path = unsafe { CStr::from_ptr(path) };
    match shim.name_of(path.to_bytes()) {
        Some(name) if flags & libc::O_ACCMODE != libc::O_RDONLY => {
            open_followed(shim, path, name, flags, real)
        }
        _ => real(),
    }
}

fn open_followed(
    shim: &Shim,
    path: &CStr,
    name: String,
    flags: c_int,
    real: impl FnOnce() -> c_int,
) -> c_int {
    if flags & (libc::O_APPEND | libc::O_TRUNC) != 0 {
        give_up(&format!("{name}: opened to append or to be emptied"));
    }
    // So that nobody else makes it between the look and the call.
    let mut state = shim.lock();
    let is_new = !path_of(path).exists();
    let fd = real();
    if fd < 0 {
        return fd;
    }
    let file = borrowed(fd)
        .metadata()
        .map_or_else(|error| give_up(&error.to_string()), |found| found.ino());
    if is_new {
        let name = name.clone();
        state.note(&Record::Created { file, name });
    }
    state.named(file, name);
    followed::follow(fd, file);
    fd
}

/// `open(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's.
    unsafe { open64(path, flags, mode) }
}

/// `close(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn close(fd: c_int) -> c_int {
    // First: its number may be another file's at once.
    followed::forget(fd);
    real::close(fd)
}

/// `write(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: the caller's.
    let real = || unsafe { real::write(fd, bytes, count) };
    let (Some(file), Some(shim)) = (followed::file(fd), shim()) else {
        return real();
    };
    // SQLite seeks first; a connection and its descriptor belong to one thread at a time.
    let start = borrowed(fd)
        .stream_position()
        .unwrap_or_else(|error| give_up(&error.to_string()));
    shim.change(fd, file, (start, start + count as u64), real)
}

/// `pwrite(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the caller's.
    let real = || unsafe { real::pwrite(fd, bytes, count, offset) };
    let (Some(file), Some(shim), Ok(start)) = (followed::file(fd), shim(), u64::try_from(offset))
    else {
        return real();
    };
    shim.change(fd, file, (start, start + count as u64), real)
}

/// `pwrite(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(
    fd: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the caller's.
    unsafe { pwrite64(fd, bytes, count, offset) }
}

/// `ftruncate(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn ftruncate64(fd: c_int, length: off_t) -> c_int {
    let real = || real::ftruncate(fd, length);
    match (followed::file(fd), shim(), u64::try_from(length)) {
        (Some(file), Some(shim), Ok(length)) => shim.resize(fd, file, length, real),
        _ => real(),
    }
}

/// `ftruncate(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn ftruncate(fd: c_int, length: off_t) -> c_int {
    ftruncate64(fd, length)
}

/// `fsync(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, || real::fsync(fd))
}

/// `fdatasync(2)`. A file's length is synced with its data, whenever it has to be known to read them.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, || real::fdatasync(fd))
}

fn sync(fd: c_int, real: impl FnOnce() -> c_int) -> c_int {
    let Some(shim) = shim() else { return real() };
    if let Some(file) = followed::file(fd) {
        return shim.sync(file, real);
    }
    let is_directory = borrowed(fd)
        .metadata()
        .is_ok_and(|found| (found.dev(), found.ino()) == shim.identity);
    if is_directory {
        return shim.sync(DIRECTORY, real);
    }
    real()
}

/// `unlink(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's.
    let real = || unsafe { real::unlink(path) };
    let Some(shim) = shim() else { return real() };
    // SAFETY: the caller gives a string with a zero at its end.
    let path = unsafe { CStr::from_ptr(path) };
    let Some(name) = shim.name_of(path.to_bytes()) else {
        return real();
    };
    let mut state = shim.lock();
    shim.keep_removed(&mut state, &path_of(path), name);
    real()
}

/// `rename(2)`, of which there is no model: SQLite renames nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    if let Some(shim) = shim() {
        for path in [from, to] {
            // SAFETY: the caller gives strings with a zero at their end.
            let path = unsafe { CStr::from_ptr(path) };
            if shim.name_of(path.to_bytes()).is_some() {
                give_up("a followed file was renamed");
            }
        }
    }
    // SAFETY: the caller's.
    unsafe { real::rename(from, to) }
}

/// `writev(2)`, of which there is no model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> ssize_t {
    refuse_followed(fd, "writev");
    // SAFETY: the caller's.
    unsafe { real::writev(fd, parts, count) }
}

/// `fallocate(2)`, of which there is no model.
#[unsafe(no_mangle)]
pub extern "C" fn fallocate64(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    refuse_followed(fd, "fallocate");
    real::fallocate(fd, mode, offset, length)
}

/// `fallocate(2)`, of which there is no model.
#[unsafe(no_mangle)]
pub extern "C" fn fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    fallocate64(fd, mode, offset, length)
}

fn refuse_followed(fd: c_int, call: &str) {
    if followed::file(fd).is_some() {
        give_up(&format!("{call} of a followed file"));
    }
}
