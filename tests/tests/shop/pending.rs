//! What a shop asked for and has no answer to: the same bytes are sent again, by `serve` or by the same
//! command, and nothing is done twice.

use std::{marker::PhantomData, process::Stdio, time::Duration};

use protocol::{
    identifiers::Jti,
    json::Version,
    jws::Received,
    lifecycle::{Capture, LifecycleRequest},
};
use rusqlite::Connection;
use serde_json::Value;
use twinseal_tests::{place::Place, service::Service};

use crate::scene::{Scene, Shown, payment};

/// How long a merchant may take to ask again and be answered.
const SETTLED: Duration = Duration::from_secs(60);

fn unknown(shown: &Shown) {
    assert_eq!(shown.exit, 4, "{}", shown.said);
    assert_eq!(shown.object["outcome"], "unknown");
    assert!(shown.said.contains("the same request"), "{}", shown.said);
}

/// The requests that the merchant has of a kind.
fn requests(place: &Place) -> Vec<String> {
    let store = Connection::open(place.path("merchant/merchant.db")).unwrap();
    let mut statement = store
        .prepare("SELECT request FROM operation ORDER BY number")
        .unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn wait_until_done(merchant: &Service, xid: &str) {
    merchant.wait_for_log(SETTLED, |line| {
        let fields = &line["fields"];
        fields["message"] == "operation done" && fields["xid"] == xid
    });
}

/// What the gateway did after the authorization.
fn operations(place: &Place, xid: &str) -> Vec<Value> {
    payment(place, xid)["operations"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn a_capture_without_a_gateway_is_kept_and_the_same_command_sends_the_same_bytes() {
    let scene = Scene::new();
    let xid = scene.bought();
    // Without `serve`, only the command asks again.
    assert!(scene.merchant.stop().0.success());
    let desk = |arguments: &[&str]| crate::scene::desk(&scene.place, arguments);
    scene.wire.cut();
    unknown(&desk(&["capture", &xid, "--amount", "5"]));
    let asked = requests(&scene.place);
    assert_eq!(asked.len(), 1);
    unknown(&desk(&["capture", &xid, "--amount", "5.00"]));
    assert_eq!(requests(&scene.place), asked);

    // Something else has to wait, and is told for what.
    let other = desk(&["capture", &xid]);
    assert_eq!(other.exit, 1, "{}", other.said);
    let advice = format!("capture {xid} --amount 5.00");
    assert!(other.said.contains(&advice), "{}", other.said);
    assert_eq!(
        desk(&["show", &xid]).object["operations"][0]["state"],
        "pending"
    );

    scene.wire.lead_to(scene.gateway.address("merchants"));
    let done = desk(&["capture", &xid, "--amount", "5"]);
    assert_eq!(done.exit, 0, "{}", done.said);
    assert_eq!(requests(&scene.place), asked);
    let booked = operations(&scene.place, &xid);
    assert_eq!(booked.len(), 1);
    let reqh = protocol::identifiers::Digest::of(asked[0].as_bytes());
    assert_eq!(booked[0]["reqh"], reqh.to_string());
    // Told, so the same command is a new wish.
    let second = desk(&["capture", &xid, "--amount", "5"]);
    assert_eq!(second.exit, 0, "{}", second.said);
    assert_eq!(operations(&scene.place, &xid).len(), 2);
}

#[test]
fn a_running_merchant_finishes_what_a_command_left_open_and_the_command_tells_it_once() {
    let scene = Scene::new();
    let xid = scene.bought();
    scene.wire.cut();
    unknown(&scene.desk(&["capture", &xid, "--amount", "5"]));
    unknown(&scene.desk(&["batch", "close", "--currency", "EUR"]));
    scene.wire.lead_to(scene.gateway.address("merchants"));
    wait_until_done(&scene.merchant, &xid);
    scene
        .merchant
        .wait_for_log(SETTLED, |line| line["fields"]["message"] == "batch closed");

    let told = scene.desk(&["capture", &xid, "--amount", "5"]);
    assert_eq!(told.exit, 0, "{}", told.said);
    assert_eq!(told.object["outcome"], "done");
    assert_eq!(told.object["asked_now"], false);
    assert!(told.said.contains("nothing was asked now"), "{}", told.said);
    assert_eq!(payment(&scene.place, &xid)["totals"]["captured"], 500);
    let closed = scene.desk(&["batch", "close", "--currency", "EUR"]);
    assert_eq!(closed.exit, 0, "{}", closed.said);
    assert_eq!(closed.object["asked_now"], false);
    let list = scene.desk(&["batch", "list"]).object;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["state"], "done");
}

#[test]
fn a_command_that_is_killed_before_its_answer_has_captured_once() {
    let scene = Scene::new();
    let xid = scene.bought();
    let (status, _) = scene.merchant.stop();
    assert!(status.success());
    scene.wire.hold_answers();
    let mut killed = scene
        .place
        .merchant_command(&["capture", &xid])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    scene.wire.wait_for_held_answer();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(payment(&scene.place, &xid)["totals"]["captured"], 1250);

    scene.wire.release_answers();
    let again = crate::scene::desk(&scene.place, &["capture", &xid]);
    assert_eq!(again.exit, 0, "{}", again.said);
    assert_eq!(again.object["amount_written"], "12.50 EUR");
    assert_eq!(operations(&scene.place, &xid).len(), 1);
    assert_eq!(requests(&scene.place).len(), 1);
}

#[test]
fn a_merchant_that_is_killed_before_its_answer_finishes_after_its_restart() {
    let scene = Scene::new();
    let xid = scene.bought();
    scene.wire.cut();
    unknown(&scene.desk(&["capture", &xid]));
    scene.wire.hold_answers();
    scene.wire.lead_to(scene.gateway.address("merchants"));
    scene.wire.wait_for_held_answer();
    scene.merchant.kill();
    assert_eq!(payment(&scene.place, &xid)["totals"]["captured"], 1250);

    scene.wire.release_answers();
    let merchant = scene.place.start_merchant();
    wait_until_done(&merchant, &xid);
    assert_eq!(operations(&scene.place, &xid).len(), 1);
}

#[test]
fn the_same_command_twice_at_once_captures_once() {
    let scene = Scene::new();
    let xid = scene.bought();
    let shown: Vec<Shown> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| scene.desk(&["capture", &xid])))
            .collect();
        started
            .into_iter()
            .map(|running| running.join().unwrap())
            .collect()
    });
    // The later one finds nothing open.
    let mut exits: Vec<_> = shown.iter().map(|shown| shown.exit).collect();
    exits.sort_unstable();
    assert_eq!(exits, [0, 1], "{} {}", shown[0].said, shown[1].said);
    assert_eq!(operations(&scene.place, &xid).len(), 1);
}

