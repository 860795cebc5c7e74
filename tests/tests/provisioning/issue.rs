//! `issue`: the key is the request's, everything else the operator's; what does not fit a profile is
//! refused.

use std::fs;

use crate::directory::{Directory, openssl_says};

/// `issue` with what every use of it needs.
fn arguments<'a>(csr: &'a str, role: &'a str, usage: &'a str, out: &'a str) -> Vec<&'a str> {
    vec![
        "issue", "--csr", csr, "--role", role, "--usage", usage, "--name", "chosen", "--out", out,
    ]
}

#[test]
fn subject_names_and_extensions_are_the_operator_s_and_never_the_request_s() {
    let directory = Directory::provisioned();
    let csr = directory.request(
        "greedy",
        "P-256",
        &[
            "-addext",
            "subjectAltName=DNS:greedy.example,URI:urn:twinseal:gateway:main",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=keyCertSign",
        ],
    );
    let out = directory.text("issued.pem");
    directory.done(&arguments(&csr, "client", "signing", &out));
    let text = directory.certificate("issued.pem");
    assert!(
        text.contains("Subject: CN = client chosen") || text.contains("Subject: CN=client chosen")
    );
    assert!(text.contains("URI:urn:twinseal:client:chosen\n"), "{text}");
    for asked in [
        "anybody",
        "greedy",
        "gateway",
        "CA:TRUE",
        "Certificate Sign",
    ] {
        assert!(!text.contains(asked), "{asked}: {text}");
    }
    assert!(directory.verify("issued.pem", "client-ca").status.success());
    // The key is the request's.
    let of_request = openssl_says(&["req", "-noout", "-pubkey", "-in", &csr]);
    assert_eq!(
        openssl_says(&["x509", "-noout", "-pubkey", "-in", &out]),
        of_request
    );
}

#[test]
fn names_addresses_and_days_are_as_the_operator_says() {
    let directory = Directory::provisioned();
    let csr = directory.request("shop", "P-256", &[]);
    let out = directory.text("issued.pem");
    let mut arguments = arguments(&csr, "merchant", "tls", &out);
    arguments.extend(["--dns", "shop.example", "--dns", "www.shop.example"]);
    arguments.extend(["--ip", "192.0.2.7", "--days", "30"]);
    directory.done(&arguments);
    let text = directory.certificate("issued.pem");
    let names = "URI:urn:twinseal:merchant:chosen, DNS:shop.example, DNS:www.shop.example, \
                 IP Address:192.0.2.7";
    assert!(text.contains(names), "{text}");
    let ends_within = |seconds: &str| {
        let output =
            crate::directory::openssl(&["x509", "-noout", "-checkend", seconds, "-in", &out]);
        !output.status.success()
    };
    let day = 86_400;
    assert!(!ends_within(&(day * 29).to_string()));
    assert!(ends_within(&(day * 30 + 60).to_string()));
}

