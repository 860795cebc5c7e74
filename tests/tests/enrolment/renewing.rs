//! simplereenroll: the certificate that is shown in TLS is renewed, and no other.

use crate::office::{Office, answer_if_any, certificate_text, openssl};

#[test]
fn each_party_renews_each_certificate_with_the_same_key_or_a_new_one_and_keeps_its_names() {
    let office = Office::open();
    for (label, ca) in [
        ("client", "client-ca"),
        ("merchant-signing", "merchant-ca"),
        ("merchant-tls", "merchant-ca"),
    ] {
        let asked = office.request(label);
        let first = office.enrolled(label, "party", &asked);
        let same = office.reenrol("simplereenroll", &first, &asked.key, &asked.body);
        let same = office.certificate(&format!("{label}-same"), &same);
        let new = office.request(&format!("{label}-new"));
        let path = format!("{label}/simplereenroll");
        let changed = office.reenrol(&path, &same, &asked.key, &new.body);
        let changed = office.certificate(&format!("{label}-changed"), &changed);
        let names = |file: &str| {
            let text = certificate_text(file);
            let (_, rest) = text.split_once("X509v3 Subject Alternative Name").unwrap();
            rest.lines().nth(1).unwrap().to_owned()
        };
        let serial = |file: &str| openssl(&["x509", "-noout", "-serial", "-in", file]);
        for renewed in [&same, &changed] {
            assert_eq!(names(renewed), names(&first));
            assert_ne!(serial(renewed), serial(&first));
            let verdict = office.openssl_verify(renewed, ca);
            assert!(verdict.status.success(), "{verdict:?}");
        }
        let public = openssl(&["x509", "-noout", "-pubkey", "-in", &changed]);
        assert_eq!(public, openssl(&["pkey", "-pubout", "-in", &new.key]));
    }
}

#[test]
fn a_merchant_keeps_the_responder_that_its_invitation_named_for_tls_alone() {
    let office = Office::open();
    let url = "http://ocsp.example:8080/merchants";
    let invite = ["invite", "--role", "merchant", "--name", "shop"];
    let named = ["--dns", "shop.example", "--ocsp", url];
    let secret = String::from_utf8(office.setup(&[&invite[..], &named].concat()).stdout).unwrap();
    let responder = |file: &str| openssl(&["x509", "-noout", "-ocsp_uri", "-in", file]);
    for (label, expected) in [("merchant-tls", url), ("merchant-signing", "")] {
        let asked = office.request(label);
        let path = format!("{label}/simpleenroll");
        let first = office.enrol(&path, "shop", secret.trim(), &asked.body);
        let first = office.certificate(label, &first);
        let renewed = office.reenrol("simplereenroll", &first, &asked.key, &asked.body);
        let renewed = office.certificate(&format!("{label}-renewed"), &renewed);
        for certificate in [&first, &renewed] {
            assert_eq!(responder(certificate).trim(), expected, "{label}");
        }
    }
    for (role, more, reason) in [
        ("client", &["--ocsp", url][..], "leave out --ocsp"),
        (
            "merchant",
            &["--dns", "shop.example", "--ocsp", "https://ocsp.example/"],
            "write http://host[:port]/path",
        ),
    ] {
        let invite = ["invite", "--role", role, "--name", "other"];
        let output = office.try_setup(&[&invite[..], more].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(reason), "{told}");
    }
}

#[test]
fn a_renewal_that_is_sent_again_gets_the_same_certificate_and_a_later_one_another() {
    let office = Office::open();
    let asked = office.request("payer");
    let first = office.enrolled("client", "payer", &asked);
    let renew = |certificate: &str| {
        office.reenrol(
            "client/simplereenroll",
            certificate,
            &asked.key,
            &asked.body,
        )
    };
    let (once, twice) = (renew(&first), renew(&first));
    assert_eq!((once.status, &once.body), (200, &twice.body));
    let renewed = office.certificate("renewed", &once);
    // The same request by the new certificate is another renewal.
    let later = renew(&renewed);
    assert_eq!(later.status, 200);
    assert_ne!(later.body, once.body);
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 3);
}

