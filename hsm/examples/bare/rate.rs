//! As fast as a token goes for threads that do nothing else.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use cryptoki::session::Session;

/// How often a second threads do something that do nothing else, each with a session of its own; until one of them fails.
pub(crate) fn rate(
    sessions: Vec<Session>,
    time: Duration,
    operation: impl Fn(&Session) -> bool + Copy + Send,
) -> f64 {
    let (stop, done) = (&AtomicBool::new(false), &AtomicU64::new(0));
    thread::scope(|scope| {
        for session in sessions {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && operation(&session) {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let started = Instant::now();
        // Nothing comes: it is over when the time is.
        let _ = crossbeam_channel::after(time).recv();
        let rate = done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        rate
    })
}
