//! The system calls behind the functions that are replaced. Asked for by number, not by name: the names lead
//! back here.

use libc::{c_char, c_int, c_void, mode_t, off_t, size_t, ssize_t};

/// # Safety
/// As for `open(2)`.
pub(crate) unsafe fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's; the numbers and their order are the kernel's.
    unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) as c_int }
}

pub(crate) fn close(fd: c_int) -> c_int {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

/// # Safety
/// As for `write(2)`.
pub(crate) unsafe fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: the caller's; a result of the kernel has the width of a pointer.
    unsafe { libc::syscall(libc::SYS_write, fd, bytes, count) as ssize_t }
}

/// # Safety
/// As for `pwrite(2)`.
pub(crate) unsafe fn pwrite(
    fd: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the caller's; offsets are one argument where pointers have 64 bits.
    unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, count, offset) as ssize_t }
}

/// # Safety
/// As for `writev(2)`.
pub(crate) unsafe fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's.
    unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) as ssize_t }
}

pub(crate) fn ftruncate(fd: c_int, length: off_t) -> c_int {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) as c_int }
}

pub(crate) fn fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_fallocate, fd, mode, offset, length) as c_int }
}

pub(crate) fn fsync(fd: c_int) -> c_int {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_fsync, fd) as c_int }
}

pub(crate) fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_fdatasync, fd) as c_int }
}

/// # Safety
/// As for `unlink(2)`.
pub(crate) unsafe fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's.
    unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) as c_int }
}

/// # Safety
/// As for `rename(2)`.
pub(crate) unsafe fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let here = libc::AT_FDCWD;
    // SAFETY: the caller's.
    unsafe { libc::syscall(libc::SYS_renameat2, here, from, here, to, 0) as c_int }
}

/// The power fails: nothing is cleaned up, nothing is written any more.
pub(crate) fn kill_this_process() -> ! {
    // SAFETY: no memory is passed.
    let this = unsafe { libc::getpid() };
    loop {
        // SAFETY: no memory is passed.
        unsafe { libc::kill(this, libc::SIGKILL) };
    }
}
