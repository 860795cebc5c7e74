//! What the service refuses: it says what was wrong with the request, and no more.

use std::fs;

use crate::office::{Answer, Office};

fn refusal(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.media_type, "text/plain; charset=utf-8");
    assert!(answer.body.contains(text), "{}", answer.body);
}

#[test]
fn requests_that_are_none_or_of_other_keys_are_refused_and_use_up_nothing() {
    let office = Office::open();
    let secret = office.invite("client", "payer");
    let good = office.request("good");
    let der = fs::read(office.path("good.der")).unwrap();
    let mut forged = der.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut longer = der.clone();
    longer.push(0);
    let curve =
        |curve: &'static str, hash: &'static str| vec!["-newkey", "ec", "-pkeyopt", curve, hash];
    let p384 = office.request_of("p384", &curve("ec_paramgen_curve:P-384", "-sha384"));
    let p384_short = office.request_of("short", &curve("ec_paramgen_curve:P-384", "-sha256"));
    let sha384 = office.request_of("sha384", &curve("ec_paramgen_curve:P-256", "-sha384"));
    let rsa = office.request_of("rsa", &["-newkey", "rsa:2048"]);
    let pem = office.text("not-base64");
    fs::write(&pem, "-----BEGIN CERTIFICATE REQUEST-----").unwrap();
    let empty = office.text("empty");
    fs::write(&empty, "").unwrap();
    let bodies = [
        (pem, "not base64"),
        (empty, "not one PKCS#10 request"),
        (
            office.encoded("cut", &der[..der.len() - 1]),
            "not one PKCS#10 request",
        ),
        (office.encoded("longer", &longer), "not one PKCS#10 request"),
        (
            office.encoded("zeros", &[0; 300]),
            "not one PKCS#10 request",
        ),
        (
            office.encoded("forged", &forged),
            "signature is not the key's",
        ),
        (rsa.body, "not of P-256"),
        (p384.body, "not of P-256"),
        (p384_short.body, "not of P-256"),
        (sha384.body, "not signed with ecdsa-with-SHA256"),
    ];
    for (body, told) in bodies {
        let answer = office.enrol("client/simpleenroll", "payer", &secret, &body);
        refusal(&answer, 400, told);
    }
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 0);
    let answer = office.enrol("client/simpleenroll", "payer", &secret, &good.body);
    office.certificate("good", &answer);
}

#[test]
fn a_body_above_16_kib_of_another_type_or_at_another_place_is_refused() {
    let office = Office::open();
    let secret = office.invite("client", "payer");
    let large = office.encoded("large", &[7; 13_000]);
    let user = format!("payer:{secret}");
    refusal(
        &office.enrol("simpleenroll", "payer", &secret, &large),
        413,
        "too large",
    );
    let body = format!("@{}", office.request("good").body);
    let json = ["--user", &user, "--json", &body];
    refusal(
        &office.curl("simpleenroll", &json),
        415,
        "application/pkcs10",
    );
    for path in [
        "serverkeygen",
        "other/simpleenroll",
        "",
        "client/client/cacerts",
    ] {
        refusal(&office.curl(path, &[]), 404, "nothing here");
    }
    refusal(&office.curl("simpleenroll", &[]), 405, "method");
    refusal(&office.curl("cacerts", &["--data", "x"]), 405, "method");
}

#[test]
fn what_one_is_not_invited_to_is_refused_and_a_merchant_has_to_say_what_it_wants() {
    let office = Office::open();
    let secret = office.invite("merchant", "shop");
    let asked = office.request("shop");
    let answer = office.enrol("simpleenroll", "shop", &secret, &asked.body);
    refusal(&answer, 400, "merchant-signing, merchant-tls");
    // An invitation of a role says nothing of others.
    for label in ["client", "gateway-tls", "gateway-signing"] {
        let answer = office.enrol(
            &format!("{label}/simpleenroll"),
            "shop",
            &secret,
            &asked.body,
        );
        assert_eq!(answer.status, 401, "{}", answer.body);
    }
    let whole = "urn:twinseal:merchant:shop";
    let answer = office.enrol("client/simpleenroll", whole, &secret, &asked.body);
    refusal(&answer, 403, "not what you are invited to");
    assert_eq!(office.issued_for(whole), 0);
}

#[test]
fn a_key_of_somebody_else_or_for_another_use_is_certified_for_nobody() {
    let office = Office::open();
    let asked = office.request("first");
    office.enrolled("merchant-signing", "shop", &asked);
    let secret = office.invite("merchant", "shop");
    let other_use = office.enrol("merchant-tls/simpleenroll", "shop", &secret, &asked.body);
    refusal(&other_use, 403, "certified for another party or use");
    let secret = office.invite("client", "payer");
    let other_party = office.enrol("simpleenroll", "payer", &secret, &asked.body);
    refusal(&other_party, 403, "certified for another party or use");
    // Also when the request is another one, and the key one that `init` had certified.
    let payers = office.request_for("again", &office.text("client/signing.key"));
    let provisioned = office.enrol("simpleenroll", "payer", &secret, &payers.body);
    refusal(&provisioned, 403, "certified for another party or use");
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 0);
}
