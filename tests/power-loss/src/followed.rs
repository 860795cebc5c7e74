//! Which descriptors are of followed files. Looked up at every write of the process, and from signal handlers:
//! without a lock, without memory to be had first.

use std::{
    os::fd::RawFd,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::notes::give_up;

const DESCRIPTORS_MAX: usize = 1 << 16;

/// By descriptor: the inode number, or zero.
static FILES: [AtomicU64; DESCRIPTORS_MAX] = [const { AtomicU64::new(0) }; DESCRIPTORS_MAX];

/// The file behind a descriptor, if it is followed.
pub(crate) fn file(fd: RawFd) -> Option<u64> {
    let file = FILES
        .get(usize::try_from(fd).ok()?)?
        .load(Ordering::Acquire);
    (file != 0).then_some(file)
}

pub(crate) fn follow(fd: RawFd, file: u64) {
    let Some(place) = usize::try_from(fd).ok().and_then(|fd| FILES.get(fd)) else {
        give_up(&format!("descriptor {fd} is beyond what can be followed"));
    };
    place.store(file, Ordering::Release);
}

pub(crate) fn forget(fd: RawFd) {
    if let Some(place) = usize::try_from(fd).ok().and_then(|fd| FILES.get(fd)) {
        place.store(0, Ordering::Release);
    }
}
