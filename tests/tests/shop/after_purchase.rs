//! Captures, reversals, refunds, what is undone, and batches: as a shop's operator does them, with the
//! gateway's books beside.

use serde_json::{Value, json};
use twinseal_tests::place::Place;

use crate::scene::{Scene, Shown, payment, terminal};

/// It was done; gives the jti that it can be undone by.
fn done(shown: &Shown) -> String {
    assert_eq!(shown.exit, 0, "{}", shown.said);
    assert_eq!(shown.object["outcome"], "done");
    assert_eq!(shown.object["asked_now"], true);
    shown.object["jti"].as_str().unwrap().to_owned()
}

fn refused(shown: &Shown, problem: &str) {
    assert_eq!(shown.exit, 5, "{}", shown.said);
    assert_eq!(shown.object["outcome"], "refused");
    assert_eq!(shown.object["problem"], problem);
}

/// Captured, reversed, refunded: the merchant and the gateway say the same.
fn assert_totals(scene: &Scene, xid: &str, captured: u64, reversed: u64, refunded: u64) {
    let expected = json!({
        "authorized": 1250, "captured": captured, "reversed": reversed, "refunded": refunded,
    });
    assert_eq!(scene.desk(&["show", xid]).object["totals"], expected);
    assert_eq!(payment(&scene.place, xid)["totals"], expected);
}

#[test]
fn a_purchase_is_captured_in_parts_and_never_above_what_is_held() {
    let scene = Scene::new();
    let xid = scene.bought();
    done(&scene.desk(&["capture", &xid, "--amount", "4.50"]));
    done(&scene.desk(&["capture", &xid, "--amount", "3"]));
    assert_totals(&scene, &xid, 750, 0, 0);
    let above = scene.desk(&["capture", &xid, "--amount", "5.01"]);
    refused(&above, "limit-exceeded");
    assert!(above.said.contains("see `show`"), "{}", above.said);
    assert_totals(&scene, &xid, 750, 0, 0);
    assert_eq!(scene.place.held("everyday"), 500);

    let rest = scene.desk(&["capture", &xid]);
    done(&rest);
    assert_eq!(rest.object["amount_written"], "5.00 EUR");
    assert_totals(&scene, &xid, 1250, 0, 0);
    assert_eq!(scene.place.held("everyday"), 0);
    let nothing = scene.desk(&["capture", &xid]);
    assert_eq!(nothing.exit, 1, "{}", nothing.said);
    assert!(nothing.said.contains("nothing is open"), "{}", nothing.said);
}

#[test]
fn a_capture_is_undone_wholly_or_in_part_and_captured_again() {
    let scene = Scene::new();
    let xid = scene.bought();
    let jti = done(&scene.desk(&["capture", &xid]));
    let part = scene.desk(&["capture", "--undo", &jti, &xid, "--amount", "2.50"]);
    done(&part);
    assert_eq!(part.object["action"], "capture-reversal");
    assert_eq!(part.object["target"], jti.as_str());
    assert_totals(&scene, &xid, 1000, 0, 0);
    let rest = scene.desk(&["capture", "--undo", &jti, &xid]);
    done(&rest);
    assert_eq!(rest.object["amount_written"], "10.00 EUR");
    assert_totals(&scene, &xid, 0, 0, 0);
    assert_eq!(scene.place.held("everyday"), 1250);

    done(&scene.desk(&["capture", &xid]));
    assert_totals(&scene, &xid, 1250, 0, 0);
    // Of the first one nothing is left.
    let again = scene.desk(&["capture", "--undo", &jti, &xid, "--amount", "1"]);
    refused(&again, "limit-exceeded");
}

#[test]
fn what_is_held_is_released_in_part_and_then_wholly() {
    let scene = Scene::new();
    let xid = scene.bought();
    done(&scene.desk(&["reverse", &xid, "--amount", "2.50"]));
    assert_totals(&scene, &xid, 0, 250, 0);
    assert_eq!(scene.place.held("everyday"), 1000);
    done(&scene.desk(&["reverse", &xid]));
    assert_totals(&scene, &xid, 0, 1250, 0);
    assert_eq!(scene.place.held("everyday"), 0);
    let late = scene.desk(&["capture", &xid, "--amount", "0.01"]);
    refused(&late, "limit-exceeded");
}

#[test]
fn captured_money_is_given_back_and_a_refund_is_undone() {
    let scene = Scene::new();
    let xid = scene.bought();
    let early = scene.desk(&["refund", &xid, "--amount", "1"]);
    refused(&early, "limit-exceeded");
    done(&scene.desk(&["capture", &xid]));
    let jti = done(&scene.desk(&["refund", &xid, "--amount", "12.00"]));
    assert_totals(&scene, &xid, 1250, 0, 1200);
    done(&scene.desk(&["refund", "--undo", &jti, &xid]));
    assert_totals(&scene, &xid, 1250, 0, 0);
    done(&scene.desk(&["refund", &xid]));
    assert_totals(&scene, &xid, 1250, 0, 1250);
}

