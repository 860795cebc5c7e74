//! SIGTERM: what runs is finished and answered, and then the program ends well.

use protocol::{authorization::AuthorizationResponse, purchase::PurchaseResponse};
use twinseal_tests::{
    parties::{Parties, euros},
    place::Place,
    raw::RawTls,
    shopper::accept,
};

use crate::scene::Scene;

#[tokio::test]
async fn a_merchant_that_is_stopped_answers_the_purchase_that_runs() {
    let Scene {
        place,
        parties,
        gateway: _gateway,
        wire,
        merchant,
        shopper,
    } = Scene::new();
    let signed = shopper.shop(&parties).await.sign(&parties);
    wire.hold_answers();
    let request = signed.request.clone();
    let running = tokio::spawn(async move { shopper.send(&request).await });
    let (waiter, stopped) = (wire.clone(), merchant);
    let stopped = tokio::task::spawn_blocking(move || {
        waiter.wait_for_held_answer();
        stopped.ask_to_stop();
        waiter.release_answers();
        stopped
    })
    .await
    .unwrap();
    accept(&parties, &signed, &running.await.unwrap());
    let (status, log) = stopped.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("drained and stopped"), "{log}");
    assert_eq!(place.held("everyday"), 1250);
}

#[test]
fn a_merchant_that_is_stopped_answers_a_request_whose_body_is_on_its_way() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scene = Scene::new();
    let signed = runtime.block_on(scene.shop()).sign(&scene.parties);
    let body = serde_json::to_vec(&signed.request).unwrap();
    let mut raw = RawTls::connect(scene.merchant.address("payers"), None);
    raw.begin("/v1/purchases", body.len());
    scene.merchant.ask_to_stop();
    raw.write(&body);
    let head = raw.read_head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let response: PurchaseResponse = serde_json::from_str(&raw.read_to_end()).unwrap();
    assert!(!response.receipt.is_empty());
    let (status, log) = scene.merchant.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[test]
fn a_gateway_that_is_stopped_answers_the_request_that_runs() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    let body = purchase.bytes();
    let merchant = place.path("merchant");
    let mut raw = RawTls::connect(gateway.address("merchants"), Some(&merchant));
    raw.begin("/v1/authorizations", body.len());
    gateway.ask_to_stop();
    raw.write(&body);
    let head = raw.read_head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let answer = raw.read_to_end();
    let _: AuthorizationResponse = serde_json::from_str(&answer).unwrap();
    parties.accept_receipt(&purchase, answer.as_bytes());
    let (status, log) = gateway.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("drained and stopped"), "{log}");
    assert_eq!(place.held("everyday"), 1250);
}
