//! The payer's terminal, the merchant and the gateway, as people use them.

use std::fs;

use mtls::identity::Identity;
use serde_json::Value;
use twinseal_tests::{parties::Parties, place::Place, shopper::Shopper};

use crate::scene::{Scene, buy_at, purchase_files, terminal};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_purchase_is_approved_and_everybody_has_the_same_record_of_it() {
    let scene = Scene::new();
    let bought = scene.buy(&["--item", "book-1=2", "--delivery", "12 Long Lane"]);
    assert_eq!(bought.exit, 0, "{}", bought.said);
    let object = &bought.object;
    assert_eq!(object["outcome"], "approved");
    assert_eq!(object["code"], "00");
    assert_eq!(object["amount"]["value"], 2500);
    assert_eq!(object["amount_written"], "25.00 EUR");
    assert_eq!(object["totals"]["authorized"], 2500);
    assert_eq!(object["order"]["items"][0]["quantity"], 2);
    assert_eq!(object["order"]["delivery"], "12 Long Lane");
    assert_eq!(object["instrument"], "everyday");
    assert_eq!(scene.place.held("everyday"), 2500);

    let xid = object["xid"].as_str().unwrap();
    let gateway: Value = serde_json::from_slice(
        &scene
            .place
            .gateway_cli(&["payments", "show", xid, "--json"])
            .stdout,
    )
    .unwrap();
    assert_eq!(gateway["code"], "00");
    assert_eq!(gateway["amount"], object["amount"]);
    let merchant: Value =
        serde_json::from_slice(&scene.place.merchant_cli(&["show", xid, "--json"]).stdout).unwrap();
    let kept: Value = serde_json::from_str(
        &fs::read_to_string(scene.place.path(&format!("client/purchases/{xid}.json"))).unwrap(),
    )
    .unwrap();
    let receipt = kept["receipt"].as_str().unwrap();
    assert!(
        merchant.to_string().contains(receipt),
        "merchant and payer have one receipt: {merchant}"
    );
}

#[test]
fn money_is_written_as_people_write_it_in_whatever_is_shown() {
    let scene = Scene::new();
    let shop = scene.merchant.url("payers");
    let catalogue = scene.place.client(&["catalogue", "--shop", &shop]);
    assert!(catalogue.status.success());
    let catalogue = text(&catalogue.stdout);
    for part in ["The Corner Bookshop", "book-1", "12.50 EUR", "249.00 EUR"] {
        assert!(catalogue.contains(part), "{part} is not in\n{catalogue}");
    }

    let bought = scene.buy(&[]);
    let xid = bought.object["xid"].as_str().unwrap();
    let shown = scene.place.client(&["show", xid]);
    assert_eq!(shown.status.code(), Some(0));
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("APPROVED: 12.50 EUR (00 approved)"),
        "{shown}"
    );
    assert!(shown.contains("The Dual Signature, a novel"), "{shown}");
    let list = scene.place.client(&["list"]);
    assert_eq!(list.status.code(), Some(0));
    let list = text(&list.stdout);
    assert!(list.contains("12.50 EUR  approved"), "{list}");
    assert!(list.contains(xid), "{list}");
}

#[test]
fn what_is_stored_proves_the_decision_to_anybody_and_so_does_the_receipt_alone() {
    let scene = Scene::new();
    let bought = scene.buy(&[]);
    let file = bought.object["file"].as_str().unwrap();
    let found = terminal(&scene.place, &["verify", file]);
    assert_eq!(found.exit, 0, "{}", found.object);
    assert_eq!(found.object["everything_holds"], true);
    assert_eq!(found.object["statements"].as_array().unwrap().len(), 7);

    let record: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let receipt = scene.place.text("receipt.jws");
    fs::write(&receipt, record["receipt"].as_str().unwrap()).unwrap();
    let found = terminal(&scene.place, &["verify", &receipt]);
    assert_eq!(found.exit, 0, "{}", found.object);
    assert_eq!(found.object["statements"].as_array().unwrap().len(), 1);

    let session = record["session"].as_str().unwrap();
    fs::write(&receipt, session).unwrap();
    assert_eq!(terminal(&scene.place, &["verify", &receipt]).exit, 5);
}

#[test]
fn each_instrument_of_the_samples_gets_its_answer_and_its_exit_code() {
    let scene = Scene::new();
    for (label, exit, code, word) in [
        ("thin", 3, "51", "declined"),
        ("blocked", 3, "62", "declined"),
        ("everyday", 0, "00", "approved"),
        ("bank", 0, "00", "approved"),
    ] {
        let bought = scene.buy(&["--with", label]);
        assert_eq!(bought.exit, exit, "{label}: {}", bought.said);
        assert_eq!(bought.object["code"], code, "{label}");
        assert_eq!(bought.object["outcome"], word, "{label}");
        let xid = bought.object["xid"].as_str().unwrap();
        assert_eq!(terminal(&scene.place, &["show", xid]).exit, exit, "{label}");
    }
    assert_eq!(scene.place.held("thin"), 0);
    assert_eq!(scene.place.held("blocked"), 0);
    assert_eq!(scene.place.held("everyday"), 2500);
}

#[test]
fn what_is_asked_for_wrongly_ends_before_anything_is_signed_with_the_documented_code() {
    let scene = Scene::new();
    for arguments in [["--item", "boat"], ["--with", "nothing"]] {
        let bought = scene.buy(&arguments);
        assert_eq!(bought.exit, 2, "{arguments:?}: {}", bought.said);
    }
    let nobody = "https://localhost:1";
    assert_eq!(buy_at(&scene.place, nobody, &[]).exit, 1);
    let unreadable = scene.place.client(&["--json", "show", "no-xid"]);
    assert_eq!(unreadable.status.code(), Some(2));
    let shop = scene.merchant.url("payers");
    let unasked = ["buy", "--shop", &shop, "--item", "book-1"];
    let nobody_to_ask = scene.place.client(&unasked);
    assert_eq!(nobody_to_ask.status.code(), Some(2));
    assert_eq!(purchase_files(&scene.place), 0);
}

#[test]
fn a_merchant_that_captures_at_once_holds_nothing_after_it() {
    let place = Place::new();
    place.edit("merchant/merchant.toml", |config| {
        config.insert("capture".into(), "now".into());
    });
    let scene = Scene::of(place);
    let bought = scene.buy(&[]);
    assert_eq!(bought.exit, 0, "{}", bought.said);
    assert_eq!(bought.object["totals"]["captured"], 1250);
    assert_eq!(scene.place.held("everyday"), 0);
}

#[tokio::test]
async fn a_merchant_that_takes_client_certificates_serves_those_that_show_none() {
    let place = Place::new();
    place.edit("merchant/merchant.toml", |config| {
        config.insert("client_certificates".into(), "optional".into());
    });
    let scene = Scene::of(place);
    assert_eq!(scene.buy(&[]).exit, 0);

    // One that is shown must be good: a merchant's is no client's.
    let tls = |directory: &str| {
        Identity::from_files(
            &scene.place.path(&format!("{directory}/tls.pem")),
            &scene.place.path(&format!("{directory}/tls.key")),
        )
        .unwrap()
    };
    let refused = Shopper::showing(&scene.parties, &scene.merchant, Some(tls("merchant")));
    assert!(refused.try_get("/v1/catalogue").await.is_err());
    let parties = Parties::of(&scene.place);
    let unasked = Shopper::at(&parties, &scene.merchant);
    assert_eq!(unasked.get("/v1/catalogue").await.status, 200);
}
