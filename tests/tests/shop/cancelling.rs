//! A payer withdraws what it signed, at the gateway itself: before the decision, after it, with a gateway
//! that is away, and in another's name.

use std::{
    fs,
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use twinseal_tests::{
    place::Place,
    service::{Service, program},
    wire::Wire,
};

use crate::scene::{Scene, Shown, terminal};

/// How long a merchant may take to ask again and be answered.
const SETTLED: Duration = Duration::from_secs(60);

/// A purchase that is signed and sent, and that the gateway has not heard of.
async fn unconfirmed(scene: &Scene) -> String {
    // The merchant knows the gateway's certificate; then the gateway can't be reached.
    scene.shop().await;
    scene.wire.cut();
    let bought = scene.buy(&[]);
    assert_eq!(bought.exit, 4, "{}", bought.said);
    let explanation = bought.object["explanation"].as_str().unwrap();
    assert!(explanation.contains("cancel"), "{explanation}");
    bought.object["xid"].as_str().unwrap().to_owned()
}

fn cancel(place: &Place, xid: &str) -> Shown {
    terminal(place, &["cancel", xid, "--yes"])
}

fn wait_until_settled(merchant: &Service, xid: &str, code: &str) {
    merchant.wait_for_log(SETTLED, |line| {
        let fields = &line["fields"];
        fields["message"] == "settled" && fields["xid"] == xid && fields["code"] == code
    });
}

fn record(place: &Place, xid: &str) -> Value {
    let text = fs::read(place.path(&format!("client/purchases/{xid}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Takes out of the payer's file what the gateway decided, as if it had never been told.
fn forget_the_decision(place: &Place, xid: &str) {
    let mut record = record(place, xid);
    let members = record.as_object_mut().unwrap();
    members.remove("receipt").unwrap();
    members.remove("purchase_response");
    let path = place.path(&format!("client/purchases/{xid}.json"));
    fs::write(path, record.to_string()).unwrap();
}

#[tokio::test]
async fn what_is_withdrawn_before_the_decision_is_declined_later_and_can_be_bought_again() {
    let scene = Scene::new();
    let xid = unconfirmed(&scene).await;
    let cancelled = cancel(&scene.place, &xid);
    assert_eq!(cancelled.exit, 0, "{}", cancelled.said);
    assert_eq!(cancelled.object["outcome"], "withdrawn");
    assert!(cancelled.object["code"].is_null());
    // It is kept, and nobody has to be asked again.
    assert_eq!(cancel(&scene.place, &xid).exit, 0);
    let shown = terminal(&scene.place, &["show", &xid]);
    assert_eq!(
        (shown.exit, &shown.object["outcome"]),
        (3, &"withdrawn".into())
    );

    scene.wire.lead_to(scene.gateway.address("merchants"));
    wait_until_settled(&scene.merchant, &xid, "17");
    assert_eq!(scene.desk(&["show", &xid]).object["state"], "declined");
    assert_eq!(scene.desk(&["capture", &xid]).exit, 1);
    assert_eq!(scene.place.held("everyday"), 0);

    // The gateway tells both, and both are kept and proved.
    let shown = terminal(&scene.place, &["show", &xid, "--refresh"]);
    assert_eq!(
        (shown.exit, &shown.object["outcome"]),
        (3, &"withdrawn".into())
    );
    let record = record(&scene.place, &xid);
    assert!(record["receipt"].is_string() && record["withdrawn"].is_string());
    let file = shown.object["file"].as_str().unwrap();
    let found = terminal(&scene.place, &["verify", file]);
    assert_eq!(found.exit, 0, "{}", found.object);
    let said = found.object.to_string();
    assert!(said.contains("17 customer-cancellation"), "{said}");
    assert!(said.contains("never authorized after it"), "{said}");

    let list = scene.place.client(&["list"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains("withdrawn") && !list.contains("approved"),
        "{list}"
    );
    let again = scene.buy(&[]);
    assert_eq!(again.exit, 0, "{}", again.said);
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[test]
fn a_cancellation_after_the_approval_is_too_late_and_brings_the_receipt() {
    let scene = Scene::new();
    let xid = scene.bought();
    forget_the_decision(&scene.place, &xid);
    assert_eq!(terminal(&scene.place, &["show", &xid]).exit, 4);
    let late = cancel(&scene.place, &xid);
    assert_eq!(late.exit, 6, "{}", late.said);
    assert_eq!(late.object["outcome"], "approved");
    assert_eq!(late.object["code"], "00");
    assert_eq!(scene.place.held("everyday"), 1250);
    assert_eq!(terminal(&scene.place, &["show", &xid]).exit, 0);
    assert_eq!(cancel(&scene.place, &xid).exit, 6);
}

#[test]
fn a_cancellation_after_a_decline_brings_the_decline() {
    let scene = Scene::new();
    let declined = scene.buy(&["--with", "thin"]);
    let xid = declined.object["xid"].as_str().unwrap();
    forget_the_decision(&scene.place, xid);
    let late = cancel(&scene.place, xid);
    assert_eq!(late.exit, 3, "{}", late.said);
    assert_eq!(late.object["code"], "51");
}

#[tokio::test]
async fn a_cancellation_that_got_no_answer_is_sent_again_byte_for_byte() {
    let scene = Scene::new();
    let xid = unconfirmed(&scene).await;
    let to_payers = Wire::to(scene.gateway.address("payers"));
    scene.place.edit("client/client.toml", |config| {
        config["gateway"]["payer_url"] = to_payers.url().into();
    });
    to_payers.cut();
    let unknown = cancel(&scene.place, &xid);
    assert_eq!(unknown.exit, 4, "{}", unknown.said);
    assert_eq!(unknown.object["outcome"], "unconfirmed");
    let advice = format!("twinseal-client cancel {xid}");
    assert!(unknown.said.contains(&advice), "{}", unknown.said);
    let kept = record(&scene.place, &xid)["cancellation"].clone();
    assert!(kept.is_string());

    to_payers.lead_to(scene.gateway.address("payers"));
    let cancelled = cancel(&scene.place, &xid);
    assert_eq!(cancelled.exit, 0, "{}", cancelled.said);
    let record = record(&scene.place, &xid);
    assert_eq!(record["cancellation"], kept);
    // The receipt names the very bytes.
    let body: Value = serde_json::from_str(kept.as_str().unwrap()).unwrap();
    let sent = body["cancellation"].as_str().unwrap();
    let reqh = protocol::identifiers::Digest::of(sent.as_bytes());
    let receipt = protocol::jws::Received::<protocol::receipt::Receipt>::read(
        record["withdrawn"].as_str().unwrap(),
    )
    .unwrap();
    assert_eq!(receipt.unverified().reqh, reqh);
}

#[tokio::test]
async fn nobody_withdraws_another_s_purchase() {
    let place = Place::new();
    place.setup(&["client", "--out", "other"]);
    let scene = Scene::of(place);
    let place = &scene.place;
    let xid = unconfirmed(&scene).await;
    place.edit("other/client.toml", |config| {
        config["gateway"]["payer_url"] = scene.gateway.url("payers").into();
    });
    let client = |arguments: &[&str]| -> Output {
        Command::new(program("twinseal-client"))
            .arg("--config")
            .arg(place.path("other/client.toml"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let unknown = client(&["cancel", &xid, "--yes"]);
    assert_eq!(unknown.status.code(), Some(1), "it has no such purchase");

    // Also not with the whole file of it.
    fs::create_dir_all(place.path("other/purchases")).unwrap();
    let file = format!("purchases/{xid}.json");
    fs::copy(
        place.path(&format!("client/{file}")),
        place.path(&format!("other/{file}")),
    )
    .unwrap();
    let refused = client(&["--json", "cancel", &xid, "--yes"]);
    assert_eq!(refused.status.code(), Some(4));
    let object: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(object["problems"][0], "signature-invalid");

    scene.wire.lead_to(scene.gateway.address("merchants"));
    wait_until_settled(&scene.merchant, &xid, "00");
    assert_eq!(place.held("everyday"), 1250);
}

#[tokio::test]
async fn without_a_yes_nothing_is_withdrawn() {
    let scene = Scene::new();
    let xid = unconfirmed(&scene).await;
    let unasked = scene.place.client(&["cancel", &xid]);
    assert_eq!(unasked.status.code(), Some(2));
    assert!(record(&scene.place, &xid)["cancellation"].is_null());
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(cancel(&scene.place, unknown).exit, 1);
}
