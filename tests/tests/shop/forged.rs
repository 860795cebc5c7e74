//! Purchases that are forged, or made for something else: each is refused by its name, and the victim's
//! session is as good as before.

use protocol::{
    dual_signature::DualSignature,
    encoding,
    identifiers::{ClientNonce, Digest, MerchantNonce, Sid},
    jws::Message,
    money::Amount,
    names::{GatewayName, MerchantName, Role},
    order_information::{OrderInformation, Quantity},
    problem::Problem,
    purchase::PurchaseRequest,
};
use serde_json::Value;
use twinseal_tests::{
    parties::{Parties, currency, euros},
    place::Place,
    shopper::with_other_order,
};

use crate::scene::Scene;

/// A change to what is bought and signed.
type Change = fn(&mut OrderInformation, &mut DualSignature);

/// A change to any member.
type AnyChange = fn(&mut Value);

/// A dual signature with whatever members.
#[derive(serde::Serialize, serde::Deserialize)]
struct AnySignature(Value);

impl Message for AnySignature {
    const TYP: &'static str = DualSignature::TYP;
    const SIGNER: Role = Role::Client;
}

#[tokio::test]
async fn what_was_signed_for_something_else_is_refused_by_its_name() {
    let scene = Scene::new();
    let opened = scene.shop().await;
    let now = mtls::now();
    let cases: [(Change, Problem); 13] = [
        (
            |_, signed| signed.sid = Sid::random().unwrap(),
            Problem::SessionUnknown,
        ),
        (
            |_, signed| signed.nc = ClientNonce::random().unwrap(),
            Problem::ChallengeMismatch,
        ),
        (
            |_, signed| signed.nm = MerchantNonce::random().unwrap(),
            Problem::ChallengeMismatch,
        ),
        (
            |_, signed| signed.merchant.id = MerchantName::new("rival").unwrap(),
            Problem::MerchantMismatch,
        ),
        (
            |_, signed| signed.merchant.x5t = Digest::of(b"another certificate"),
            Problem::MerchantMismatch,
        ),
        (
            |_, signed| signed.amount = euros(1249),
            Problem::AmountMismatch,
        ),
        (
            |_, signed| signed.amount = Amount::new(1250, currency("KWD")).unwrap(),
            Problem::AmountMismatch,
        ),
        (
            |_, signed| signed.gateway.id = GatewayName::new("other").unwrap(),
            Problem::GatewayMismatch,
        ),
        (
            |_, signed| signed.gateway.x5t = Digest::of(b"another certificate"),
            Problem::GatewayMismatch,
        ),
        (
            |order, _| order.items[0].quantity = Quantity::new(2).unwrap(),
            Problem::OrderMismatch,
        ),
        (
            |order, _| order.delivery = Some("13 Long Lane".to_owned()),
            Problem::OrderMismatch,
        ),
        (
            |_, signed| {
                signed.iat = signed.iat.minus(200);
                signed.exp = signed.iat.plus(100);
            },
            Problem::Expired,
        ),
        (
            |_, signed| {
                signed.iat = signed.iat.plus(120);
                signed.exp = signed.iat.plus(300);
            },
            Problem::NotYetValid,
        ),
    ];
    for (change, expected) in cases {
        let request = opened.sign_changed(&scene.parties, &scene.parties.client_key, change);
        assert_eq!(scene.refused(&request).await, expected);
    }
    assert!(
        mtls::now().0 - now.0 < 100,
        "the times above still meant something"
    );
    scene.approves(&opened.sign(&scene.parties)).await;
}

