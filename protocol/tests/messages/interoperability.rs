//! An independent JOSE and SD-JWT library accepts every message of ours as it is, and we accept
//! every message that it makes.

use protocol::{
    authorization::AuthorizationBody,
    identifiers::{Digest, Xid},
    inquiry::{Inquiry, check_proof},
    json::Version,
    jws::{Received, Verified},
    purchase::{PayersView, PurchaseAnswer, PurchaseRequest},
    receipt::Receipt,
    time::Skew,
};
use serde_json::{Value, json};

use crate::{
    exchange::{
        Exchange, accept_session, approve, authorization_request, bind, card, check_purchase, open,
        open_session, order, random_jti,
    },
    other_library::{disclosed, jws_claims, make_dual_signature, make_jwe, make_jws, open_jwe},
    parties::{MERCHANT, NOW, Parties},
};

fn exchange(parties: &Parties) -> Exchange {
    Exchange::run(parties, &parties.trust(), card())
}

#[test]
fn each_signed_message_verifies_with_the_key_of_its_own_certificate() {
    let parties = Parties::new();
    let exchange = exchange(&parties);
    let (dual_signature, _) = exchange.merchant_half();

    let session = jws_claims(&exchange.session, "twinseal-session+jwt", &parties.merchant);
    assert_eq!(session, json!(exchange.session_claims));
    let signed = jws_claims(dual_signature, "twinseal-ds+sd-jwt", &parties.client);
    assert_eq!(signed, json!(exchange.signed.dual_signature));
    let asked = jws_claims(
        &exchange.authorization.authorization_request,
        "twinseal-authorization+jwt",
        &parties.merchant,
    );
    assert_eq!(asked["dsh"], json!(exchange.signed.dsh));
    let receipt = jws_claims(&exchange.receipt, "twinseal-receipt+jwt", &parties.gateway);
    assert_eq!(receipt["decision"], "approved");
    let answer = jws_claims(
        &exchange.response.purchase_response,
        "twinseal-purchase+jwt",
        &parties.merchant,
    );
    assert_eq!(
        answer["receipt"],
        json!(Digest::of(exchange.receipt.as_bytes()))
    );
}

#[test]
fn the_merchant_s_half_discloses_the_order_and_nothing_of_the_payment() {
    let parties = Parties::new();
    let exchange = exchange(&parties);
    let claims = disclosed(&exchange.signed.request.dual_signature);
    assert_eq!(claims["oi"], json!(exchange.order));
    assert!(!claims.contains_key("pi"));
    assert_eq!(claims["xid"], json!(exchange.signed.dual_signature.xid));
}

#[test]
fn the_gateway_s_half_discloses_the_payment_and_nothing_of_the_order() {
    let parties = Parties::new();
    let exchange = exchange(&parties);
    let jwe = &exchange.signed.request.payment_information;
    let (_, plaintext) = open_jwe(jwe, &parties.gateway_encryption);
    let padded = String::from_utf8(plaintext).unwrap();
    assert_eq!(padded.len() % 512, 0);
    let disclosure = padded.trim_end_matches('~');

    let claims = disclosed(&format!(
        "{}{disclosure}~",
        exchange.authorization.dual_signature
    ));
    assert_eq!(
        claims["pi"],
        json!({
            "xid": exchange.signed.dual_signature.xid,
            "merchant": MERCHANT,
            "instrument": {"type": "card", "pan": "4111111111111111", "expiry": "2031-12"},
        })
    );
    assert!(!claims.contains_key("oi"));
}

#[test]
fn the_sealed_payment_opens_with_the_private_key_and_its_header_is_exact() {
    let parties = Parties::new();
    let exchange = exchange(&parties);
    let jwe = &exchange.signed.request.payment_information;
    let (header, _) = open_jwe(jwe, &parties.gateway_encryption);
    assert_eq!(
        header.agreement_partyvinfo().unwrap(),
        exchange.signed.dsh.as_bytes()
    );
    assert_eq!(
        header.x509_certificate_sha256_thumbprint().unwrap(),
        parties.gateway_encryption.x5t().as_bytes()
    );
    let mut members: Vec<&str> = header.claims_set().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "apv", "enc", "epk", "typ", "x5t#S256"]);
}

/// The payer's claims as its own library would start from them, OI and PI in the open.
fn open_claims(exchange: &Exchange, xid: Xid) -> Value {
    let mut claims = json!(exchange.signed.dual_signature);
    let members = claims.as_object_mut().unwrap();
    members.remove("_sd");
    members.remove("_sd_alg");
    claims["xid"] = json!(xid);
    claims["oi"] = json!(exchange.order);
    claims["pi"] = json!({
        "xid": xid,
        "merchant": MERCHANT,
        "instrument": {"type": "card", "pan": "5500005555555559", "expiry": "2030-01"},
    });
    claims
}

