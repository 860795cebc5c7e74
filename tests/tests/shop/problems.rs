//! Each problem that the merchant names, raised at the real one; and that a refused request consumes
//! nothing: the good purchase in the same session succeeds after it.

use std::time::Duration;

use protocol::{
    identifiers::{ClientNonce, OrderId, Xid},
    problem::Problem,
    purchase::PurchaseRequest,
};
use serde_json::{Value, json};
use twinseal_tests::{
    parties::{Parties, problem},
    place::Place,
    raw::RawTls,
    shopper::{Shopper, accept, proof},
};

use crate::scene::Scene;

#[tokio::test]
async fn form_is_judged_first_and_consumes_nothing() {
    let scene = Scene::new();
    let opened = scene.shop().await;
    let signed = opened.sign(&scene.parties);
    let good = serde_json::to_string(&signed.request).unwrap();
    let signature = &signed.request.dual_signature;
    let with_signature = |dual_signature: String| {
        let request = PurchaseRequest {
            dual_signature,
            payment_information: signed.request.payment_information.clone(),
        };
        serde_json::to_string(&request).unwrap()
    };
    for bad in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        format!("\u{feff}{good}"),
        format!("{good}x"),
        good.replacen('{', r#"{"dual_signature":"x","#, 1),
        good.replacen('{', r#"{"more":1,"#, 1),
        good.replacen('{', r#"{"more":null,"#, 1),
        with_signature(signature.trim_end_matches('~').to_owned()),
        with_signature(format!("{signature}~")),
        with_signature(signature.replacen('.', "..", 1)),
        with_signature(format!("={signature}")),
    ] {
        let answer = scene.shopper.post("/v1/purchases", bad.clone()).await;
        assert_eq!(problem(&answer), Problem::Malformed, "{bad}");
    }
    scene.approves(&signed).await;
}

#[tokio::test]
async fn a_session_request_of_another_form_or_version_opens_none() {
    let scene = Scene::new();
    let order = scene.shopper.order().await.order;
    let nc = ClientNonce::random().unwrap();
    let good = json!({ "version": 1, "nc": nc, "order": order });
    let changed = |member: &str, value: Value| {
        let mut changed = good.clone();
        changed[member] = value;
        changed.to_string()
    };
    let text = good.to_string();
    for (bad, expected) in [
        (changed("version", 2.into()), Problem::UnsupportedVersion),
        (changed("version", "1".into()), Problem::Malformed),
        (changed("more", 1.into()), Problem::Malformed),
        (changed("nc", "short".into()), Problem::Malformed),
        (changed("order", Value::Null), Problem::Malformed),
        (
            text.replacen('{', r#"{"version":1,"#, 1),
            Problem::Malformed,
        ),
        (format!("\u{feff}{text}"), Problem::Malformed),
    ] {
        let answer = scene.shopper.post("/v1/sessions", bad.clone()).await;
        assert_eq!(problem(&answer), expected, "{bad}");
    }
    // A later version may have members of its own: its number is judged first.
    let later = changed("version", 2.into()).replacen('{', r#"{"new":true,"#, 1);
    let answer = scene.shopper.post("/v1/sessions", later).await;
    assert_eq!(problem(&answer), Problem::UnsupportedVersion);

    let unknown = OrderId::random().unwrap();
    let answer = scene.shopper.ask_for_session(unknown, nc).await;
    assert_eq!(problem(&answer), Problem::OrderMismatch);
    assert_eq!(scene.shopper.ask_for_session(order, nc).await.status, 200);
}

#[tokio::test]
async fn what_is_too_large_is_refused_whatever_is_in_it() {
    let scene = Scene::new();
    let opened = scene.shop().await;
    let signed = opened.sign(&scene.parties);
    let body = vec![b' '; 64 * 1024 + 1];
    let answer = scene.shopper.post("/v1/purchases", body).await;
    assert_eq!(problem(&answer), Problem::TooLarge);

    let mut large = opened.sign_changed(&scene.parties, &scene.parties.client_key, |_, _| {});
    let half = large.dual_signature.trim_end_matches('~').to_owned();
    large.dual_signature = half + &"A".repeat(33 * 1024) + "~";
    assert_eq!(scene.refused(&large).await, Problem::TooLarge);
    scene.approves(&signed).await;
}

#[tokio::test]
async fn who_may_not_ask_learns_nothing_of_a_purchase() {
    let place = Place::new();
    place.setup(&["client", "--out", "other"]);
    let other = Parties::with(&place, "other", "merchant");
    let scene = Scene::of(place);
    let (parties, merchant) = (&scene.parties, scene.parties.merchant.party());
    let signed = scene.shop().await.sign(parties);
    let xid = signed.dual_signature.xid;
    let own = proof(parties, merchant, xid);

    let before = scene.shopper.inquire(xid, Some(&own)).await;
    assert_eq!(problem(&before), Problem::UnknownAuthorization);
    let answer = scene.approves(&signed).await;
    let again = scene.shopper.inquire(xid, Some(&own)).await;
    assert_eq!(again.body, answer.body, "message 6, byte for byte");

    let unknown = Xid::random().unwrap();
    for (xid, proof) in [
        (xid, None),
        (xid, Some("x.y.z".to_owned())),
        (xid, Some(proof(&other, merchant, xid))),
        (xid, Some(proof(parties, parties.gateway.party(), xid))),
        (xid, Some(proof(parties, merchant, unknown))),
        (unknown, Some(proof(parties, merchant, unknown))),
    ] {
        let answer = scene.shopper.inquire(xid, proof.as_deref()).await;
        assert_eq!(problem(&answer), Problem::UnknownAuthorization);
    }
}

#[tokio::test]
async fn an_order_is_paid_once_whatever_the_number_of_its_sessions() {
    let scene = Scene::new();
    let parties = &scene.parties;
    let first = scene.shop().await;
    let second = scene.shopper.open(parties, first.order.clone()).await;
    let (paid, unpaid) = (first.sign(parties), second.sign(parties));
    scene.approves(&paid).await;
    assert_eq!(scene.refused(&unpaid.request).await, Problem::Replayed);
    let nc = ClientNonce::random().unwrap();
    let answer = scene.shopper.ask_for_session(first.order.order, nc).await;
    assert_eq!(problem(&answer), Problem::Replayed);
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[tokio::test]
async fn two_sessions_for_one_order_at_once_make_one_payment() {
    let scene = Scene::new();
    let parties = &scene.parties;
    let first = scene.shop().await;
    let second = scene.shopper.open(parties, first.order.clone()).await;
    let (one, other) = (first.sign(parties), second.sign(parties));
    let (one, other) = tokio::join!(
        scene.shopper.send(&one.request),
        scene.shopper.send(&other.request)
    );
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{}", scene.merchant.log());
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[tokio::test]
async fn a_session_takes_one_purchase_and_a_declined_order_another_session() {
    let scene = Scene::new();
    let parties = &scene.parties;
    let opened = scene.shop().await;
    let thin = twinseal_tests::parties::card("5555555555554444", "2031-12");
    let declined = opened.sign_with(parties, thin);
    let answer = scene.shopper.send(&declined.request).await;
    let receipt = accept(parties, &declined, &answer);
    assert_eq!(receipt.claims().code, "51");

    let other = opened.sign(parties);
    assert_eq!(scene.refused(&other.request).await, Problem::SessionUsed);
    let again = scene.shopper.open(parties, opened.order.clone()).await;
    scene.approves(&again.sign(parties)).await;
}

#[tokio::test]
async fn a_session_that_is_over_takes_no_purchase() {
    let scene = Scene::new();
    let parties = &scene.parties;
    let opened = scene.shop().await;
    let signed = opened.sign(parties);
    // What the clock would do in a quarter of an hour.
    let end = i64::try_from(mtls::now().minus(61).0).unwrap();
    let store = rusqlite::Connection::open(scene.place.path("merchant/merchant.db")).unwrap();
    let changed = store.execute(
        "UPDATE session SET claims = json_set(claims, '$.iat', ?1, '$.exp', ?2)",
        (end - 900, end),
    );
    assert_eq!(changed.unwrap(), 1);
    assert_eq!(scene.refused(&signed.request).await, Problem::Expired);
    let again = scene.shopper.open(parties, opened.order.clone()).await;
    scene.approves(&again.sign(parties)).await;
}

#[tokio::test]
async fn what_the_gateway_refuses_is_told_by_its_name_and_the_order_can_be_paid_later() {
    let scene = Scene::new();
    let parties = &scene.parties;
    let opened = scene.shop().await;
    // Sealed as it should be, but not the payment that was signed: only the gateway can see that.
    let signed = opened.sign(parties);
    let sealed = opened.seal_changed(&signed, parties.card.clone(), |_, _| {});
    assert_eq!(
        scene.refused(&sealed).await,
        Problem::PaymentInformationInvalid
    );
    let again = scene.shopper.open(parties, opened.order.clone()).await;
    scene.approves(&again.sign(parties)).await;
}

#[tokio::test]
async fn a_store_that_somebody_deletes_from_is_an_internal_error_of_which_the_payer_learns_nothing()
{
    let scene = Scene::new();
    let opened = scene.shop().await;
    let signed = opened.sign(&scene.parties);
    let store = rusqlite::Connection::open(scene.place.path("merchant/merchant.db")).unwrap();
    store
        .execute_batch(
            "CREATE TRIGGER thief AFTER INSERT ON purchase
             BEGIN DELETE FROM purchase WHERE xid = NEW.xid; END",
        )
        .unwrap();
    let body = serde_json::to_vec(&signed.request).unwrap();
    let answer = scene.shopper.post("/v1/purchases", body).await;
    assert_eq!(problem(&answer), Problem::Internal);
    let told = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(!told.contains("purchase"), "{told}");
    scene
        .merchant
        .wait_for_log(Duration::from_secs(10), |line| {
            line["fields"]["detail"] == "the purchase is gone"
        });
    // The gateway was never asked, and with the trigger gone the same request is decided.
    store.execute_batch("DROP TRIGGER thief").unwrap();
    scene.approves(&signed).await;
}

#[tokio::test]
async fn plain_http_mistakes_get_plain_http_answers() {
    let scene = Scene::new();
    let plain = |body: &[u8], status: u16| {
        let document: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(document["type"], "about:blank");
        assert_eq!(document["status"], status);
        assert!(document["retry"].is_null());
    };
    for (path, status) in [
        ("/", 404),
        ("/v1/certificates", 404),
        ("/v1/purchases/x", 404),
        ("/v1/orders", 405),
        ("/v1/sessions", 405),
        ("/v1/purchases", 405),
    ] {
        let answer = scene.shopper.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        plain(&answer.body, status);
    }
    let posted = scene.shopper.post("/v1/catalogue", "{}").await;
    plain(&posted.body, 405);

    let mut raw = RawTls::connect(scene.merchant.address("payers"), None);
    raw.write(
        b"POST /v1/purchases HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
          Content-Length: 2\r\nConnection: close\r\n\r\n{}",
    );
    let head = raw.read_head();
    assert!(head.starts_with("HTTP/1.1 415"), "{head}");
    plain(raw.read_to_end().as_bytes(), 415);
}

#[tokio::test]
async fn orders_and_sessions_of_one_address_above_the_rate_are_told_to_wait() {
    let place = Place::new();
    place.edit("merchant/merchant.toml", |config| {
        let limits = config["limits"].as_table_mut().unwrap();
        limits.insert("openings_per_minute".to_owned(), 1.into());
    });
    let _gateway = place.start_gateway();
    let shop = place.start_merchant();
    let shopper = Shopper::at(&Parties::of(&place), &shop);
    let body = r#"{"items":[{"sku":"book-1","quantity":1}]}"#;
    let order = async || shopper.post("/v1/orders", body.as_bytes().to_vec()).await;
    assert_eq!(order().await.status, 201);
    let limited = order().await;
    assert_eq!(problem(&limited), Problem::RateLimited);
    assert!(limited.headers.contains_key("retry-after"));
}
