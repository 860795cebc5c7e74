//! Shops that lie to the payer's terminal: it stops before it signs, or takes the gateway's word.

use protocol::{
    dual_signature::DualSignature,
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, OrderId},
    json::Version,
    names::{GatewayName, MerchantName},
    receipt::{Action, Code, Decision, Receipt, Totals},
    session::{OfferedGateway, Session},
};
use twinseal_tests::{
    parties::{Parties, euros, signing_key},
    place::Place,
    service::Service,
};

use crate::{
    fake_shop::{FakeShop, Message2, Message6},
    scene::{Shown, buy_at, purchase_files, terminal},
};

/// What the terminal says to a shop that lies in message 2.
fn stopped_by(place: &Place, lie: Message2) -> String {
    let shop = FakeShop::lying_in_message_2(Parties::of(place), lie);
    let bought = buy_at(place, &shop.url(), &[]);
    assert_eq!(bought.exit, 5, "{}", bought.said);
    assert_eq!(bought.object["outcome"], "stopped");
    assert_eq!(purchase_files(place), 0, "nothing was signed");
    bought.object["problem"].as_str().unwrap().to_owned()
}

#[test]
fn a_session_that_another_shop_signed_is_not_signed_in() {
    let place = Place::new();
    // A real merchant of the same CA, certified for its own host: its session is relayed.
    place.certify(
        "rival",
        &[
            "--role",
            "merchant",
            "--usage",
            "signing",
            "--name",
            "rival",
            "--dns",
            "rival.example",
        ],
    );
    let rival = signing_key(&place, "rival");
    let relayed: Message2 = Box::new(move |_, mut session| {
        session.merchant.id = MerchantName::new("rival").unwrap();
        rival.sign(&session).unwrap()
    });
    assert_eq!(stopped_by(&place, relayed), "merchant-mismatch");
}

#[test]
fn a_session_about_something_else_is_not_signed_in() {
    let place = Place::new();
    place.certify(
        "elsewhere",
        &[
            "--role",
            "gateway",
            "--usage",
            "encryption",
            "--name",
            "elsewhere",
        ],
    );
    let elsewhere = mtls::pem::certificates(&place.path("elsewhere/signing.pem")).unwrap();
    let elsewhere = OfferedGateway::new(GatewayName::new("elsewhere").unwrap(), &elsewhere);
    type Lie = Box<dyn Fn(&mut Session) + Send + Sync>;
    let lies: [(Lie, &str); 7] = [
        (
            Box::new(|session| session.nc = ClientNonce::random().unwrap()),
            "challenge-mismatch",
        ),
        (
            Box::new(|session| session.amount = euros(1251)),
            "amount-mismatch",
        ),
        (
            Box::new(|session| session.order = OrderId::random().unwrap()),
            "order-mismatch",
        ),
        (
            Box::new(|session| {
                session.iat = session.iat.minus(400);
                session.exp = session.iat.plus(300);
            }),
            "expired",
        ),
        (
            Box::new(|session| {
                session.iat = session.iat.plus(120);
                session.exp = session.iat.plus(300);
            }),
            "not-yet-valid",
        ),
        (
            Box::new(move |session| session.gateway = elsewhere.clone()),
            "gateway-mismatch",
        ),
        (Box::new(|session| session.gateway.x5c.clear()), "malformed"),
    ];
    for (lie, problem) in lies {
        let told: Message2 = Box::new(move |parties, mut session| {
            lie(&mut session);
            parties.merchant_key.sign(&session).unwrap()
        });
        assert_eq!(stopped_by(&place, told), problem);
    }
    // Its own key, of a certificate that seals nothing.
    let own: Message2 = Box::new(|parties, mut session| {
        session.gateway =
            OfferedGateway::new(parties.gateway.clone(), parties.merchant_key.chain());
        parties.merchant_key.sign(&session).unwrap()
    });
    assert_eq!(stopped_by(&place, own), "role-mismatch");
}

/// A gateway that runs, and what the terminal comes to at a shop that lies in message 6.
fn bought_from(arguments: &[&str], lie: Message6) -> (Place, Service, Shown) {
    let place = Place::new();
    let gateway = place.start_gateway();
    let parties = Parties::of(&place);
    let to_gateway = parties.to_gateway(&gateway);
    let shop = FakeShop::lying_in_message_6(parties, to_gateway, lie);
    let bought = buy_at(&place, &shop.url(), arguments);
    assert_eq!(purchase_files(&place), 1);
    (place, gateway, bought)
}