#[test]
fn a_file_name_without_a_directory_is_enough() {
    let directory = Directory::provisioned();
    directory.request("anybody", "P-256", &[]);
    let output = std::process::Command::new(twinseal_tests::service::program("softhsm-setup"))
        .args(arguments("anybody.csr", "client", "signing", "issued.pem"))
        .args(["--dir", "."])
        .current_dir(directory.path(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(directory.verify("issued.pem", "client-ca").status.success());
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let directory = Directory::provisioned();
    let csr = directory.request("changed", "P-256", &[]);
    let der = directory.text("changed.der");
    openssl_says(&["req", "-in", &csr, "-outform", "DER", "-out", &der]);
    let mut bytes = fs::read(&der).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&der, bytes).unwrap();
    openssl_says(&["req", "-in", &der, "-inform", "DER", "-out", &csr]);
    let out = directory.text("issued.pem");
    let told = directory.refused(&arguments(&csr, "client", "signing", &out));
    assert!(told.contains("is not a request that can be used"), "{told}");
    assert!(told.contains("signature"), "{told}");
}

#[test]
fn a_key_that_is_not_of_p_256_is_refused_whatever_it_signed_with() {
    let directory = Directory::provisioned();
    let out = directory.text("issued.pem");
    let rsa = (directory.text("rsa.key"), directory.text("rsa.csr"));
    openssl_says(&[
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=anybody",
        "-keyout",
        &rsa.0,
        "-out",
        &rsa.1,
    ]);
    for csr in [
        directory.request("p384", "P-384", &["-sha384"]),
        directory.request("p384-short", "P-384", &["-sha256"]),
        rsa.1,
    ] {
        let told = directory.refused(&arguments(&csr, "client", "signing", &out));
        assert!(told.contains("is not of P-256"), "{csr}: {told}");
        assert!(
            told.contains("openssl ecparam -name prime256v1"),
            "{csr}: {told}"
        );
    }
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let directory = Directory::provisioned();
    let csr = directory.request("anybody", "P-256", &[]);
    let out = directory.text("client/signing.pem");
    let told = directory.refused(&arguments(&csr, "client", "signing", &out));
    assert!(
        told.contains("client/signing.pem is there already"),
        "{told}"
    );
    assert!(told.contains("name another file with --out"), "{told}");
}

#[test]
fn a_responder_is_named_and_certified_as_openssl_reads_it() {
    let directory = Directory::provisioned();
    let csr = directory.request("gateway", "P-256", &[]);
    let out = directory.text("tls.pem");
    let url = format!("http://ocsp.example:8080/{}", "a".repeat(200));
    let arguments_of_tls = arguments(&csr, "gateway", "tls", &out);
    directory.done(&[&arguments_of_tls[..], &["--ocsp", &url]].concat());
    let told = openssl_says(&["x509", "-noout", "-ocsp_uri", "-in", &out]);
    assert_eq!(told.trim(), url);
    assert!(directory.verify("tls.pem", "gateway-ca").status.success());
    let out = directory.text("responder.pem");
    directory.done(&arguments(&csr, "gateway", "ocsp", &out));
    let text = directory.certificate("responder.pem");
    assert!(text.contains("OCSP Signing\n"), "{text}");
    assert!(text.contains("Digital Signature\n"), "{text}");
    assert!(!text.contains("Alternative Name"), "{text}");
    let verdict = directory.verify("responder.pem", "gateway-ca");
    assert!(verdict.status.success(), "{verdict:?}");
    let journal = String::from_utf8(directory.run(&["journal"]).stdout).unwrap();
    assert!(journal.contains("ocsp"), "{journal}");
}

#[test]
fn what_no_profile_has_is_refused() {
    let directory = Directory::provisioned();
    let csr = directory.request("anybody", "P-256", &[]);
    let out = directory.text("issued.pem");
    for (role, usage, more, reason) in [
        (
            "client",
            "signing",
            &["--dns", "a.example"][..],
            "no DNS names; leave out --dns",
        ),
        (
            "gateway",
            "signing",
            &["--dns", "a.example"],
            "no DNS names; leave out --dns",
        ),
        (
            "gateway",
            "encryption",
            &["--dns", "a.example"],
            "no DNS names; leave out --dns",
        ),
        (
            "merchant",
            "signing",
            &["--ip", "192.0.2.7"],
            "leave out --ip",
        ),
        ("client", "tls", &[], "a client has no TLS certificate"),
        (
            "client",
            "encryption",
            &[],
            "a client has no encryption certificate",
        ),
        (
            "merchant",
            "encryption",
            &[],
            "a merchant has no encryption certificate",
        ),
        (
            "gateway",
            "ocsp",
            &["--dns", "a.example"],
            "no DNS names; leave out --dns",
        ),
        (
            "gateway",
            "tls",
            &["--ocsp", "https://a.example/"],
            "write http://host[:port]/path",
        ),
        ("gateway", "tls", &["--ocsp", "http:///a"], "write http://"),
        (
            "gateway",
            "tls",
            &["--ocsp", "http://a.example/a b"],
            "write http://",
        ),
    ] {
        let arguments = [&arguments(&csr, role, usage, &out)[..], more].concat();
        let told = directory.refused(&arguments);
        assert!(told.contains(reason), "{role} {usage}: {told}");
    }
    for name in ["", "UPPER", "a b", "a/b", "a.b"] {
        let mut arguments = arguments(&csr, "client", "signing", &out);
        arguments[8] = name;
        let told = directory.refused(&arguments);
        assert!(told.contains("--name"), "{name}: {told}");
    }
}

#[test]
fn a_request_that_is_missing_or_no_request_is_refused() {
    let directory = Directory::provisioned();
    let out = directory.text("issued.pem");
    let missing = directory.text("missing.csr");
    let told = directory.refused(&arguments(&missing, "client", "signing", &out));
    assert!(told.contains("missing.csr"), "{told}");
    let certificate = directory.text("client/signing.pem");
    let told = directory.refused(&arguments(&certificate, "client", "signing", &out));
    assert!(told.contains("is not a request that can be used"), "{told}");
}
