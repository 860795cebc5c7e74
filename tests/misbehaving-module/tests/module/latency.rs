//! Calls take longer, and only so many at once. Time is held from below, where no busy machine can be too slow; from
//! above once, by what would be six times as long.

use std::{
    thread,
    time::{Duration, Instant},
};

use cryptoki::context::Pkcs11;

use crate::directory::{generate_signing, in_a_new_directory, private, session, sign};

/// How long it takes until so many threads have signed once each.
fn signing_at_once(module: &Pkcs11, threads: usize) -> Duration {
    let sessions: Vec<_> = (0..threads).map(|_| session(module)).collect();
    let key = private(&sessions[0], "first");
    let start = Instant::now();
    thread::scope(|scope| {
        for session in sessions {
            scope.spawn(move || sign(&session, key).unwrap());
        }
    });
    start.elapsed()
}

#[test]
fn the_functions_named_take_so_much_longer() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session = session(&module);
        let key = generate_signing(&session, "first");
        control.control("latency 30ms C_Sign\nlatency 20ms C_Sign C_SignInit");
        let start = Instant::now();
        sign(&session, key).unwrap();
        // C_SignInit, and C_Sign; asking for the length takes no time.
        assert!(start.elapsed() >= Duration::from_millis(70));
        control.control("latency 3000s C_Digest");
        sign(&session, key).unwrap();
    });
}

#[test]
fn calls_wait_side_by_side_unless_there_are_places_for_some_only() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let making = session(&module);
        generate_signing(&making, "first");
        control.control("latency 400ms C_Sign");
        let took = signing_at_once(&module, 6);
        assert!(took >= Duration::from_millis(400));
        assert!(took < Duration::from_millis(6 * 400), "{took:?}");
        control.control("latency 50ms C_Sign\nin-flight 2");
        assert!(signing_at_once(&module, 6) >= Duration::from_millis(3 * 50));
        control.control("latency 50ms C_Sign\nin-flight 1");
        assert!(signing_at_once(&module, 3) >= Duration::from_millis(3 * 50));
    });
}
