//! A disk that is full: refused clearly, nothing half done, and it goes on when there is room.

use std::{fs, path::PathBuf, process::Command};

use protocol::problem::Problem;
use twinseal_tests::{
    parties::{Parties, authorize, euros, problem},
    place::Place,
    service::{Service, plain_get},
};

/// The disk as the gateway sees it.
fn disk(gateway: &Service, place: &Place) -> PathBuf {
    let inside = place.path("small-disk");
    PathBuf::from(format!("/proc/{}/root", gateway.pid())).join(inside.strip_prefix("/").unwrap())
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_acknowledged_is_lost() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway_on_small_disk(4096);
    let merchant = parties.to_gateway(&gateway);
    // What takes the room that somebody else's files would.
    let filling = disk(&gateway, &place).join("filling");
    // There is no account on it: all are declined, which is kept as an approval is.
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let purchase = parties.purchase(euros(1), parties.card.clone());
        let answer = authorize(&merchant, purchase.bytes()).await;
        let receipt = parties.accept_receipt(&purchase, &answer.body);
        acknowledged.push((purchase, receipt));
    }
    // Until there is no room for another byte.
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=512"])
        .arg(format!("of={}", filling.display()))
        .output()
        .unwrap();
    assert!(!filled.status.success(), "the disk has no end");

    let refused = loop {
        let purchase = parties.purchase(euros(1), parties.card.clone());
        let answer = authorize(&merchant, purchase.bytes()).await;
        if answer.status == 200 {
            // The log had room that it had taken before.
            let receipt = parties.accept_receipt(&purchase, &answer.body);
            acknowledged.push((purchase, receipt));
            continue;
        }
        assert_eq!(problem(&answer), Problem::StoreUnavailable);
        break purchase;
    };
    let ready = plain_get(gateway.address("admin"), "/ready");
    assert!(ready.contains("\"ready\":false"), "{ready}");
    assert!(ready.contains("full"), "{ready}");

    // With room again, the very same request is decided, and all that was is as it was.
    fs::remove_file(&filling).unwrap();
    let answer = authorize(&merchant, refused.bytes()).await;
    parties.accept_receipt(&refused, &answer.body);
    for (purchase, receipt) in &acknowledged {
        let again = authorize(&merchant, purchase.bytes()).await;
        let again = parties.accept_receipt(purchase, &again.body);
        assert_eq!(again.claims(), receipt.claims());
    }
    let ready = plain_get(gateway.address("admin"), "/ready");
    assert!(ready.contains("\"ready\":true"), "{ready}");
}