#[test]
fn a_shop_that_hides_an_approval_hides_it_from_nobody() {
    let (place, _gateway, bought) = bought_from(&[], |shop, signed| {
        Box::pin(async move {
            shop.ask_gateway(&signed).await;
            None
        })
    });
    assert_eq!(bought.exit, 0, "{}", bought.said);
    assert_eq!(bought.object["outcome"], "approved");
    assert!(
        bought.said.contains("asking the gateway itself"),
        "{}",
        bought.said
    );
    assert_eq!(place.held("everyday"), 1250);
}

#[test]
fn a_forged_receipt_confirms_nothing_and_can_t_hide_the_real_one() {
    let forged: Message6 = |shop, signed| {
        Box::pin(async move {
            let receipt = forged_receipt(&shop.parties, &signed.dual_signature, signed.dsh);
            Some(shop.says_approved(&signed, receipt))
        })
    };
    let (place, _gateway, bought) = bought_from(&[], forged);
    assert_eq!(bought.exit, 4, "{}", bought.said);
    assert_eq!(bought.object["outcome"], "unconfirmed");
    assert_eq!(bought.object["problems"][0], "role-mismatch");
    assert_eq!(place.held("everyday"), 0);
    let xid = bought.object["xid"].as_str().unwrap();
    assert_eq!(terminal(&place, &["show", xid, "--refresh"]).exit, 4);

    let (place, _gateway, bought) = bought_from(&[], |shop, signed| {
        Box::pin(async move {
            shop.ask_gateway(&signed).await;
            let receipt = forged_receipt(&shop.parties, &signed.dual_signature, signed.dsh);
            Some(shop.says_approved(&signed, receipt))
        })
    });
    assert_eq!(bought.exit, 0, "{}", bought.said);
    assert_eq!(place.held("everyday"), 1250);
}

/// An approval by the merchant in the gateway's place.
fn forged_receipt(parties: &Parties, signed: &DualSignature, dsh: Digest) -> String {
    let now = mtls::now();
    let claims = Receipt {
        version: Version,
        jti: Jti::random().unwrap(),
        iat: now,
        action: Action::Authorization,
        gateway: signed.gateway.id.clone(),
        merchant: signed.merchant.id.clone(),
        client: Digest::of(&parties.client_key.chain()[0]),
        xid: signed.xid,
        sid: signed.sid,
        nc: signed.nc,
        nm: signed.nm,
        dsh,
        reqh: dsh,
        target: None,
        decision: Decision::Approved,
        code: Code::Approved.digits().to_owned(),
        reason: Code::Approved.reason().to_owned(),
        amount: signed.amount,
        totals: Totals {
            authorized: signed.amount.value(),
            ..Totals::default()
        },
        authorization: Some(AuthorizationId::random().unwrap()),
        capture_before: Some(now.plus(100)),
    };
    parties.merchant_key.sign(&claims).unwrap()
}

#[test]
fn a_receipt_of_another_purchase_confirms_nothing() {
    let (place, _gateway, bought) = bought_from(&[], |shop, signed| {
        Box::pin(async move {
            let other = shop
                .parties
                .purchase(euros(1250), shop.parties.card.clone());
            let receipt = shop.ask_gateway(&other.signed).await;
            Some(shop.says_approved(&signed, receipt))
        })
    });
    assert_eq!(bought.exit, 4, "{}", bought.said);
    assert_eq!(bought.object["problems"][0], "challenge-mismatch");
    assert_eq!(place.held("everyday"), 1250, "the other one");
}

#[test]
fn a_decline_that_the_shop_calls_an_approval_is_a_decline() {
    let (place, _gateway, bought) = bought_from(&["--with", "thin"], |shop, signed| {
        Box::pin(async move {
            let receipt = shop.ask_gateway(&signed).await;
            Some(shop.says_approved(&signed, receipt))
        })
    });
    assert_eq!(bought.exit, 3, "{}", bought.said);
    assert_eq!(bought.object["outcome"], "declined");
    assert_eq!(bought.object["code"], "51");
    assert!(
        bought.said.contains("the shop's answer does not hold"),
        "{}",
        bought.said
    );
    assert_eq!(place.held("thin"), 0);
}
