//! Our own programs enrol: a key is made, certified, and taken into use only with a certificate that holds.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use twinseal_tests::{place::Place, service::program, wire::Wire};

use crate::office::{Office, openssl};

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The key in a directory is the one of the certificate beside it, and for its owner alone.
fn belong_together(office: &Office, directory: &str, stem: &str) {
    let key = office.path(&format!("{directory}/{stem}.key"));
    let mode = fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let certificate = office.text(&format!("{directory}/{stem}.pem"));
    let public = openssl(&["pkey", "-pubout", "-in", key.to_str().unwrap()]);
    assert_eq!(
        openssl(&["x509", "-noout", "-pubkey", "-in", &certificate]),
        public
    );
}

#[test]
fn a_client_enrols_with_a_secret_from_a_file_or_from_standard_input() {
    let office = Office::open();
    let secret = office.secret_file(&office.invite("client", "first"));
    let output = office
        .enroll_command("twinseal-client", "first", &secret, "first")
        .arg("--json")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["name"], "urn:twinseal:client:first");
    belong_together(&office, "first", "signing");

    let mut child = office
        .enroll_command(
            "twinseal-client",
            "urn:twinseal:client:second",
            "-",
            "second",
        )
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", office.invite("client", "second")).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    belong_together(&office, "second", "signing");
    for directory in ["first", "second"] {
        let certificate = office.text(&format!("{directory}/signing.pem"));
        let verdict = office.openssl_verify(&certificate, "client-ca");
        assert!(verdict.status.success(), "{verdict:?}");
    }
}

#[test]
fn a_merchant_enrols_for_both_certificates_and_nothing_that_is_there_is_written_over() {
    let office = Office::open();
    let secret = office.secret_file(&office.invite("merchant", "shop"));
    let enroll = || {
        office
            .enroll_command("twinseal-merchant", "shop", &secret, "shop")
            .output()
            .unwrap()
    };
    let output = enroll();
    assert!(output.status.success(), "{}", told(&output));
    for stem in ["signing", "tls"] {
        belong_together(&office, "shop", stem);
        let certificate = office.text(&format!("shop/{stem}.pem"));
        let verdict = office.openssl_verify(&certificate, "merchant-ca");
        assert!(verdict.status.success(), "{verdict:?}");
    }
    let files = || {
        ["signing.key", "signing.pem", "tls.key", "tls.pem"]
            .map(|file| fs::read(office.path(&format!("shop/{file}"))).unwrap())
    };
    let before = files();
    let output = enroll();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("is there already"),
        "{}",
        told(&output)
    );
    assert_eq!(files(), before);
    // Links that are missing lead to the same files again, and nobody is asked.
    for file in ["tls.key", "tls.pem"] {
        fs::remove_file(office.path(&format!("shop/{file}"))).unwrap();
    }
    let output = enroll();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(files(), before);
    assert_eq!(office.issued_for("urn:twinseal:merchant:shop"), 2);
}

#[test]
fn what_was_refused_leaves_no_certificate_and_the_same_key_asks_again() {
    let office = Office::open();
    let secret = office.invite("client", "payer");
    let enroll = |secret: &str| {
        let secret = office.secret_file(secret);
        office
            .enroll_command("twinseal-client", "payer", &secret, "payer")
            .output()
            .unwrap()
    };
    let output = enroll("wrong");
    assert_eq!(output.status.code(), Some(5));
    assert!(
        told(&output).contains("HTTP status 401"),
        "{}",
        told(&output)
    );
    assert!(!office.path("payer/signing.pem").exists());
    assert!(!office.path("payer/signing.key").exists());
    let key = fs::read(office.path("payer/signing.d/next/key.pem")).unwrap();
    let output = enroll(&secret);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(fs::read(office.path("payer/signing.key")).unwrap(), key);
    // A secret that others may read is none.
    let secret = office.secret_file("anything");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let output = office
        .enroll_command("twinseal-client", "other", &secret, "other")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("chmod 600"), "{}", told(&output));
}

#[test]
fn an_enrolment_whose_answer_a_crash_lost_is_completed_with_the_same_secret() {
    let office = Office::open();
    let secret = office.secret_file(&office.invite("client", "payer"));
    let wire = Wire::to(office.service.address("enrolment"));
    let enroll = || {
        let mut command = Command::new(program("twinseal-client"));
        command
            .args(["enroll", "--server", &wire.url(), "--user", "payer"])
            .args([
                "--ca",
                &office.text("pki/root.pem"),
                "--secret-file",
                &secret,
            ])
            .args(["--out", &office.text("payer")]);
        command
    };
    wire.hold_answers();
    let mut crashing = enroll().spawn().unwrap();
    wire.wait_for_held_answer();
    crashing.kill().unwrap();
    crashing.wait().unwrap();
    wire.release_answers();
    assert!(!office.path("payer/signing.pem").exists());
    let output = enroll().output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    belong_together(&office, "payer", "signing");
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 1);
}

#[test]
fn a_service_of_another_root_is_told_no_secret() {
    let office = Office::open();
    let elsewhere = Office::open();
    let secret = office.secret_file(&office.invite("client", "payer"));
    let output = Command::new(program("twinseal-client"))
        .args(["enroll", "--server", &office.url(), "--user", "payer"])
        .args(["--ca", &elsewhere.text("pki/root.pem")])
        .args(["--secret-file", &secret, "--out", &office.text("payer")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(told(&output).contains("was refused"), "{}", told(&output));
    assert!(!office.path("payer/signing.pem").exists());
    let (_, log) = office.stop();
    assert!(!log.contains("simpleenroll"), "{log}");
}

#[test]
fn a_merchant_can_not_stand_in_for_the_service() {
    let place = Place::new();
    let mut impostor = Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-tls1_3",
            "-alpn",
            "http/1.1",
            "-cert",
        ])
        .arg(place.path("merchant/tls.pem"))
        .arg("-key")
        .arg(place.path("merchant/tls.key"))
        .arg("-cert_chain")
        .arg(place.path("pki/merchant-ca.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(impostor.stdout.take().unwrap()).lines();
    let line = lines
        .find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(str::to_owned))
        .unwrap();
    let port = line.rsplit(':').next().unwrap();
    let secret = place.path("secret");
    secret_file::write_new(&secret, "anything").unwrap();
    let output = Command::new(program("twinseal-client"))
        .args(["enroll", "--server", &format!("https://localhost:{port}")])
        .args(["--user", "payer", "--ca", &place.text("pki/root.pem")])
        .args(["--out", &place.text("payer"), "--secret-file"])
        .arg(&secret)
        .output()
        .unwrap();
    impostor.kill().unwrap();
    impostor.wait().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let told = told(&output);
    assert!(
        told.contains(
            "urn:twinseal:merchant:bookshop answers where urn:twinseal:gateway:enrolment is wanted"
        ),
        "{told}"
    );
    assert!(!place.path("payer/signing.pem").exists());
}
