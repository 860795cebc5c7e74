//! A short round of crashes; `--bin crash` has the long one.

use twinseal_tests::crash::{Harness, Plan};

#[test]
fn what_the_gateway_acknowledged_survives_being_killed_under_load() {
    let mut harness = Harness::new(Plan {
        kills: 8,
        workers: 8,
        seed: 1997,
    });
    while harness.round() {}
    let summary = harness.finish();
    // A run that did nothing shows nothing.
    assert_eq!(summary.kills, 8);
    assert!(summary.approved > 20, "{summary:?}");
    assert!(summary.operations > 10, "{summary:?}");
    assert!(summary.compared > 50, "{summary:?}");
}
