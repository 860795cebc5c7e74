//! The power fails while the gateway makes its store.

use std::os::unix::process::ExitStatusExt as _;

use super::{
    power::{DATABASE, Power},
    random::Random,
};
use crate::place::Place;

/// How often the power fails at the same point, with another loss each time.
const LOSSES: usize = 3;

/// Has the power fail before each write and each sync of a new store, and gives how often it did. After each
/// loss the next command has to find a whole store, or to make one.
///
/// # Panics
/// When it does not.
pub fn while_a_store_is_made(seed: u64) -> usize {
    let mut random = Random::new(seed);
    let place = Place::new();
    let mut power = Power::over(&place, false);
    let mut failures = 0;
    for suffix in ["", "-journal", "-wal"] {
        let file = format!("{DATABASE}{suffix}");
        for left in 0.. {
            let failed = (0..LOSSES)
                .filter(|_| fails_at(&place, &mut power, &file, left, &mut random))
                .count();
            if failed == 0 {
                break;
            }
            failures += failed;
        }
    }
    failures
}

/// Whether there were as many changes and syncs of a file, and the power failed at the next one.
fn fails_at(place: &Place, power: &mut Power, file: &str, left: u64, random: &mut Random) -> bool {
    power.take_new_store();
    power.on(random);
    power.fail_at(file, left);
    let status = place
        .gateway_command(&["accounts", "list"])
        .envs(power.environment())
        .output()
        .unwrap()
        .status;
    assert!(status.success() || status.signal() == Some(9), "{status}");
    power.off(random);
    // It finds a whole store, or makes one.
    place.gateway_cli(&["accounts", "list"]);
    place.gateway_cli(&["ledger", "check"]);
    place.gateway_cli(&["check"]);
    !status.success()
}
