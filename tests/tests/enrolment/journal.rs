//! The journal has everything that the CAs issued and revoked, and survives crashes.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
};

use serde_json::Value;

use crate::office::{Office, openssl};

fn sha256_of_der(file: &str, der: &str) -> String {
    openssl(&["x509", "-in", file, "-outform", "DER", "-out", der]);
    let text = openssl(&["dgst", "-sha256", "-hex", der]);
    text.rsplit(' ').next().unwrap().trim().to_owned()
}

/// The bytes of base64url as hexadecimal digits.
fn hex(base64url: &Value) -> String {
    let digest: protocol::identifiers::Digest = base64url.as_str().unwrap().parse().unwrap();
    let bytes = digest.as_bytes().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn everything_that_is_in_a_provisioned_directory_is_in_the_journal() {
    let office = Office::open();
    let journal = office.journal();
    for file in [
        "pki/root.pem",
        "pki/client-ca.pem",
        "pki/merchant-ca.pem",
        "pki/gateway-ca.pem",
        "gateway/tls.pem",
        "gateway/signing.pem",
        "gateway/encryption.pem",
        "enrolment/tls.pem",
        "merchant/tls.pem",
        "merchant/signing.pem",
        "client/signing.pem",
    ] {
        let sha256 = sha256_of_der(&office.text(file), &office.text("certificate.der"));
        let entry = journal
            .iter()
            .find(|entry| hex(&entry["certificate_sha256"]) == sha256)
            .unwrap_or_else(|| panic!("{file} is not in the journal"));
        assert_eq!(entry["how"], "init");
        let serial = openssl(&["x509", "-noout", "-serial", "-in", &office.text(file)]);
        let written = entry["serial"].as_str().unwrap().to_uppercase();
        assert_eq!(serial.trim(), format!("serial={written}"));
    }
    assert_eq!(journal.len(), 11);
}

#[test]
fn issuing_enrolling_renewing_and_revoking_each_add_a_line_and_change_none() {
    let office = Office::open();
    let lines = || fs::read_to_string(office.path("ca/journal.jsonl")).unwrap();
    let before = lines();
    let asked = office.request("payer");
    let certificate = office.enrolled("client", "payer", &asked);
    let renewed = office.reenrol("simplereenroll", &certificate, &asked.key, &asked.body);
    office.certificate("renewed", &renewed);
    let csr = office.text("by-hand.csr");
    openssl(&[
        "req",
        "-inform",
        "DER",
        "-in",
        &office.text("payer.der"),
        "-out",
        &csr,
    ]);
    office.setup(&[
        "issue",
        "--csr",
        &csr,
        "--role",
        "client",
        "--usage",
        "signing",
        "--name",
        "payer",
        "--out",
        &office.text("by-hand.pem"),
    ]);
    office.setup(&["revoke", "--certificate", &certificate]);
    office.setup(&["revoke", "--certificate", &certificate]);
    let after = lines();
    let added = after.strip_prefix(&before).unwrap();
    let how: Vec<String> = added
        .lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            entry["how"]
                .as_str()
                .or(entry["event"].as_str())
                .unwrap()
                .to_owned()
        })
        .collect();
    // Three certificates of one key.
    let expected = ["enrol", "renew", "issue", "revoked", "revoked", "revoked"];
    assert_eq!(how, expected);
    let table = String::from_utf8(office.setup(&["journal"]).stdout).unwrap();
    assert_eq!(table.lines().count(), 1 + after.lines().count(), "{table}");
    assert!(table.contains("REVOKED"), "{table}");
}

#[test]
fn a_line_that_a_crash_cut_off_is_told_kept_apart_and_stops_nobody() {
    let office = Office::open();
    let cut_off = |text: &str| {
        let mut file = OpenOptions::new()
            .append(true)
            .open(office.path("ca/journal.jsonl"))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    cut_off("{\"time\":1,\"event\":\"iss");
    let looked = office.setup(&["journal"]);
    let told = String::from_utf8(looked.stderr).unwrap();
    assert!(told.contains("the last line is not whole"), "{told}");
    // The running service puts it right.
    let asked = office.request("payer");
    office.enrolled("client", "payer", &asked);
    office.hears("a crash cut off its last line");
    // And so does a command.
    cut_off("{\"time\":2");
    let certificate = office.text("merchant/tls.pem");
    let revoked = office.setup(&["revoke", "--certificate", &certificate]);
    let told = String::from_utf8(revoked.stderr).unwrap();
    assert!(told.contains("a crash cut off its last line"), "{told}");
    let texts: Vec<Value> = office
        .journal()
        .into_iter()
        .filter(|entry| entry["event"] == "cut-off")
        .map(|entry| entry["text"].clone())
        .collect();
    assert_eq!(texts, ["{\"time\":1,\"event\":\"iss", "{\"time\":2"]);
}

#[test]
fn what_was_issued_before_there_was_a_journal_is_entered_by_init() {
    let office = Office::open();
    let digests = || -> Vec<(Value, Value)> {
        let journal = office.journal();
        let mut found: Vec<_> = journal
            .iter()
            .map(|entry| (entry["certificate_sha256"].clone(), entry["how"].clone()))
            .collect();
        found.sort_by_key(|(digest, _)| digest.to_string());
        found
    };
    let before = digests();
    fs::remove_file(office.path("ca/journal.jsonl")).unwrap();
    office.setup(&["init"]);
    let after = digests();
    assert_eq!(before.len(), after.len());
    for ((before, _), (after, how)) in before.iter().zip(&after) {
        assert_eq!((before, how), (after, &Value::from("found")));
    }
    office.setup(&["init"]);
    assert_eq!(digests(), after);
}

#[test]
fn nothing_is_issued_beside_a_journal_that_is_damaged() {
    let office = Office::open();
    let asked = office.request("payer");
    let secret = office.invite("client", "payer");
    let path = office.path("ca/journal.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.replacen("{\"time\"", "{\"tome\"", 1)).unwrap();
    let certificate = office.text("merchant/tls.pem");
    let output = office.try_setup(&["revoke", "--certificate", &certificate]);
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("line 1 is not an entry"), "{told}");
    // The service read that line before. It notices that lines are gone.
    fs::write(&path, "").unwrap();
    let answer = office.enrol("simpleenroll", "payer", &secret, &asked.body);
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(!answer.body.contains("journal"), "{}", answer.body);
    office.hears("is shorter than it was");
    fs::write(&path, whole).unwrap();
    let answer = office.enrol("simpleenroll", "payer", &secret, &asked.body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}
