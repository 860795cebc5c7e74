//! `revoke` and `crl`: a CRL only ever grows, and OpenSSL heeds it.

use crate::directory::{CAS, Directory, crl_number, openssl_says};

fn revoke(directory: &Directory, file: &str) -> String {
    directory.done(&["revoke", "--certificate", &directory.text(file)])
}

fn serial(directory: &Directory, file: &str) -> String {
    let text = openssl_says(&["x509", "-noout", "-serial", "-in", &directory.text(file)]);
    text.trim().strip_prefix("serial=").unwrap().to_owned()
}

#[test]
fn a_revoked_certificate_is_in_its_ca_s_next_crl_and_openssl_refuses_it() {
    let directory = Directory::provisioned();
    let file = "merchant/tls.pem";
    assert!(directory.verify(file, "merchant-ca").status.success());
    revoke(&directory, file);
    let text = directory.crl("merchant-ca");
    assert_eq!(crl_number(&text), 2, "{text}");
    let serial = serial(&directory, file);
    assert!(text.contains(&format!("Serial Number: {serial}")), "{text}");
    let verdict = directory.verify(file, "merchant-ca");
    assert!(!verdict.status.success());
    let said = String::from_utf8(verdict.stderr).unwrap();
    assert!(said.contains("certificate revoked"), "{said}");
    // The merchant's other certificate is as good as before, and so are the other CAs' CRLs.
    assert!(
        directory
            .verify("merchant/signing.pem", "merchant-ca")
            .status
            .success()
    );
    for ca in ["root", "client-ca", "gateway-ca"] {
        assert_eq!(crl_number(&directory.crl(ca)), 1, "{ca}");
    }
}

#[test]
fn revoking_twice_is_harmless_and_the_first_date_stays() {
    let directory = Directory::provisioned();
    let entry = || -> String {
        let text = directory.crl("client-ca");
        let (_, entry) = text.split_once("Serial Number: ").unwrap();
        entry.lines().take(2).collect()
    };
    revoke(&directory, "client/signing.pem");
    let first = entry();
    revoke(&directory, "client/signing.pem");
    let text = directory.crl("client-ca");
    assert_eq!(text.matches("Serial Number: ").count(), 1, "{text}");
    assert_eq!(entry(), first);
    // There was nothing to sign anew.
    assert_eq!(crl_number(&text), 2);
}

#[test]
fn what_was_revoked_stays_so_in_every_later_crl() {
    let directory = Directory::provisioned();
    for file in ["gateway/tls.pem", "gateway/signing.pem"] {
        revoke(&directory, file);
    }
    directory.done(&["crl"]);
    for ca in CAS {
        let wanted = if ca == "gateway-ca" { 4 } else { 2 };
        assert_eq!(crl_number(&directory.crl(ca)), wanted, "{ca}");
    }
    let text = directory.crl("gateway-ca");
    for file in ["gateway/tls.pem", "gateway/signing.pem"] {
        assert!(text.contains(&serial(&directory, file)), "{text}");
        assert!(!directory.verify(file, "gateway-ca").status.success());
    }
    assert!(
        directory
            .verify("gateway/encryption.pem", "gateway-ca")
            .status
            .success()
    );
    let (_, status) = directory.status();
    let crls = status["crls"].as_array().unwrap();
    let crl = crls
        .iter()
        .find(|crl| crl["file"] == "pki/gateway-ca.crl")
        .unwrap();
    assert_eq!(
        (&crl["number"], &crl["revoked"]),
        (&4.into(), &2.into()),
        "{crl:#}"
    );
}

#[test]
fn an_issuing_ca_is_revoked_by_the_root() {
    let directory = Directory::provisioned();
    revoke(&directory, "pki/client-ca.pem");
    let text = directory.crl("root");
    assert!(
        text.contains(&serial(&directory, "pki/client-ca.pem")),
        "{text}"
    );
    assert!(
        !directory
            .verify("client/signing.pem", "client-ca")
            .status
            .success()
    );
    assert!(
        directory
            .verify("merchant/tls.pem", "merchant-ca")
            .status
            .success()
    );
}

#[test]
fn only_certificates_of_these_cas_can_be_revoked_here() {
    let directory = Directory::provisioned();
    // The names of its CAs are the same; their keys are not.
    let elsewhere = Directory::provisioned();
    let stranger = elsewhere.text("client/signing.pem");
    let told = directory.refused(&["revoke", "--certificate", &stranger]);
    assert!(told.contains("was not issued by a CA of"), "{told}");
    let told = directory.refused(&[
        "revoke",
        "--certificate",
        &directory.text("client/signing.key"),
    ]);
    assert!(told.contains("is not a certificate"), "{told}");
    let told = directory.refused(&["revoke", "--certificate", &directory.text("missing.pem")]);
    assert!(told.contains("missing.pem"), "{told}");
}