#[test]
fn without_a_certificate_or_for_another_use_nothing_is_renewed() {
    let office = Office::open();
    let asked = office.request("shop");
    let certificate = office.enrolled("merchant-signing", "shop", &asked);
    let nobody = office.curl(
        "simplereenroll",
        &[
            "--header",
            "Content-Type: application/pkcs10",
            "--data-binary",
            &format!("@{}", asked.body),
        ],
    );
    assert_eq!(nobody.status, 403, "{}", nobody.body);
    assert!(
        nobody.body.contains("show the certificate"),
        "{}",
        nobody.body
    );
    for label in ["merchant-tls", "client", "gateway-signing"] {
        let path = format!("{label}/simplereenroll");
        let other = office.reenrol(&path, &certificate, &asked.key, &asked.body);
        assert_eq!(other.status, 403, "{label}: {}", other.body);
    }
    assert_eq!(office.issued_for("urn:twinseal:merchant:shop"), 1);
}

#[test]
fn a_revoked_certificate_is_not_renewed_from_the_moment_on_that_it_is_revoked() {
    let office = Office::open();
    let asked = office.request("payer");
    let certificate = office.enrolled("client", "payer", &asked);
    let good = office.reenrol("simplereenroll", &certificate, &asked.key, &asked.body);
    assert_eq!(good.status, 200, "{}", good.body);
    office.setup(&["revoke", "--certificate", &certificate]);
    // The listener may not have read the CRL yet; who decides has.
    let mut curl = office.reenrol_command("simplereenroll", &certificate, &asked);
    if let Some(refused) = answer_if_any(curl.spawn().unwrap()) {
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert!(refused.body.contains("revoked"), "{}", refused.body);
    }
    // Once it has, it does not come as far as that.
    office.hears("the CAs and CRLs of the files are in use");
    let mut curl = office.reenrol_command("simplereenroll", &certificate, &asked);
    assert!(answer_if_any(curl.spawn().unwrap()).is_none());
    office.hears("certificate-revoked");
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 2);
}

#[test]
fn once_a_ca_took_another_s_place_it_renews_what_the_former_one_issued() {
    let office = Office::open();
    let (first, second) = (office.request("first"), office.request("second"));
    let former = office.enrolled("client", "first", &first);
    let revoked = office.enrolled("client", "second", &second);
    office.setup(&["ca", "replace", "--role", "client"]);
    let pem = office.print_certs("cas", &office.curl("cacerts", &[]));
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 5, "{pem}");
    let renewed = office.reenrol("simplereenroll", &former, &first.key, &first.body);
    let renewed = office.certificate("renewed", &renewed);
    let issued_by = |file: &str, ca: &str| {
        let issuer = openssl(&["x509", "-noout", "-issuer", "-in", file]);
        assert!(issuer.trim().ends_with(ca), "{issuer}");
    };
    issued_by(&former, "Twinseal client CA");
    issued_by(&renewed, "Twinseal client CA 2");
    let verdict = office.openssl_verify(&renewed, "client-ca-2");
    assert!(verdict.status.success(), "{verdict:?}");
    // The CRL that counts is that of the CA which issued.
    office.setup(&["revoke", "--certificate", &revoked]);
    let mut curl = office.reenrol_command("simplereenroll", &revoked, &second);
    if let Some(refused) = answer_if_any(curl.spawn().unwrap()) {
        assert_eq!(refused.status, 403, "{}", refused.body);
    }
    let journal = office.journal();
    let replaced = journal
        .iter()
        .find(|entry| entry["how"] == "replace")
        .unwrap();
    let (ca, usage) = (&replaced["ca"], &replaced["usage"]);
    assert_eq!((ca, usage), (&"root-ca".into(), &"ca".into()));
}

