//! Service and parties are killed at many moments: what was told is in the journal, what is in use belongs together.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use twinseal_tests::service::program;

use crate::office::{Office, answer_if_any, openssl};

#[test]
fn a_service_that_is_killed_while_many_enrol_tells_nobody_what_it_would_not_tell_again() {
    let mut office = Office::open();
    for round in 0..4 {
        let parties: Vec<_> = (0..6)
            .map(|number| {
                let name = format!("payer-{round}-{number}");
                let secret = office.invite("client", &name);
                let asked = office.request(&name);
                (name, secret, asked)
            })
            .collect();
        let lines = |office: &Office| {
            let text = fs::read_to_string(office.path("ca/journal.jsonl")).unwrap();
            text.lines().count()
        };
        let before = lines(&office);
        let running: Vec<Child> = parties
            .iter()
            .map(|(name, secret, asked)| {
                let mut curl = office.enrol_command("simpleenroll", name, secret, &asked.body);
                curl.spawn().unwrap()
            })
            .collect();
        // Another moment each time.
        while lines(&office) < before + 1 + round {
            std::thread::yield_now();
        }
        office = office.crash();
        let told: Vec<_> = running.into_iter().map(answer_if_any).collect();
        for ((name, secret, asked), told) in parties.iter().zip(told) {
            let again = office.enrol("simpleenroll", name, secret, &asked.body);
            assert_eq!(again.status, 200, "{}", again.body);
            if let Some(told) = told {
                assert_eq!((told.status, told.body), (200, again.body), "{name}");
            }
            assert_eq!(office.issued_for(&format!("urn:twinseal:client:{name}")), 1);
        }
    }
}

#[test]
fn a_client_that_is_killed_while_it_renews_has_a_key_and_its_certificate_at_every_moment() {
    let office = Office::open();
    let secret = office.secret_file(&office.invite("client", "payer"));
    let output = office
        .enroll_command("twinseal-client", "payer", &secret, "payer")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let config = office.path("payer/client.toml");
    let text = fs::read_to_string(office.path("client/client.toml")).unwrap();
    let name = text
        .lines()
        .find(|line| line.starts_with("name = "))
        .unwrap();
    let text = text.replace(name, "name = \"urn:twinseal:client:payer\"");
    let service = format!("\n[enrolment]\nserver = \"{}\"\n", office.url());
    fs::write(&config, text + &service).unwrap();
    let renew = || {
        let mut command = Command::new(program("twinseal-client"));
        command
            .arg("--config")
            .arg(&config)
            .args(["renew", "--new-key"]);
        command.stderr(Stdio::null());
        command
    };
    let belong_together = || {
        let public = openssl(&["pkey", "-pubout", "-in", &office.text("payer/signing.key")]);
        let certificate = office.text("payer/signing.pem");
        assert_eq!(
            openssl(&["x509", "-noout", "-pubkey", "-in", &certificate]),
            public
        );
        public
    };
    let store = office.path("payer/signing.d");
    let newest = |store: &Path| {
        let names = fs::read_dir(store).unwrap();
        let numbers = names.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        numbers.max().unwrap_or(0_u64)
    };
    for round in 0..16 {
        let before = newest(&store);
        let mut client = renew().spawn().unwrap();
        let is_there = || match round % 4 {
            0 => store.join("next").exists(),
            1 => store.join("next/certificate.pem").exists(),
            2 => newest(&store) > before,
            _ => fs::read_link(store.join("current")).unwrap() != Path::new(&before.to_string()),
        };
        while !is_there() && client.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        // It may be done already.
        let _ = client.kill();
        client.wait().unwrap();
        belong_together();
    }
    let before = belong_together();
    assert!(renew().status().unwrap().success());
    assert_ne!(belong_together(), before);
    assert!(!store.join("next").exists());
}
