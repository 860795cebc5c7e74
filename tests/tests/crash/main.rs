//! Short rounds of crashes and of losses of power; `--bin crash` has the long ones.

use std::panic::{AssertUnwindSafe, catch_unwind};

use twinseal_tests::crash::{Disk, Harness, Plan, Summary, making::while_a_store_is_made};

fn run(kills: u32, disk: Disk) -> Summary {
    let mut harness = Harness::new(Plan {
        kills,
        workers: 8,
        seed: 1997,
        disk,
    });
    while harness.round() {}
    harness.finish()
}

#[test]
fn what_the_gateway_acknowledged_survives_being_killed_under_load() {
    let summary = run(8, Disk::KeepsPower);
    // A run that did nothing shows nothing.
    assert_eq!(summary.kills, 8);
    assert!(summary.approved > 20, "{summary:?}");
    assert!(summary.operations > 10, "{summary:?}");
    assert!(summary.compared > 50, "{summary:?}");
}

#[test]
fn what_the_gateway_acknowledged_survives_the_loss_of_what_was_not_synced() {
    let summary = run(6, Disk::LosesPower);
    assert_eq!(summary.kills, 6);
    // That such losses lose something shows the test below.
    assert!(summary.approved > 20, "{summary:?}");
}

#[test]
fn what_gateways_on_one_database_acknowledged_survives_their_being_killed_and_its_restarts() {
    let summary = run(4, Disk::Shared);
    assert_eq!((summary.kills, summary.restarts), (4, 2));
    assert!(summary.approved > 20, "{summary:?}");
    assert!(summary.operations > 10, "{summary:?}");
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let said = catch_unwind(AssertUnwindSafe(|| run(6, Disk::Lies))).unwrap_err();
    let said = said.downcast::<String>().unwrap();
    assert!(said.contains("acknowledged"), "{said}");
}

#[test]
fn a_store_is_whole_wherever_the_power_failed_while_it_was_made() {
    assert!(while_a_store_is_made(1997) > 20);
}