#[test]
fn a_certificate_of_another_maker_s_ca_renews_nothing() {
    let office = Office::open();
    let (key, certificate) = (office.text("own.key"), office.text("own.pem"));
    openssl(&[
        "req",
        "-x509",
        "-new",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-subj",
        "/CN=client payer",
        "-addext",
        "subjectAltName=URI:urn:twinseal:client:payer",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ]);
    let mut curl = office.curl_command(
        "simplereenroll",
        &["--cert", &certificate, "--key", &key, "--data", "x"],
    );
    let output = curl.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
}

#[test]
fn a_party_that_renews_without_end_is_stopped() {
    let office = Office::open();
    let asked = office.request("payer");
    let certificate = office.enrolled("client", "payer", &asked);
    let statuses: Vec<u16> = (0..21)
        .map(|_| {
            office
                .reenrol("simplereenroll", &certificate, &asked.key, &asked.body)
                .status
        })
        .collect();
    assert_eq!(statuses[..20], [200; 20]);
    assert_eq!(statuses[20], 429);
}

#[test]
fn what_a_stolen_key_was_used_to_get_is_revoked_with_it_and_the_key_is_certified_no_more() {
    let office = Office::open();
    let asked = office.request("payer");
    let first = office.enrolled("client", "payer", &asked);
    let second = office.reenrol("simplereenroll", &first, &asked.key, &asked.body);
    let second = office.certificate("second", &second);
    // Whoever has the key renews with another one.
    let thief = office.request("thief");
    let stolen = office.reenrol("simplereenroll", &first, &asked.key, &thief.body);
    let stolen = office.certificate("stolen", &stolen);
    let further = office.reenrol("simplereenroll", &stolen, &thief.key, &thief.body);
    assert_eq!(further.status, 200, "{}", further.body);
    let told = office.setup(&["revoke", "--certificate", &second]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.matches("revoked ").count(), 4, "{told}");
    office.hears("the CAs and CRLs of the files are in use");
    for (certificate, asked) in [(&first, &asked), (&second, &asked), (&stolen, &thief)] {
        let mut curl = office.reenrol_command("simplereenroll", certificate, asked);
        assert!(answer_if_any(curl.spawn().unwrap()).is_none());
    }
    // Nor by an invitation: the party has to make another key.
    let secret = office.invite("client", "payer");
    for (body, status) in [(&asked.body, 403), (&office.request("new").body, 200)] {
        let answer = office.enrol("client/simpleenroll", "payer", &secret, body);
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[test]
fn revoking_one_certificate_only_leaves_its_key_and_the_others_of_it_good() {
    let office = Office::open();
    let asked = office.request("payer");
    let first = office.enrolled("client", "payer", &asked);
    let second = office.reenrol("simplereenroll", &first, &asked.key, &asked.body);
    let second = office.certificate("second", &second);
    office.setup(&["revoke", "--only", "--certificate", &first]);
    office.hears("the CAs and CRLs of the files are in use");
    let renewed = office.reenrol("simplereenroll", &second, &asked.key, &asked.body);
    assert_eq!(renewed.status, 200, "{}", renewed.body);
}

#[test]
fn a_crl_that_was_put_back_from_before_a_revocation_forgets_nothing_when_it_is_signed_anew() {
    let office = Office::open();
    let asked = office.request("payer");
    let certificate = office.enrolled("client", "payer", &asked);
    let file = office.path("pki/client-ca.crl");
    let before = std::fs::read(&file).unwrap();
    office.setup(&["revoke", "--certificate", &certificate]);
    std::fs::write(&file, before).unwrap();
    office.setup(&["crl"]);
    let serial = openssl(&["x509", "-noout", "-serial", "-in", &certificate]);
    let serial = serial.trim().strip_prefix("serial=").unwrap();
    let crl = openssl(&["crl", "-noout", "-text", "-in", file.to_str().unwrap()]);
    assert!(crl.contains(serial), "{crl}");
}