#[tokio::test]
async fn another_version_and_further_members_of_a_dual_signature_are_refused() {
    let scene = Scene::new();
    let opened = scene.shop().await;
    let signed = opened.sign(&scene.parties);
    let claims = serde_json::to_value(&signed.dual_signature).unwrap();
    let (_, disclosure) = signed.request.dual_signature.split_once('~').unwrap();
    let changed = |change: AnyChange| {
        let mut claims = claims.clone();
        change(&mut claims);
        let compact = scene
            .parties
            .client_key
            .sign(&AnySignature(claims))
            .unwrap();
        PurchaseRequest {
            dual_signature: format!("{compact}~{disclosure}"),
            payment_information: signed.request.payment_information.clone(),
        }
    };
    let cases: [(AnyChange, Problem); 6] = [
        (
            |claims| {
                claims["version"] = 2.into();
                claims["new"] = true.into();
            },
            Problem::UnsupportedVersion,
        ),
        (|claims| claims["more"] = 1.into(), Problem::Malformed),
        (
            |claims| claims["amount"]["value"] = 1250.5.into(),
            Problem::Malformed,
        ),
        (
            |claims| claims["amount"]["value"] = (-1250).into(),
            Problem::Malformed,
        ),
        (
            |claims| claims["_sd"].as_array_mut().unwrap().reverse(),
            Problem::Malformed,
        ),
        (
            |claims| {
                let first = claims["_sd"][0].clone();
                claims["_sd"].as_array_mut().unwrap().push(first);
            },
            Problem::Malformed,
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(scene.refused(&changed(change)).await, expected);
    }
    scene.approves(&signed).await;
}

#[tokio::test]
async fn a_forged_request_with_a_victim_s_session_and_nonces_does_not_burn_the_session() {
    let place = Place::new();
    let strangers = Place::new();
    for directory in ["other", "revoked"] {
        place.setup(&["client", "--out", directory]);
    }
    place.setup(&[
        "revoke",
        "--certificate",
        &place.text("revoked/signing.pem"),
    ]);
    let revoked = Parties::with(&place, "revoked", "merchant");
    let other = Parties::with(&place, "other", "merchant");
    let strangers = Parties::of(&strangers);
    let scene = Scene::of(place);
    let parties = &scene.parties;
    let opened = scene.shop().await;
    let signed = opened.sign(parties);

    for (key, expected) in [
        (&strangers.client_key, Problem::CertificateUntrusted),
        (&revoked.client_key, Problem::CertificateRevoked),
        (&parties.merchant_key, Problem::RoleMismatch),
    ] {
        let forged = opened.sign_changed(parties, key, |_, _| {});
        assert_eq!(scene.refused(&forged).await, expected);
    }

    // The victim's own request, seen on its way, with another signature, and with another's payment.
    let mut tampered = signed.request.clone();
    let (compact, disclosure) = tampered.dual_signature.split_once('~').unwrap();
    let at = compact.len() - 20;
    let flipped = if &compact[at..=at] == "A" { "B" } else { "A" };
    tampered.dual_signature = format!(
        "{}{flipped}{}~{disclosure}",
        &compact[..at],
        &compact[at + 1..]
    );
    assert_eq!(scene.refused(&tampered).await, Problem::SignatureInvalid);
    let other_payment = PurchaseRequest {
        payment_information: opened.sign(&other).request.payment_information,
        ..signed.request.clone()
    };
    assert_eq!(
        scene.refused(&other_payment).await,
        Problem::PaymentInformationInvalid
    );
    scene.approves(&signed).await;
}

#[tokio::test]
async fn another_order_under_the_same_signature_is_refused() {
    let scene = Scene::new();
    let opened = scene.shop().await;
    let signed = opened.sign(&scene.parties);
    let mut other = opened.order.clone();
    other.items[0].name = "Another novel".to_owned();
    let request = with_other_order(&signed.request, &other);
    assert_eq!(scene.refused(&request).await, Problem::OrderMismatch);
    // The same order with another salt is another disclosure.
    let salted = with_other_order(&signed.request, &opened.order);
    assert_eq!(scene.refused(&salted).await, Problem::OrderMismatch);
    scene.approves(&signed).await;
}

#[tokio::test]
async fn a_sealed_payment_that_does_not_fit_is_refused_without_asking_the_gateway() {
    let scene = Scene::new();
    let parties = &scene.parties;
    let opened = scene.shop().await;
    let signed = opened.sign(parties);
    let card = || parties.card.clone();
    let other_certificate = opened.seal_changed(&signed, card(), |_, x5t| {
        *x5t = Digest::of(b"another certificate");
    });
    assert_eq!(
        scene.refused(&other_certificate).await,
        Problem::GatewayMismatch
    );
    let other_signature = opened.seal_changed(&signed, card(), |dsh, _| {
        *dsh = Digest::of(b"another signature");
    });
    let mut bad = vec![
        other_signature.payment_information,
        "x".to_owned(),
        "a.b.c.d.e".to_owned(),
    ];
    bad.extend(other_headers(&signed.request.payment_information));
    for payment_information in bad {
        let request = PurchaseRequest {
            payment_information,
            ..signed.request.clone()
        };
        assert_eq!(
            scene.refused(&request).await,
            Problem::PaymentInformationInvalid
        );
    }
    let was_asked = || {
        scene
            .gateway
            .log()
            .contains("\"path\":\"/v1/authorizations\"")
    };
    assert!(!was_asked());
    scene.approves(&signed).await;
    assert!(was_asked(), "the log tells it");
}

/// The JWE with an ephemeral key off the curve, on another one, at infinity, with a private part; and
/// with compression.
fn other_headers(compact: &str) -> Vec<String> {
    let (header, rest) = compact.split_once('.').unwrap();
    let header: Value =
        serde_json::from_slice(&encoding::base64url_decode(header).unwrap()).unwrap();
    let changes: [fn(&mut Value); 5] = [
        |header| header["epk"]["y"] = header["epk"]["x"].clone(),
        |header| header["epk"]["crv"] = "P-384".into(),
        |header| {
            let zero = encoding::base64url(&[0; 32]);
            header["epk"]["x"] = zero.clone().into();
            header["epk"]["y"] = zero.into();
        },
        |header| header["epk"]["d"] = header["epk"]["x"].clone(),
        |header| header["zip"] = "DEF".into(),
    ];
    changes
        .iter()
        .map(|change| {
            let mut changed = header.clone();
            change(&mut changed);
            let text = serde_json::to_vec(&changed).unwrap();
            format!("{}.{rest}", encoding::base64url(&text))
        })
        .collect()
}
