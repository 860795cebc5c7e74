//! A purchase from end to end, and what the payer makes of the answers it gets.

use protocol::{
    identifiers::Digest,
    jws::{Received, Verified},
    payment_information::Instrument,
    problem::Problem,
    purchase::PurchaseAnswer,
    receipt::{Code, Decision, Receipt},
};

use crate::{
    exchange::{
        Exchange, accept_session, account, bind, card, check_purchase, open, open_session, order,
        sign_receipt,
    },
    parties::{NOW, Parties},
};

fn receipt(exchange: &Exchange, parties: &Parties) -> Verified<Receipt> {
    Received::read(&exchange.receipt)
        .unwrap()
        .verify(&parties.trust(), NOW)
        .unwrap()
}

#[test]
fn a_purchase_goes_from_nonce_to_receipt_and_the_payer_accepts_it() {
    let parties = Parties::new();
    let trust = parties.trust();
    for instrument in [card(), account()] {
        let exchange = Exchange::run(&parties, &trust, instrument);
        let receipt = receipt(&exchange, &parties);
        let answer: Verified<PurchaseAnswer> = Received::read(&exchange.response.purchase_response)
            .unwrap()
            .verify(&trust, NOW)
            .unwrap();
        let view = exchange.payers_view();
        view.check_receipt(receipt.claims()).unwrap();
        view.check_answer(&answer, exchange.order.order, &receipt)
            .unwrap();
        assert_eq!(receipt.claims().decision, Decision::Approved);
    }
}

#[test]
fn the_gateway_opens_what_the_payer_sealed_and_never_sees_the_order() {
    let parties = Parties::new();
    let trust = parties.trust();
    let exchange = Exchange::run(&parties, &trust, card());
    let body = serde_json::to_vec(&exchange.authorization).unwrap();
    let opened = open(bind(&body, &parties, &trust).unwrap(), &parties).unwrap();
    assert!(opened.payment().information().instrument == card());

    let (_, order_disclosure) = exchange.merchant_half();
    assert!(!String::from_utf8(body).unwrap().contains(order_disclosure));
    let seen_by_merchant = String::from_utf8(exchange.purchase_body).unwrap();
    assert!(!seen_by_merchant.contains(opened.payment().disclosure_text()));
}

#[test]
fn a_shared_secret_of_another_key_opens_nothing() {
    let parties = Parties::new();
    let trust = parties.trust();
    let exchange = Exchange::run(&parties, &trust, card());
    let body = serde_json::to_vec(&exchange.authorization).unwrap();
    let refusal = bind(&body, &parties, &trust).unwrap().open(&[7; 32]).err();
    assert_eq!(refusal.unwrap().problem, Problem::PaymentInformationInvalid);
}

#[test]
fn a_receipt_that_differs_in_any_member_is_not_this_purchase_s() {
    let parties = Parties::new();
    let trust = parties.trust();
    let exchange = Exchange::run(&parties, &trust, card());
    let other = Exchange::run(&parties, &trust, card());
    let good = receipt(&exchange, &parties).claims().clone();
    let foreign = receipt(&other, &parties).claims().clone();
    let changed = |change: &dyn Fn(&mut Receipt)| {
        let mut claims = good.clone();
        change(&mut claims);
        exchange
            .payers_view()
            .check_receipt(&claims)
            .unwrap_err()
            .problem
    };
    let other_gateway = "urn:twinseal:gateway:second";
    let other_merchant = "urn:twinseal:merchant:record-store";
    for (change, expected) in [
        (
            &(|claims: &mut Receipt| claims.xid = foreign.xid) as &dyn Fn(&mut Receipt),
            Problem::ChallengeMismatch,
        ),
        (
            &|claims| claims.sid = foreign.sid,
            Problem::ChallengeMismatch,
        ),
        (&|claims| claims.nc = foreign.nc, Problem::ChallengeMismatch),
        (&|claims| claims.nm = foreign.nm, Problem::ChallengeMismatch),
        (
            &|claims| claims.dsh = foreign.dsh,
            Problem::SignatureInvalid,
        ),
        (
            &|claims| claims.client = parties.other_client.x5t(),
            Problem::SignatureInvalid,
        ),
        (
            &|claims| claims.gateway = other_gateway.parse().unwrap(),
            Problem::GatewayMismatch,
        ),
        (
            &|claims| claims.merchant = other_merchant.parse().unwrap(),
            Problem::MerchantMismatch,
        ),
    ] {
        assert_eq!(changed(change), expected);
    }
}

#[test]
fn a_merchant_that_reports_success_on_a_declined_receipt_is_not_believed() {
    let parties = Parties::new();
    let trust = parties.trust();
    let exchange = Exchange::run(&parties, &trust, card());
    let mut claims = receipt(&exchange, &parties).claims().clone();
    claims.decision = Decision::Declined;
    claims.code = Code::InsufficientFunds.digits().to_owned();
    claims.reason = Code::InsufficientFunds.reason().to_owned();
    claims.authorization = None;
    claims.capture_before = None;
    claims.totals.authorized = 0;
    let declined = sign_receipt(&parties.gateway, &claims);
    let declined: Verified<Receipt> = Received::read(&declined)
        .unwrap()
        .verify(&trust, NOW)
        .unwrap();

    let said: Verified<PurchaseAnswer> = Received::read(&exchange.response.purchase_response)
        .unwrap()
        .verify(&trust, NOW)
        .unwrap();
    let lie = PurchaseAnswer {
        receipt: declined.hash(),
        ..said.claims().clone()
    };
    let lie = parties.merchant.software_key().sign(&lie).unwrap();
    let lie: Verified<PurchaseAnswer> = Received::read(&lie).unwrap().verify(&trust, NOW).unwrap();
    for answer in [said, lie] {
        let refusal = exchange
            .payers_view()
            .check_answer(&answer, exchange.order.order, &declined)
            .unwrap_err();
        assert_eq!(refusal.problem, Problem::SignatureInvalid);
    }
}

#[test]
fn a_signed_purchase_holds_in_its_own_session_only() {
    let parties = Parties::new();
    let trust = parties.trust();
    let exchange = Exchange::run(&parties, &trust, card());
    let (second_session, compact) = open_session(&parties, &exchange.order);
    accept_session(&compact, &second_session, &trust).unwrap();
    let refusal = check_purchase(
        &exchange.purchase_body,
        &parties,
        &second_session,
        &exchange.order,
        &trust,
    )
    .err()
    .unwrap();
    assert_eq!(refusal.problem, Problem::ChallengeMismatch);
}

#[test]
fn the_same_order_paid_twice_with_one_card_shows_no_digest_twice() {
    let parties = Parties::new();
    let trust = parties.trust();
    let instrument: fn() -> Instrument = card;
    let digests = |exchange: &Exchange| -> Vec<String> {
        let claims = serde_json::to_value(&exchange.signed.dual_signature).unwrap();
        serde_json::from_value(claims["_sd"].clone()).unwrap()
    };
    let one = Exchange::run(&parties, &trust, instrument());
    let other = Exchange::run(&parties, &trust, instrument());
    assert!(
        digests(&one)
            .iter()
            .all(|digest| !digests(&other).contains(digest))
    );
    assert_ne!(
        Digest::of(one.signed.request.payment_information.as_bytes()),
        Digest::of(other.signed.request.payment_information.as_bytes())
    );
    // What differs is the salt: orders are drawn anew, the card is the same.
    assert!(order().order != one.order.order);
}
