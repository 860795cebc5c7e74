//! A canary card, a canary cart and the PINs, searched for wherever the three programs write.

use std::fs;

use twinseal_tests::{
    canary::{found_in, is_in},
    place::Place,
    service::plain_get,
};

use crate::scene::Scene;

const CANARY_PAN: &str = "6011601160116611";
const EXPIRY: &str = "2031-12";
const CANARY_BOOK: &str = "Canaries and how to keep them";
const CANARY_LANE: &str = "77 Canary Lane, Snodbury";

#[tokio::test]
async fn the_shop_never_has_the_card_and_the_gateway_never_the_cart() {
    let place = Place::new();
    place.add_account(
        "canary",
        CANARY_PAN,
        EXPIRY,
        "funds = 1300\nstatus = \"active\"",
    );
    place.edit("client/instruments.toml", |file| {
        file["instrument"][0]["pan"] = CANARY_PAN.into();
    });
    place.edit("merchant/catalogue.toml", |file| {
        file["item"][0]["name"] = CANARY_BOOK.into();
    });
    let scene = Scene::of(place);
    // Approved; declined; refused after the payment was opened, asked about and shown to operators.
    let delivery = ["--delivery", CANARY_LANE];
    let mut shown = Vec::new();
    for (arguments, exit) in [(&delivery, 0), (&delivery, 3)] {
        let bought = scene.buy(arguments);
        assert_eq!(bought.exit, exit, "{}", bought.said);
        let xid = bought.object["xid"].as_str().unwrap().to_owned();
        for output in [
            scene
                .place
                .gateway_cli(&["payments", "show", &xid, "--json"]),
            scene.place.gateway_cli(&["payments", "show", &xid]),
        ] {
            shown.extend(output.stdout);
        }
        let merchants = scene.place.merchant_cli(&["show", &xid, "--json"]).stdout;
        assert!(!is_in(&merchants, CANARY_PAN));
        assert!(!is_in(bought.object.to_string().as_bytes(), CANARY_PAN));
        assert!(!is_in(bought.said.as_bytes(), CANARY_PAN));
    }
    let opened = scene.shop().await;
    let signed = opened.sign(&scene.parties);
    let sealed = opened.seal_changed(&signed, scene.parties.card.clone(), |_, _| {});
    let refused = scene.shopper.send(&sealed).await;
    assert_eq!(refused.status, 400);
    assert!(!is_in(&refused.body, CANARY_PAN));

    let metrics = plain_get(scene.gateway.address("admin"), "/metrics");
    let pins: Vec<_> = ["gateway/user.pin", "ca/user.pin"]
        .iter()
        .map(|file| fs::read_to_string(scene.place.path(file)).unwrap())
        .collect();
    let (_, merchant_log) = scene.merchant.stop();
    let (_, gateway_log) = scene.gateway.stop();
    assert!(merchant_log.contains("settled"), "the log is not empty");
    assert!(gateway_log.contains("decided"), "the log is not empty");
    shown.extend(metrics.into_bytes());
    shown.extend(gateway_log.bytes());

    for cart in [CANARY_BOOK, CANARY_LANE] {
        assert!(!is_in(&shown, cart), "{cart}");
        assert_eq!(found_in(&scene.place, "gateway", cart), [""; 0]);
        assert!(!found_in(&scene.place, "merchant", cart).is_empty());
    }
    assert!(!is_in(&shown, CANARY_PAN));
    assert!(!is_in(merchant_log.as_bytes(), CANARY_PAN));
    assert_eq!(found_in(&scene.place, "gateway", CANARY_PAN), [""; 0]);
    assert_eq!(found_in(&scene.place, "merchant", CANARY_PAN), [""; 0]);
    assert_eq!(
        found_in(&scene.place, "client", CANARY_PAN),
        [scene.place.text("client/instruments.toml")]
    );
    for pin in pins {
        let pin = pin.trim();
        assert!(pin.len() >= 8, "long enough to be searched for");
        assert!(!is_in(&shown, pin));
        assert!(!is_in(merchant_log.as_bytes(), pin));
    }
}
