//! What the gateway approves, and that it decides once.

use protocol::{authorization::Capture, problem::Problem, receipt::Decision};
use twinseal_tests::{
    parties::{Parties, authorize, euros, problem},
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
    assert_eq!(receipt.claims().totals.captured, 0);
    assert_eq!(place.held("everyday"), 1250);
}

#[tokio::test]
async fn capture_now_books_the_amount_with_the_authorization() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let mut purchase = parties.purchase(euros(1250), parties.card.clone());
    purchase.request.capture = Capture::Now;
    purchase.body = parties.body(&purchase.request, &purchase.signed);

    let answer = authorize(&parties.to_gateway(&gateway), purchase.bytes()).await;

    let receipt = parties.accept_receipt(&purchase, &answer.body);
    assert_eq!(receipt.claims().totals.captured, 1250);
    assert_eq!(place.held("everyday"), 0);
}

#[tokio::test]
async fn a_merchant_may_ask_for_less_than_was_signed() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let mut purchase = parties.purchase(euros(1250), parties.card.clone());
    purchase.request.amount = euros(1000);
    purchase.body = parties.body(&purchase.request, &purchase.signed);

    let answer = authorize(&parties.to_gateway(&gateway), purchase.bytes()).await;

    let receipt = parties.accept_receipt(&purchase, &answer.body);
    assert_eq!(receipt.claims().amount, euros(1000));
    assert_eq!(place.held("everyday"), 1000);
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_claims_and_one_hold_also_after_a_restart() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    let merchant = parties.to_gateway(&gateway);

    let first = authorize(&merchant, purchase.bytes()).await;
    let second = authorize(&merchant, purchase.bytes()).await;
    let (status, _) = gateway.stop();
    assert!(status.success());
    let gateway = place.start_gateway();
    let third = authorize(&parties.to_gateway(&gateway), purchase.bytes()).await;

    let claims = |body: &[u8]| parties.accept_receipt(&purchase, body).claims().clone();
    assert_eq!(claims(&first.body), claims(&second.body));
    assert_eq!(claims(&first.body), claims(&third.body));
    assert_eq!(place.held("everyday"), 1250);
}

#[tokio::test]
async fn the_same_request_many_times_at_once_makes_one_approval() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let merchant = parties.to_gateway(&gateway);

    // Several purchases, so that copies meet in each stage of the work.
    for round in 1..=20 {
        let purchase = parties.purchase(euros(100), parties.card.clone());
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (merchant, bytes) = (merchant.clone(), purchase.bytes());
            running.spawn(async move { authorize(&merchant, bytes).await });
        }
        let answers = running.join_all().await;

        let claims: Vec<_> = answers
            .iter()
            .map(|answer| {
                parties
                    .accept_receipt(&purchase, &answer.body)
                    .claims()
                    .clone()
            })
            .collect();
        assert!(claims.iter().all(|claim| claim == &claims[0]));
        assert_eq!(place.held("everyday"), 100 * round);
    }
}

#[tokio::test]
async fn one_signed_purchase_in_two_requests_at_once_makes_one_approval() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    let merchant = parties.to_gateway(&gateway);

    let mut running = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let request = parties.request(&purchase.signed, mtls::now());
        let body = serde_json::to_vec(&parties.body(&request, &purchase.signed)).unwrap();
        let merchant = merchant.clone();
        running.spawn(async move { authorize(&merchant, body).await });
    }
    let answers = running.join_all().await;

    let approved = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(approved, 1);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(problem(refused), Problem::Replayed);
    }
    assert_eq!(place.held("everyday"), 1250);
}