#[test]
fn a_request_that_comes_too_late_was_never_done_and_a_new_one_is() {
    let scene = Scene::new();
    let xid = scene.bought();
    assert!(scene.merchant.stop().0.success());
    let desk = |arguments: &[&str]| crate::scene::desk(&scene.place, arguments);
    scene.wire.cut();
    unknown(&desk(&["capture", &xid]));
    // What the clock would do in seven and a half minutes: the same request, made then, and no copy of it under way.
    let asked = Received::<LifecycleRequest<Capture>>::read(&requests(&scene.place)[0]).unwrap();
    let late = LifecycleRequest::<Capture> {
        version: Version,
        iat: asked.unverified().iat.minus(441),
        operation: PhantomData,
        ..asked.unverified().clone()
    };
    let (jti, made_at): (Jti, u64) = (late.jti, late.iat.0);
    let late = scene.parties.merchant_key.sign(&late).unwrap();
    let store = Connection::open(scene.place.path("merchant/merchant.db")).unwrap();
    let changed = store.execute(
        "UPDATE operation SET request = ?1, made_at = ?3 WHERE jti = ?2",
        (late, jti.as_bytes(), i64::try_from(made_at).unwrap()),
    );
    assert_eq!(changed.unwrap(), 1);

    scene.wire.lead_to(scene.gateway.address("merchants"));
    let refused = desk(&["capture", &xid]);
    assert_eq!(refused.exit, 5, "{}", refused.said);
    assert_eq!(refused.object["problem"], "expired");
    assert!(refused.said.contains("never done"), "{}", refused.said);
    assert!(operations(&scene.place, &xid).is_empty());
    let done = desk(&["capture", &xid]);
    assert_eq!(done.exit, 0, "{}", done.said);
    assert_eq!(operations(&scene.place, &xid).len(), 1);
}

#[test]
fn a_receipt_that_does_not_follow_from_those_before_it_is_not_taken() {
    let scene = Scene::new();
    let xid = scene.bought();
    assert!(scene.merchant.stop().0.success());
    let desk = |arguments: &[&str]| crate::scene::desk(&scene.place, arguments);
    for amount in ["5", "3"] {
        let done = desk(&["capture", &xid, "--amount", amount]);
        assert_eq!(done.exit, 0, "{}", done.said);
    }
    // A merchant that missed the second capture's receipt: 5.00 and 1.00 are not 9.00.
    let store = Connection::open(scene.place.path("merchant/merchant.db")).unwrap();
    let answer = |number: i64| -> String {
        let query = "SELECT answer FROM operation WHERE number = ?1";
        store.query_row(query, [number], |row| row.get(0)).unwrap()
    };
    let put = |answer: &str| {
        let update = "UPDATE operation SET answer = ?1 WHERE number = 2";
        assert_eq!(store.execute(update, [answer]).unwrap(), 1);
    };
    let second = answer(2);
    put(&answer(1));
    let strange = desk(&["capture", &xid, "--amount", "1"]);
    unknown(&strange);
    assert!(strange.said.contains("does not hold"), "{}", strange.said);

    put(&second);
    let done = desk(&["capture", &xid, "--amount", "1"]);
    assert_eq!(done.exit, 0, "{}", done.said);
    assert_eq!(done.object["totals"]["captured"], 900);
    assert_eq!(operations(&scene.place, &xid).len(), 3);
}
