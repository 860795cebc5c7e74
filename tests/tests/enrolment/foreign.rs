//! Clients of other makers enrol: curl asks, OpenSSL makes requests and reads answers, GnuTLS judges chains and CRLs.

use std::{fs, process::Command};

use crate::office::{Office, certificate_text, openssl};

#[test]
fn openssl_reads_the_cas_of_cacerts_and_they_are_the_provisioned_ones() {
    let office = Office::open();
    for path in ["cacerts", "merchant-tls/cacerts"] {
        let answer = office.curl(path, &[]);
        assert_eq!(
            (answer.status, &*answer.media_type),
            (200, "application/pkcs7-mime")
        );
        let pem = office.print_certs("cas", &answer);
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 4, "{pem}");
        for ca in ["root", "client-ca", "merchant-ca", "gateway-ca"] {
            let file = fs::read_to_string(office.path(&format!("pki/{ca}.pem"))).unwrap();
            let base64 = |text: &str| -> String {
                let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----").unwrap();
                let (inner, _) = rest.split_once("-----END").unwrap();
                inner.split_whitespace().collect()
            };
            let joined: String = pem.split_whitespace().collect();
            assert!(joined.contains(&base64(&file)), "{ca}");
        }
    }
}

#[test]
fn csrattrs_asks_for_a_key_on_p_256_and_ecdsa_with_sha_256() {
    let office = Office::open();
    let answer = office.curl("csrattrs", &[]);
    assert_eq!(
        (answer.status, &*answer.media_type),
        (200, "application/csrattrs")
    );
    let (body, der) = (office.text("attrs.b64"), office.text("attrs.der"));
    fs::write(&body, answer.body).unwrap();
    openssl(&["base64", "-d", "-in", &body, "-out", &der]);
    let text = openssl(&["asn1parse", "-inform", "DER", "-in", &der]);
    for part in [":id-ecPublicKey", ":prime256v1", ":ecdsa-with-SHA256"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_merchant_gets_both_its_certificates_with_one_secret_and_the_account_s_names() {
    let office = Office::open();
    let secret = office.invite("merchant", "shop");
    for (label, names, extended) in [
        (
            "merchant-signing",
            "URI:urn:twinseal:merchant:shop, DNS:shop.example, DNS:localhost\n",
            "1.3.6.1.5.5.7.3.36",
        ),
        (
            "merchant-tls",
            "URI:urn:twinseal:merchant:shop, DNS:shop.example, DNS:localhost, IP Address:127.0.0.1\n",
            "TLS Web Server Authentication, TLS Web Client Authentication",
        ),
    ] {
        let asked = office.request(label);
        let path = format!("{label}/simpleenroll");
        let answer = office.enrol(&path, "shop", &secret, &asked.body);
        let certificate = office.certificate(label, &answer);
        let text = certificate_text(&certificate);
        assert!(text.contains(names), "{text}");
        // OpenSSL 3.2 learned the name.
        let text = text.replace("Document Signing", "1.3.6.1.5.5.7.3.36");
        assert!(text.contains(extended), "{text}");
        for other in ["somebody else", "other.example", "gateway"] {
            assert!(!text.contains(other), "{text}");
        }
        let key = openssl(&["pkey", "-pubout", "-in", &asked.key]);
        assert_eq!(
            openssl(&["x509", "-noout", "-pubkey", "-in", &certificate]),
            key
        );
        let verdict = office.openssl_verify(&certificate, "merchant-ca");
        assert!(verdict.status.success(), "{verdict:?}");
    }
    assert_eq!(office.issued_for("urn:twinseal:merchant:shop"), 2);
}

#[test]
fn a_client_needs_no_label_and_may_give_its_whole_name() {
    let office = Office::open_with(&["--days", "30"]);
    let secret = office.invite("client", "payer-1");
    let asked = office.request("payer");
    let answer = office.enrol(
        "simpleenroll",
        "urn:twinseal:client:payer-1",
        &secret,
        &asked.body,
    );
    let certificate = office.certificate("payer", &answer);
    let verdict = office.openssl_verify(&certificate, "client-ca");
    assert!(verdict.status.success(), "{verdict:?}");
    let lasts = |seconds: u32| {
        let seconds = seconds.to_string();
        Command::new("openssl")
            .args(["x509", "-noout", "-checkend", &seconds, "-in", &certificate])
            .status()
            .unwrap()
            .success()
    };
    assert!(lasts(29 * 86_400) && !lasts(30 * 86_400 + 60));
}

#[test]
fn gnutls_takes_chains_and_crls_and_refuses_what_is_revoked() {
    let office = Office::open();
    let asked = office.request("payer");
    let certificate = office.enrolled("client", "payer-1", &asked);
    let chain = office.text("chain.pem");
    let parts = [certificate.clone(), office.text("pki/client-ca.pem")];
    let pem: String = parts.map(|file| fs::read_to_string(file).unwrap()).concat();
    fs::write(&chain, pem).unwrap();
    let certtool = || {
        Command::new("certtool")
            .args([
                "--verify",
                "--verify-profile",
                "high",
                "--load-ca-certificate",
            ])
            .arg(office.path("pki/root.pem"))
            .arg("--load-crl")
            .arg(office.path("pki/client-ca.crl"))
            .arg("--infile")
            .arg(&chain)
            .output()
            .unwrap()
    };
    let verdict = certtool();
    assert!(verdict.status.success(), "{verdict:?}");
    office.setup(&["revoke", "--certificate", &certificate]);
    let verdict = certtool();
    assert!(!verdict.status.success(), "{verdict:?}");
    let told = String::from_utf8(verdict.stdout).unwrap();
    assert!(told.contains("revoked"), "{told}");
    assert!(
        !office
            .openssl_verify(&certificate, "client-ca")
            .status
            .success()
    );
    let crl = openssl(&[
        "crl",
        "-noout",
        "-text",
        "-in",
        &office.text("pki/client-ca.crl"),
    ]);
    let serial = openssl(&["x509", "-noout", "-serial", "-in", &certificate]);
    let serial = serial.trim().trim_start_matches("serial=");
    assert!(crl.contains(serial), "{crl}");
}
