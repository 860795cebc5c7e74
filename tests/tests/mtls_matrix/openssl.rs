//! OpenSSL as the other side: what a library that is not ours does where TLS 1.3 or P-256 is missing. It does not
//! insist on a certificate that the other side does not want, as the peers of the other modules do.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use protocol::{names::Role, problem::Problem::Overloaded};
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use serde_json::Value;
use twinseal_tests::{parties::problem, service::Service};

use crate::{
    certificates::{of_ed25519, of_p384, of_rsa, valid},
    merchant_to_gateway::why_not,
    peer::PATIENCE,
    pki::{Pki, Shown, Wanted},
    stage::Stage,
};

/// Alerts of TLS (RFC 8446 section 6).
const PROTOCOL_VERSION: u8 = 70;
const CERTIFICATE_REQUIRED: u8 = 116;

type Make = fn(&Pki, &Wanted) -> Shown;

const OTHER_KEYS: [(&str, Make); 3] = [("rsa", of_rsa), ("p384", of_p384), ("ed25519", of_ed25519)];

/// Runs a command that is to succeed, and gives what it said.
pub(crate) fn run(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_valid_certificate_is_taken_from_it() {
    let stage = Stage::shared();
    let files = files(&stage, "valid_client", Role::Merchant, valid);
    let heard = get(stage.gateway.address("merchants"), "-tls1_3", &files);
    assert!(heard.text.starts_with("HTTP/1.1 "), "{}", heard.said);
}

#[test]
fn tls_1_2_is_refused_by_every_listener() {
    let stage = Stage::shared();
    let files = files(&stage, "tls_1_2_client", Role::Merchant, valid);
    for (service, listener) in [
        (&stage.gateway, "merchants"),
        (&stage.gateway, "payers"),
        (&stage.merchant, "payers"),
    ] {
        let heard = get(service.address(listener), "-tls1_2", &files);
        assert_eq!(heard.alert, Some(PROTOCOL_VERSION), "{}", heard.said);
        assert_eq!(heard.text, "");
        failed_handshake(service, "SupportedVersions");
        let heard = get(service.address(listener), "-tls1_3", &files);
        assert_ne!(heard.alert, Some(PROTOCOL_VERSION), "{}", heard.said);
    }
}

#[test]
fn a_merchant_with_another_key_has_nothing_to_show() {
    let stage = Stage::shared();
    for (kind, make) in OTHER_KEYS {
        let files = files(&stage, kind, Role::Merchant, make);
        let heard = get(stage.gateway.address("merchants"), "-tls1_3", &files);
        assert_eq!(heard.alert, Some(CERTIFICATE_REQUIRED), "{}", heard.said);
        assert_eq!(heard.text, "", "{kind}");
        failed_handshake(&stage.gateway, "peer sent no certificates");
    }
}

#[test]
fn a_payer_with_another_key_is_served_as_one_without_a_certificate() {
    let stage = Stage::shared();
    for (kind, make) in OTHER_KEYS {
        let files = files(&stage, &format!("payer_{kind}"), Role::Client, make);
        let heard = get(stage.merchant.address("payers"), "-tls1_3", &files);
        assert!(heard.text.starts_with("HTTP/1.1 "), "{}", heard.said);
    }
}

#[test]
fn a_merchant_leaves_a_gateway_that_has_no_tls_1_3() {
    is_left_by_merchant("-tls1_2", "tls_1_2", valid, "ProtocolVersion");
}

#[test]
fn a_merchant_leaves_a_gateway_whose_key_is_another_one() {
    for (kind, make) in OTHER_KEYS {
        is_left_by_merchant("-tls1_3", kind, make, "HandshakeFailure");
    }
}

#[test]
fn a_payer_leaves_a_shop_that_has_no_tls_1_3() {
    is_left_by_payer("-tls1_2", "tls_1_2", valid, "ProtocolVersion");
}

#[test]
fn a_payer_leaves_a_shop_whose_key_is_another_one() {
    for (kind, make) in OTHER_KEYS {
        is_left_by_payer("-tls1_3", kind, make, "HandshakeFailure");
    }
}

/// Such a server gives up by itself, with this alert, and is told nothing.
fn is_left_by_merchant(version: &str, kind: &str, make: Make, alert: &str) {
    let stage = Stage::shared();
    let name = format!("gateway_{kind}");
    let files = files(&stage, &name, Role::Gateway, make);
    let server = Server::start(version, &files);
    let (merchant, wire) = stage.merchant_with_gateway_at(&name, server.address);
    let answer = stage.session(&merchant);
    assert_eq!(problem(&answer), Overloaded, "{kind}");
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    let detail = why_not(&merchant, told["request_id"].as_str().unwrap());
    assert!(
        detail.contains(&format!("received fatal alert: {alert}")),
        "{detail}"
    );
    server.was_left();
    wire.lead_to(stage.gateway.address("merchants"));
    assert_eq!(stage.session(&merchant).status, 200, "{kind}");
}

fn is_left_by_payer(version: &str, kind: &str, make: Make, alert: &str) {
    let stage = Stage::shared();
    let files = files(&stage, &format!("shop_{kind}"), Role::Merchant, make);
    let server = Server::start(version, &files);
    let output = stage.catalogue(&format!("https://localhost:{}", server.address.port()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("received fatal alert: {alert}")),
        "{said}"
    );
    server.was_left();
}

/// A certificate (DER) and its key (PEM).
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What a party of this role shows, as a client or a server.
fn files(stage: &Stage, name: &str, role: Role, make: Make) -> Files {
    let is_server = name.starts_with("gateway") || name.starts_with("shop");
    let purpose = if is_server { ServerAuth } else { ClientAuth };
    let shown = make(&stage.pki, &stage.wanted(role, purpose));
    let files = Files {
        certificate: stage.place.path(&format!("{name}.der")),
        key: stage.place.path(&format!("{name}.key")),
    };
    fs::write(&files.certificate, &shown.chain[0]).unwrap();
    fs::write(&files.key, shown.key.serialize_pem()).unwrap();
    files
}

/// Waits for a handshake in a service's log that failed for this reason.
fn failed_handshake(service: &Service, reason: &str) {
    service.wait_for_log(PATIENCE, |line| {
        let fields = &line["fields"];
        let why = fields["failure"].as_str().or(fields["error"].as_str());
        fields["message"] == "TLS handshake failed" && why.is_some_and(|why| why.contains(reason))
    });
}

/// What came of a connection, as `s_client` has it.
struct Heard {
    text: String,
    alert: Option<u8>,
    /// On standard error.
    said: String,
}

/// Asks a server of ours for `/`, and shows a certificate if the server would take it.
fn get(server: SocketAddr, version: &str, files: &Files) -> Heard {
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", version, "-alpn", "http/1.1"])
        .args(["-servername", "localhost", "-certform", "DER", "-cert"])
        .arg(&files.certificate)
        .arg("-key")
        .arg(&files.key)
        .arg("-connect")
        .arg(server.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    // It may have ended already, when the server refused it.
    let _ = to.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let output = child.wait_with_output().unwrap();
    drop(to);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let alert = said
        .split_once("SSL alert number ")
        .map(|(_, rest)| rest.split_whitespace().next().unwrap().parse().unwrap());
    Heard {
        text: String::from_utf8_lossy(&output.stdout).into_owned(),
        alert,
        said,
    }
}

/// `s_server`, which takes one connection.
struct Server {
    address: SocketAddr,
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(version: &str, files: &Files) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-www", "-naccept", "1", version])
            .args(["-alpn", "http/1.1", "-accept", "127.0.0.1:0"])
            .args(["-certform", "DER", "-cert"])
            .arg(&files.certificate)
            .arg("-key")
            .arg(&files.key)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "s_server ended");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.trim().parse().unwrap();
            }
        };
        Self {
            address,
            child,
            said,
        }
    }

    /// Waits until its one connection has ended, which never was a whole one.
    fn was_left(mut self) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        assert!(rest.contains(" 1 server accepts (SSL_accept())"), "{rest}");
        assert!(rest.contains(" 0 server accepts that finished"), "{rest}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended by itself, after its one connection.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
