//! Gateways and merchants that are away in the middle of a purchase: what was signed is settled once.

use std::time::Duration;

use protocol::{identifiers::Xid, problem::Problem};
use twinseal_tests::{
    parties::problem,
    service::Service,
    shopper::{Shopper, accept},
};

use crate::scene::{Scene, buy_at, purchase_files, terminal};

/// How long a merchant may take to ask again and be answered.
const SETTLED: Duration = Duration::from_secs(60);

fn wait_until_settled(merchant: &Service, xid: Xid) {
    let xid = xid.to_string();
    merchant.wait_for_log(SETTLED, |line| {
        let fields = &line["fields"];
        fields["message"] == "settled" && fields["xid"] == xid.as_str()
    });
}

#[tokio::test]
async fn a_purchase_without_a_gateway_is_unconfirmed_and_settled_once_it_is_back() {
    let mut scene = Scene::new();
    // The merchant knows the gateway's certificate; then the gateway is gone.
    scene.shop().await;
    let (status, _) = scene.gateway.stop();
    assert!(status.success());

    let shop = scene.merchant.url("payers");
    let bought = buy_at(&scene.place, &shop, &[]);
    assert_eq!(bought.exit, 4, "{}", bought.said);
    assert_eq!(bought.object["outcome"], "unconfirmed");
    let xid = bought.object["xid"].as_str().unwrap();
    let advice = format!("twinseal-client show {xid} --refresh");
    let explanation = bought.object["explanation"].as_str().unwrap();
    assert!(explanation.contains(&advice), "{explanation}");
    assert!(explanation.contains("don't pay it again"), "{explanation}");
    assert_eq!(purchase_files(&scene.place), 1);

    // Whoever buys the same again would pay twice.
    let again = buy_at(&scene.place, &shop, &[]);
    assert_eq!(again.exit, 5, "{}", again.said);
    assert_eq!(purchase_files(&scene.place), 1);

    scene.gateway = scene.place.start_gateway();
    scene.wire.lead_to(scene.gateway.address("merchants"));
    wait_until_settled(&scene.merchant, xid.parse().unwrap());
    let shown = terminal(&scene.place, &["show", xid, "--refresh"]);
    assert_eq!(shown.exit, 0, "{}", shown.said);
    assert_eq!(shown.object["outcome"], "approved");
    assert_eq!(scene.place.held("everyday"), 1250);
    // And now it is kept here.
    assert_eq!(terminal(&scene.place, &["show", xid]).exit, 0);
}

#[tokio::test]
async fn without_a_gateway_from_the_beginning_nothing_is_signed() {
    let scene = Scene::new();
    scene.wire.cut();
    let bought = scene.buy(&[]);
    assert_eq!(bought.exit, 5, "{}", bought.said);
    assert_eq!(bought.object["problem"], "overloaded");
    assert_eq!(purchase_files(&scene.place), 0);
}

#[tokio::test]
async fn an_unknown_outcome_is_named_and_the_same_request_gets_it_later() {
    let scene = Scene::new();
    let signed = scene.shop().await.sign(&scene.parties);
    scene.wire.cut();
    let answer = scene.shopper.send(&signed.request).await;
    assert_eq!(problem(&answer), Problem::OutcomeUnknown);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(scene.refused(&signed.request).await, Problem::InProgress);

    scene.wire.lead_to(scene.gateway.address("merchants"));
    wait_until_settled(&scene.merchant, signed.dual_signature.xid);
    scene.approves(&signed).await;
}

