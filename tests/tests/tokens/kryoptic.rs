//! A gateway whose keys are in another vendor's module, made as the README says: PI is opened in the token there.

use std::sync::Arc;

use serde_json::Value;
use twinseal_tests::{parties::Parties, place::Place, service::plain_get};

use crate::is_approved;

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_can_opens_payments_inside() {
    let place = Place::in_kryoptic();
    let parties = Arc::new(Parties::of(&place));
    let service = place.start_gateway();
    let merchant = parties.to_gateway(&service);
    for _ in 0..3 {
        assert!(is_approved(&parties, &merchant).await);
    }
    let metrics = plain_get(service.address("admin"), "/metrics");
    let opens = metrics
        .lines()
        .find(|line| line.starts_with("twinseal_hsm_opens_in_token{"))
        .unwrap();
    assert!(opens.ends_with(" 1"), "{opens}");
}

#[test]
fn the_report_says_in_which_way_each_module_opens() {
    let ways = |place: &Place| -> Vec<Value> {
        let output = place.gateway_cli(&["keys", "check", "--json"]);
        let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
        let reports = reports.as_array().unwrap();
        reports
            .iter()
            .filter_map(|report| report.get("opening").cloned())
            .collect()
    };
    assert_eq!(ways(&Place::in_kryoptic()), ["in-token"]);
    assert_eq!(ways(&Place::new()), ["shared-secret"]);
}