#[test]
fn a_purchase_made_wholly_by_the_other_library_passes_all_our_checks() {
    let parties = Parties::new();
    let trust = parties.trust();
    let ours = exchange(&parties);

    // 2: the merchant's session.
    let session = make_jws(&ours.session_claims, &parties.merchant);
    accept_session(&session, &ours.session_claims, &trust).unwrap();

    // 3: the payer's dual signature and sealed payment.
    let xid = Xid::random().unwrap();
    let dual = make_dual_signature(open_claims(&ours, xid), &parties.client);
    let jwe = make_jwe(&dual.pi, &dual.compact, &parties.gateway_encryption);
    let request = PurchaseRequest {
        dual_signature: format!("{}~{}~", dual.compact, dual.oi),
        payment_information: jwe.clone(),
    };
    let body = serde_json::to_vec(&request).unwrap();
    let verified =
        check_purchase(&body, &parties, &ours.session_claims, &ours.order, &trust).unwrap();

    // 4: the merchant's authorization request.
    let body = AuthorizationBody {
        authorization_request: make_jws(&authorization_request(&verified), &parties.merchant),
        dual_signature: format!("{}~", dual.compact),
        payment_information: jwe,
    };
    let body = serde_json::to_vec(&body).unwrap();
    let opened = open(bind(&body, &parties, &trust).unwrap(), &parties).unwrap();
    assert_eq!(
        opened.payment().information().instrument.last_four(),
        "5559"
    );

    // 5 and 6: the gateway's receipt, and the merchant's answer.
    let receipt = approve(&parties, &opened);
    let receipt: Verified<Receipt> = Received::read(&receipt)
        .unwrap()
        .verify(&trust, NOW)
        .unwrap();
    let receipt = make_jws(receipt.claims(), &parties.gateway);
    let receipt: Verified<Receipt> = Received::read(&receipt)
        .unwrap()
        .verify(&trust, NOW)
        .unwrap();
    let signed = opened.dual_signature().claims();
    let answer = PurchaseAnswer {
        version: Version,
        xid,
        sid: signed.sid,
        nc: signed.nc,
        order: ours.order.order,
        status: receipt.claims().decision,
        receipt: receipt.hash(),
    };
    let answer = make_jws(&answer, &parties.merchant);
    let answer: Verified<PurchaseAnswer> = Received::read(&answer)
        .unwrap()
        .verify(&trust, NOW)
        .unwrap();
    let view = PayersView {
        dual_signature: signed,
        dsh: opened.dual_signature().hash(),
        client_x5t: parties.client.x5t(),
    };
    view.check_receipt(receipt.claims()).unwrap();
    view.check_answer(&answer, ours.order.order, &receipt)
        .unwrap();
}

#[test]
fn both_halves_by_the_other_library_are_of_one_signature() {
    let parties = Parties::new();
    let ours = exchange(&parties);
    let xid = Xid::random().unwrap();
    let dual = make_dual_signature(open_claims(&ours, xid), &parties.client);
    let merchant_half = disclosed(&format!("{}~{}~", dual.compact, dual.oi));
    let gateway_half = disclosed(&format!("{}~{}~", dual.compact, dual.pi));
    assert_eq!(merchant_half["oi"]["order"], json!(ours.order.order));
    assert_eq!(gateway_half["pi"]["xid"], json!(xid));
    assert_eq!(merchant_half["sid"], gateway_half["sid"]);
}

#[test]
fn a_payer_s_proof_is_read_by_the_other_library_and_the_other_s_by_us() {
    let parties = Parties::new();
    let xid = Xid::random().unwrap();
    let claims = Inquiry {
        version: Version,
        jti: random_jti(),
        iat: NOW,
        aud: MERCHANT.parse().unwrap(),
        xid,
    };
    let ours = parties.client.software_key().sign(&claims).unwrap();
    let read = jws_claims(&ours, "twinseal-inquiry+jwt", &parties.client);
    assert_eq!(read, json!(claims));

    let theirs: Verified<Inquiry> = Received::read(&make_jws(&claims, &parties.client))
        .unwrap()
        .verify(&parties.trust(), NOW)
        .unwrap();
    check_proof(&theirs, &claims.aud, xid, Skew::default(), NOW).unwrap();
}

#[test]
fn a_session_by_the_other_library_is_signed_in_by_ours() {
    let parties = Parties::new();
    let trust = parties.trust();
    let order = order();
    let (claims, _) = open_session(&parties, &order);
    let session = make_jws(&claims, &parties.merchant);
    let accepted = accept_session(&session, &claims, &trust).unwrap();
    let signed = protocol::purchase::sign(
        &accepted,
        order.clone(),
        card(),
        &parties.client.software_key(),
        NOW,
    )
    .unwrap();
    let body = serde_json::to_vec(&signed.request).unwrap();
    check_purchase(&body, &parties, &claims, &order, &trust).unwrap();
}