#[tokio::test]
async fn a_merchant_that_crashes_before_the_gateway_heard_of_it_settles_after_its_restart() {
    let scene = Scene::new();
    let signed = scene.shop().await.sign(&scene.parties);
    scene.wire.cut();
    let answer = scene.shopper.send(&signed.request).await;
    assert_eq!(problem(&answer), Problem::OutcomeUnknown);
    assert_eq!(scene.place.held("everyday"), 0);
    scene.merchant.kill();

    scene.wire.lead_to(scene.gateway.address("merchants"));
    let merchant = scene.place.start_merchant();
    wait_until_settled(&merchant, signed.dual_signature.xid);
    let shopper = Shopper::at(&scene.parties, &merchant);
    accept(
        &scene.parties,
        &signed,
        &shopper.send(&signed.request).await,
    );
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[tokio::test]
async fn a_merchant_that_crashes_before_the_answer_came_settles_with_one_hold() {
    let Scene {
        place,
        parties,
        gateway,
        wire,
        merchant,
        shopper,
    } = Scene::new();
    let signed = shopper.shop(&parties).await.sign(&parties);
    wire.hold_answers();
    let request = signed.request.clone();
    let lost = tokio::spawn(async move { shopper.try_send(&request).await });
    let waiter = wire.clone();
    tokio::task::spawn_blocking(move || waiter.wait_for_held_answer())
        .await
        .unwrap();
    assert_eq!(place.held("everyday"), 1250, "it was decided");
    merchant.kill();
    assert!(lost.await.unwrap().is_err(), "nobody answered the payer");

    wire.release_answers();
    wire.lead_to(gateway.address("merchants"));
    let merchant = place.start_merchant();
    wait_until_settled(&merchant, signed.dual_signature.xid);
    let shopper = Shopper::at(&parties, &merchant);
    let answer = shopper.send(&signed.request).await;
    let receipt = accept(&parties, &signed, &answer);
    assert_eq!(receipt.claims().code, "00");
    assert_eq!(place.held("everyday"), 1250);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_dies_with_the_answer_hides_nothing_from_the_payer() {
    let scene = Scene::new();
    let to_merchant = twinseal_tests::wire::Wire::to(scene.merchant.address("payers"));
    // The merchant asks for the gateway's certificate now, so that the next answer is the decision.
    scene.shop().await;
    scene.wire.hold_answers();
    let bought = std::thread::scope(|scope| {
        let url = to_merchant.url();
        let place = &scene.place;
        let terminal = scope.spawn(move || buy_at(place, &url, &[]));
        scene.wire.wait_for_held_answer();
        to_merchant.cut();
        scene.wire.release_answers();
        terminal.join().unwrap()
    });
    assert_eq!(bought.exit, 0, "{}", bought.said);
    assert_eq!(bought.object["outcome"], "approved");
    assert!(
        bought.said.contains("asking the gateway itself"),
        "{}",
        bought.said
    );
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[tokio::test]
async fn a_late_refusal_frees_no_order_while_another_copy_of_the_request_may_be_under_way() {
    let scene = Scene::new();
    let opened = scene.shop().await;
    // Another process writes, so the gateway's store begins nothing; and the signature is good for some
    // seconds only.
    let other = rusqlite::Connection::open(scene.place.path("gateway/gateway.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let now = mtls::now();
    let request = opened.sign_changed(&scene.parties, &scene.parties.client_key, |_, signed| {
        signed.iat = now.minus(100);
        signed.exp = now.minus(56);
    });
    // The gateway's reason is relayed by its name, and nobody takes it for the end.
    let answer = scene.shopper.send(&request).await;
    assert_eq!(problem(&answer), Problem::StoreUnavailable);
    // A further copy comes too late, and finds no decision.
    scene.merchant.wait_for_log(SETTLED, |line| {
        let fields = &line["fields"];
        fields["message"] == "the gateway refused" && fields["problem"] == "expired"
    });
    let order = opened.order.order;
    let again = scene
        .shopper
        .ask_for_session(order, protocol::identifiers::ClientNonce::random().unwrap())
        .await;
    assert_eq!(problem(&again), Problem::Replayed);
    // What was not begun in time is never done.
    other.execute_batch("ROLLBACK").unwrap();
    scene.place.gateway_cli(&["ledger", "check"]);
    assert_eq!(scene.place.held("everyday"), 0);
}
