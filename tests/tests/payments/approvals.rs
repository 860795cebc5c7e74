//! What the gateway decides, and that it decides once.

use protocol::receipt::Decision;
use twinseal_tests::{
    parties::{Parties, authorize, euros},
    place::Place,
};

#[tokio::test]
async fn a_good_purchase_is_approved_with_a_receipt_that_the_payer_accepts() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let purchase = parties.purchase(euros(1250), parties.card.clone());

    let answer = authorize(&parties.to_gateway(&gateway), purchase.bytes()).await;

    assert_eq!(answer.status, 200, "{:?}\n{}", answer.body, gateway.log());
    let receipt = parties.accept_receipt(&purchase, &answer.body);
    assert_eq!(receipt.claims().decision, Decision::Approved);
    assert_eq!(receipt.claims().totals.authorized, 1250);
}
