//! Certificates and CRLs as OpenSSL sees them: the profiles of docs/PROTOCOL.md section 1.

use crate::directory::{CAS, Directory, LEAVES, openssl_says};

/// The line below a heading of OpenSSL's text.
fn below<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let mut lines = text
        .lines()
        .skip_while(|line| !line.trim().starts_with(heading));
    lines.next()?;
    lines.next().map(str::trim)
}

#[test]
fn openssl_accepts_every_certificate_and_every_crl() {
    let directory = Directory::provisioned();
    for (leaf, ca) in LEAVES {
        let verdict = directory.verify(leaf, ca);
        assert!(verdict.status.success(), "{leaf}: {verdict:?}");
    }
    // Under another role's CA none is good.
    assert!(
        !directory
            .verify("client/signing.pem", "merchant-ca")
            .status
            .success()
    );
    for ca in CAS {
        let output = crate::directory::openssl(&[
            "crl",
            "-noout",
            "-CAfile",
            &directory.text(&format!("pki/{ca}.pem")),
            "-in",
            &directory.text(&format!("pki/{ca}.crl")),
        ]);
        let verdict = String::from_utf8(output.stderr).unwrap();
        assert!(verdict.contains("verify OK"), "{ca}: {verdict}");
        let text = directory.crl(ca);
        assert!(text.contains("No Revoked Certificates"), "{text}");
        assert_eq!(below(&text, "X509v3 CRL Number"), Some("1"), "{text}");
    }
}

#[test]
fn each_certificate_has_its_profile_s_usages_and_no_other() {
    let directory = Directory::provisioned();
    let document_signing = Some("1.3.6.1.5.5.7.3.36");
    let tls = Some("TLS Web Server Authentication, TLS Web Client Authentication");
    for (file, usage, extended, alternative) in [
        (
            "client/signing.pem",
            "Digital Signature",
            document_signing,
            "URI:urn:twinseal:client:",
        ),
        (
            "merchant/signing.pem",
            "Digital Signature",
            document_signing,
            "URI:urn:twinseal:merchant:bookshop, DNS:localhost",
        ),
        (
            "merchant/tls.pem",
            "Digital Signature",
            tls,
            "URI:urn:twinseal:merchant:bookshop, DNS:localhost, IP Address:127.0.0.1",
        ),
        (
            "gateway/tls.pem",
            "Digital Signature",
            tls,
            "URI:urn:twinseal:gateway:main, DNS:localhost, IP Address:127.0.0.1",
        ),
        (
            "gateway/signing.pem",
            "Digital Signature",
            document_signing,
            "URI:urn:twinseal:gateway:main",
        ),
        (
            "gateway/encryption.pem",
            "Key Agreement",
            None,
            "URI:urn:twinseal:gateway:main",
        ),
    ] {
        let text = directory.certificate(file);
        assert!(text.contains("NIST CURVE: P-256"), "{text}");
        assert_eq!(
            below(&text, "X509v3 Key Usage: critical"),
            Some(usage),
            "{file}"
        );
        let found = below(&text, "X509v3 Extended Key Usage").map(|line| {
            // OpenSSL 3.2 learned the name.
            line.replace("Document Signing", "1.3.6.1.5.5.7.3.36")
        });
        assert_eq!(found.as_deref(), extended, "{file}");
        let names = below(&text, "X509v3 Subject Alternative Name").unwrap();
        if file.starts_with("client") {
            assert!(names.starts_with(alternative), "{names}");
            assert!(!names.contains(','), "{names}");
        } else {
            assert_eq!(names, alternative, "{file}");
        }
        assert!(!text.contains("CA:TRUE"), "{text}");
    }
}

#[test]
fn the_root_certifies_cas_that_certify_parties_only() {
    let directory = Directory::provisioned();
    for ca in CAS {
        let text = directory.certificate(&format!("pki/{ca}.pem"));
        let usage = below(&text, "X509v3 Key Usage: critical");
        assert_eq!(usage, Some("Certificate Sign, CRL Sign"), "{text}");
        let length = if ca == "root" { 1 } else { 0 };
        assert_eq!(
            below(&text, "X509v3 Basic Constraints: critical"),
            Some(format!("CA:TRUE, pathlen:{length}").as_str()),
            "{text}"
        );
        let issuer = openssl_says(&[
            "x509",
            "-noout",
            "-issuer",
            "-nameopt",
            "RFC2253",
            "-in",
            &directory.text(&format!("pki/{ca}.pem")),
        ]);
        assert_eq!(issuer.trim(), "issuer=CN=Twinseal root CA");
    }
}

#[test]
fn serial_numbers_are_long_positive_and_all_different() {
    let directory = Directory::provisioned();
    let files = LEAVES.map(|(file, _)| file.to_owned()).into_iter();
    let mut serials: Vec<String> = files
        .chain(CAS.map(|ca| format!("pki/{ca}.pem")))
        .map(|file| openssl_says(&["x509", "-noout", "-serial", "-in", &directory.text(&file)]))
        .collect();
    for serial in &serials {
        // "serial=" and 16 bytes; a minus would be one more.
        assert_eq!(serial.trim().len(), "serial=".len() + 32, "{serial}");
    }
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), LEAVES.len() + CAS.len());
}