#[test]
fn a_capture_that_came_with_the_authorization_is_undone_by_what_show_names() {
    let place = Place::new();
    place.edit("merchant/merchant.toml", |config| {
        config.insert("capture".into(), "now".into());
    });
    let scene = Scene::of(place);
    let xid = scene.bought();
    let shown = scene.desk(&["show", &xid]).object;
    let jti = shown["captured_with"].as_str().unwrap();
    done(&scene.desk(&["capture", "--undo", jti, &xid]));
    assert_totals(&scene, &xid, 0, 0, 0);
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[test]
fn a_batch_closes_with_totals_that_equal_the_bookings_and_nothing_in_it_is_undone() {
    let scene = Scene::new();
    let (one, other) = (scene.bought(), scene.bought());
    let jti = done(&scene.desk(&["capture", &one]));
    done(&scene.desk(&["capture", &other, "--amount", "10.00"]));
    done(&scene.desk(&["capture", "--undo", &jti, &one, "--amount", "0.50"]));
    let refund = done(&scene.desk(&["refund", &other, "--amount", "4.00"]));
    done(&scene.desk(&["refund", "--undo", &refund, &other, "--amount", "1.00"]));

    let closed = scene.desk(&["batch", "close", "--currency", "eur"]);
    assert_eq!(closed.exit, 0, "{}", closed.said);
    let totals = json!({
        "captures": { "count": 2, "value": 2250 },
        "capture_reversals": { "count": 1, "value": 50 },
        "refunds": { "count": 1, "value": 400 },
        "refund_reversals": { "count": 1, "value": 100 },
        "payable": 1900,
        "receivable": 0,
    });
    assert_eq!(closed.object["totals"], totals);
    let batch = closed.object["batch"].as_str().unwrap();
    let shown = scene.desk(&["batch", "show", batch]);
    assert_eq!(shown.exit, 0, "{}", shown.said);
    assert_eq!(shown.object["totals"], totals);
    let list = scene.desk(&["batch", "list"]).object;
    assert_eq!(list.as_array().unwrap().len(), 1);

    refused(
        &scene.desk(&["capture", "--undo", &jti, &one]),
        "limit-exceeded",
    );
    let empty = scene.desk(&["batch", "close", "--currency", "EUR"]);
    assert_eq!(empty.object["totals"]["payable"], 0);
    assert_ne!(empty.object["batch"], batch);
}

#[test]
fn what_is_typed_wrongly_or_not_there_asks_for_nothing_and_has_its_exit_code() {
    let scene = Scene::new();
    let xid = scene.bought();
    for amount in ["12.505", "0", "-1", "1,50", "1e1", "12.50 EUR", ""] {
        let shown = scene.desk(&["capture", &xid, "--amount", amount]);
        assert_eq!(shown.exit, 2, "{amount}: {}", shown.said);
        assert!(shown.said.contains("correct --amount"), "{}", shown.said);
    }
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    for arguments in [
        vec!["capture", unknown],
        vec!["show", unknown],
        vec!["capture", "--undo", unknown, &xid],
        vec!["refund", "--undo", unknown, &xid],
        vec!["batch", "show", unknown],
    ] {
        let shown = scene.desk(&arguments);
        assert_eq!(shown.exit, 3, "{arguments:?}: {}", shown.said);
    }
    for arguments in [
        vec!["capture", "no-xid"],
        vec!["batch", "close", "--currency", "XXX"],
        vec!["reverse", "--undo", unknown, &xid],
    ] {
        let output = scene.place.merchant_command(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let declined = scene.buy(&["--with", "thin"]);
    let declined = declined.object["xid"].as_str().unwrap();
    let shown = scene.desk(&["capture", declined]);
    assert_eq!(shown.exit, 1, "{}", shown.said);
    assert!(shown.said.contains("not approved"), "{}", shown.said);
    assert_totals(&scene, &xid, 0, 0, 0);
}

#[test]
fn everything_is_shown_to_people_with_what_is_needed_to_undo_it() {
    let scene = Scene::new();
    let xid = scene.bought();
    let jti = done(&scene.desk(&["capture", &xid, "--amount", "4.50"]));
    refused(
        &scene.desk(&["refund", &xid, "--amount", "5"]),
        "limit-exceeded",
    );
    let shown = scene.place.merchant_cli(&["show", &xid]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for part in [
        "authorized      12.50 EUR",
        "captured        4.50 EUR",
        "capture before  20",
        &format!("{jti} 4.50 EUR, done"),
        "5.00 EUR, refused: limit-exceeded",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let list = scene.place.merchant_cli(&["list"]);
    assert!(String::from_utf8(list.stdout).unwrap().contains(&xid));
}

#[test]
fn the_payer_s_terminal_gets_every_receipt_keeps_it_and_proves_it() {
    let scene = Scene::new();
    let xid = scene.bought();
    done(&scene.desk(&["capture", &xid, "--amount", "10.00"]));
    done(&scene.desk(&["refund", &xid, "--amount", "3.00"]));
    done(&scene.desk(&["reverse", &xid]));

    let before = terminal(&scene.place, &["show", &xid]);
    assert_eq!(before.object["totals"]["captured"], 0);
    let shown = terminal(&scene.place, &["show", &xid, "--refresh"]);
    assert_eq!(shown.exit, 0, "{}", shown.said);
    assert_eq!(shown.object["outcome"], "approved");
    let kept = terminal(&scene.place, &["show", &xid]).object;
    for object in [&shown.object, &kept] {
        assert_eq!(
            object["totals"],
            json!({ "authorized": 1250, "captured": 1000, "reversed": 250, "refunded": 300 })
        );
        let actions: Vec<&Value> = object["after"]
            .as_array()
            .unwrap()
            .iter()
            .map(|after| &after["action"])
            .collect();
        assert_eq!(actions, ["capture", "refund", "reversal"]);
    }
    let people = scene.place.client(&["show", &xid]);
    let people = String::from_utf8(people.stdout).unwrap();
    for part in [
        "booked 10.00 EUR",
        "gave back 3.00 EUR",
        "released 2.50 EUR",
    ] {
        assert!(people.contains(part), "{part} is not in\n{people}");
    }
    let file = kept["file"].as_str().unwrap();
    let found = terminal(&scene.place, &["verify", file]);
    assert_eq!(found.exit, 0, "{}", found.object);
    // The seven of a purchase, and one for each of what came after it.
    assert_eq!(found.object["statements"].as_array().unwrap().len(), 10);
}
