//! A canary card and a canary cart, searched for wherever the programs write.

use twinseal_tests::{
    canary::{found_in, is_in},
    parties::{Parties, authorize, card, euros},
    place::Place,
};

const CANARY_PAN: &str = "6011601160116611";
const EXPIRY: &str = "2031-12";

#[test]
fn the_search_finds_what_is_there_also_in_base64() {
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{CANARY_PAN} and more");
        let encoded = protocol::encoding::base64url(text.as_bytes());
        assert!(is_in(encoded.as_bytes(), CANARY_PAN), "{before}");
    }
    assert!(!is_in(b"something else", CANARY_PAN));
}

#[tokio::test]
async fn a_card_number_is_in_no_file_log_metric_or_answer_of_the_gateway() {
    let place = Place::new();
    place.add_account(
        "canary",
        CANARY_PAN,
        EXPIRY,
        "funds = 1300\nstatus = \"active\"",
    );
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let merchant = parties.to_gateway(&gateway);
    let mut said = Vec::new();
    // Approved; declined; and refused after PI was opened.
    for cents in [1250, 1250] {
        let purchase = parties.purchase(euros(cents), card(CANARY_PAN, EXPIRY));
        said.extend(authorize(&merchant, purchase.bytes()).await.body);
        let mut again = purchase.request.clone();
        again.jti = protocol::identifiers::Jti::random().unwrap();
        let body = parties.body(&again, &purchase.signed);
        said.extend(
            authorize(&merchant, serde_json::to_vec(&body).unwrap())
                .await
                .body,
        );
    }
    said.extend(
        twinseal_tests::service::plain_get(gateway.address("admin"), "/metrics").into_bytes(),
    );
    let shown = place.gateway_cli(&["accounts", "list"]);
    said.extend(shown.stdout);
    let (_, log) = gateway.stop();
    assert!(log.contains("decided"), "the log is not empty");
    said.extend(log.into_bytes());

    assert!(!is_in(&said, CANARY_PAN));
    assert_eq!(found_in(&place, "gateway", CANARY_PAN), [""; 0]);
}
