//! The same purchase request again: the first answer, and one hold.

use protocol::problem::Problem;
use twinseal_tests::{parties::problem, shopper::accept};

use crate::scene::Scene;

#[tokio::test]
async fn the_same_request_again_gets_the_first_answer_byte_for_byte_also_after_a_restart() {
    let scene = Scene::new();
    let signed = scene.shop().await.sign(&scene.parties);
    let first = scene.approves(&signed).await;
    let second = scene.approves(&signed).await;
    assert_eq!(first.body, second.body);

    let (status, _) = scene.merchant.stop();
    assert!(status.success());
    let merchant = scene.place.start_merchant();
    let shopper = twinseal_tests::shopper::Shopper::at(&scene.parties, &merchant);
    let third = shopper.send(&signed.request).await;
    assert_eq!(first.body, third.body);
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[tokio::test]
async fn the_same_request_many_times_at_once_makes_one_approval() {
    let scene = Scene::new();
    let signed = scene.shop().await.sign(&scene.parties);
    let send = || scene.shopper.send(&signed.request);
    let answers = tokio::join!(send(), send(), send(), send());
    let answers = [answers.0, answers.1, answers.2, answers.3];
    let mut bodies = Vec::new();
    for answer in &answers {
        if answer.status == 200 {
            accept(&scene.parties, &signed, answer);
            bodies.push(answer.body.clone());
        } else {
            assert_eq!(problem(answer), Problem::InProgress);
        }
    }
    assert!(!bodies.is_empty());
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let again = scene.approves(&signed).await;
    assert_eq!(again.body, bodies[0]);
}

#[tokio::test]
async fn the_same_request_while_the_gateway_is_silent_is_in_progress() {
    let scene = Scene::new();
    let signed = scene.shop().await.sign(&scene.parties);
    scene.wire.hold_answers();
    let (first, ()) = tokio::join!(scene.shopper.send(&signed.request), async {
        wait_for_held_answer(&scene).await;
        let again = scene.shopper.send(&signed.request).await;
        assert_eq!(problem(&again), Problem::InProgress);
        let xid = signed.dual_signature.xid;
        let proof =
            twinseal_tests::shopper::proof(&scene.parties, scene.parties.merchant.party(), xid);
        let asked = scene.shopper.inquire(xid, Some(&proof)).await;
        assert_eq!(problem(&asked), Problem::InProgress);
        scene.wire.release_answers();
    });
    accept(&scene.parties, &signed, &first);
    assert_eq!(scene.approves(&signed).await.body, first.body);
}

/// Waits without stopping what runs on the same thread.
async fn wait_for_held_answer(scene: &Scene) {
    let waiter = scene.wire.clone();
    tokio::task::spawn_blocking(move || waiter.wait_for_held_answer())
        .await
        .unwrap();
}
