//! Each code that the embedded card issuer can give. A decline is an answer, with a receipt.

use protocol::{payment_information::Instrument, receipt::Decision};
use twinseal_tests::{
    parties::{Parties, Purchase, authorize, card, euros},
    place::Place,
};

const PAN: &str = "6011111111111117";
const EXPIRY: &str = "2031-12";

/// The code for a purchase with the account's card, and that it holds nothing when it is declined.
async fn code_with(members: &str, cents: u64) -> String {
    let place = Place::new();
    place.add_account("tried", PAN, EXPIRY, members);
    code_of(&place, cents, card(PAN, EXPIRY)).await
}

async fn code_of(place: &Place, cents: u64, instrument: Instrument) -> String {
    let parties = Parties::of(place);
    let gateway = place.start_gateway();
    let purchase = parties.purchase(euros(cents), instrument);
    declined_code(&parties, &gateway, &purchase).await
}

async fn declined_code(
    parties: &Parties,
    gateway: &twinseal_tests::service::Service,
    purchase: &Purchase,
) -> String {
    let answer = authorize(&parties.to_gateway(gateway), purchase.bytes()).await;
    let receipt = parties.accept_receipt(purchase, &answer.body);
    let claims = receipt.claims();
    assert_eq!(claims.decision, Decision::Declined);
    assert_eq!(claims.totals.authorized, 0);
    assert!(claims.authorization.is_none());
    claims.code.clone()
}

#[tokio::test]
async fn an_account_that_is_not_to_be_honored_is_declined_05() {
    assert_eq!(
        code_with("funds = 5000\nstatus = \"do-not-honor\"", 100).await,
        "05"
    );
}

#[tokio::test]
async fn more_than_the_funds_is_declined_51_and_holds_nothing() {
    let place = Place::new();
    place.add_account("tried", PAN, EXPIRY, "funds = 99\nstatus = \"active\"");
    assert_eq!(code_of(&place, 100, card(PAN, EXPIRY)).await, "51");
    assert_eq!(place.held("tried"), 0);
}

#[tokio::test]
async fn a_card_past_its_month_is_declined_54() {
    let place = Place::new();
    place.add_account("tried", PAN, "2020-01", "funds = 5000\nstatus = \"active\"");
    assert_eq!(code_of(&place, 100, card(PAN, "2020-01")).await, "54");
}

#[tokio::test]
async fn more_than_one_purchase_may_cost_is_declined_61() {
    let members = "funds = 5000\nlimit = 99\nstatus = \"active\"";
    assert_eq!(code_with(members, 100).await, "61");
}

#[tokio::test]
async fn a_blocked_account_is_declined_62() {
    assert_eq!(
        code_with("funds = 5000\nstatus = \"blocked\"", 100).await,
        "62"
    );
}

#[tokio::test]
async fn too_many_purchases_in_a_window_are_declined_65() {
    let place = Place::new();
    let members = "funds = 5000\nstatus = \"active\"\nvelocity = { purchases = 1, seconds = 3600 }";
    place.add_account("tried", PAN, EXPIRY, members);
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let first = parties.purchase(euros(100), card(PAN, EXPIRY));
    let answer = authorize(&parties.to_gateway(&gateway), first.bytes()).await;
    let receipt = parties.accept_receipt(&first, &answer.body);
    assert_eq!(receipt.claims().decision, Decision::Approved);

    let second = parties.purchase(euros(100), card(PAN, EXPIRY));
    assert_eq!(declined_code(&parties, &gateway, &second).await, "65");
    assert_eq!(place.held("tried"), 100);
}

#[tokio::test]
async fn an_unknown_card_another_payer_s_card_and_its_own_with_another_month_are_alike() {
    let place = Place::new();
    place.setup(&["client", "--out", "other"]);
    let parties = Parties::of(&place);
    let other = Parties::with(&place, "other", "merchant");
    let gateway = place.start_gateway();
    let merchant = parties.to_gateway(&gateway);

    let mut said = Vec::new();
    for (payer, instrument) in [
        (&parties, card("6011000990139424", EXPIRY)),
        (&parties, card("4111111111111111", "2030-01")),
        // A good certificate of its own, and the first payer's card.
        (&other, parties.card.clone()),
        // Blocked, but not this payer's: it must not show.
        (&other, card("4012888888881881", EXPIRY)),
    ] {
        let purchase = payer.purchase(euros(100), instrument);
        let answer = authorize(&merchant, purchase.bytes()).await;
        let receipt = payer.accept_receipt(&purchase, &answer.body);
        said.push((
            receipt.claims().code.clone(),
            receipt.claims().reason.clone(),
        ));
    }
    assert!(said.iter().all(|(code, _)| code == "57"), "{said:?}");
}

#[tokio::test]
async fn a_certificate_of_the_same_name_with_another_key_does_not_pay() {
    // What a dishonest client CA could issue: the payer's name for a key of somebody else.
    let place = Place::new();
    let victim = place.configured("client/client.toml", "", "name");
    let id = victim.rsplit(':').next().unwrap().to_owned();
    place.setup(&["client", "--out", "thief"]);
    let csr = place.text("thief.csr");
    let output = std::process::Command::new("openssl")
        .args(["req", "-new", "-subj", "/CN=anybody", "-key"])
        .arg(place.path("thief/signing.key"))
        .args(["-out", &csr])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::remove_file(place.path("thief/signing.pem")).unwrap();
    let out = place.text("thief/signing.pem");
    place.setup(&[
        "issue", "--csr", &csr, "--role", "client", "--usage", "signing", "--name", &id, "--out",
        &out,
    ]);
    let thief = Parties::with(&place, "thief", "merchant");
    let gateway = place.start_gateway();
    let purchase = thief.purchase(euros(100), thief.card.clone());
    assert_eq!(declined_code(&thief, &gateway, &purchase).await, "57");
    assert_eq!(place.held("everyday"), 0);
}

#[tokio::test]
async fn a_payer_that_is_declined_too_often_is_made_to_wait() {
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config["limits"]["declines_per_minute"] = 2.into();
    });
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let merchant = parties.to_gateway(&gateway);
    for _ in 0..2 {
        let purchase = parties.purchase(euros(100), card("6011000990139424", EXPIRY));
        assert_eq!(authorize(&merchant, purchase.bytes()).await.status, 200);
    }
    let purchase = parties.purchase(euros(100), parties.card.clone());
    let answer = authorize(&merchant, purchase.bytes()).await;
    assert_eq!(answer.status, 429);
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn many_at_once_are_declined_as_seldom_as_one_after_the_other() {
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config["limits"]["declines_per_minute"] = 1.into();
    });
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let merchant = parties.to_gateway(&gateway);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let purchase = parties.purchase(euros(100), card("6011000990139424", EXPIRY));
        let merchant = merchant.clone();
        running.spawn(async move { authorize(&merchant, purchase.bytes()).await.status });
    }
    let statuses = running.join_all().await;
    let declined = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(declined, 1, "{statuses:?}");
}
