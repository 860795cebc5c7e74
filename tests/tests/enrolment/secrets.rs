//! One-time secrets: good once, for one key, not for ever, and not for who guesses.

use std::{fs, process::Command};

use crate::office::{Office, answer};

#[test]
fn a_lost_answer_is_given_again_also_after_a_crash_and_nothing_is_issued_twice() {
    let office = Office::open();
    let secret = office.invite("client", "payer");
    let asked = office.request("payer");
    let first = office.enrol("simpleenroll", "payer", &secret, &asked.body);
    let second = office.enrol("simpleenroll", "payer", &secret, &asked.body);
    assert_eq!((first.status, &first.body), (200, &second.body));
    let office = office.crash();
    let third = office.enrol("simpleenroll", "payer", &secret, &asked.body);
    assert_eq!(first.body, third.body);
    // ECDSA signs anew: other bytes, the same key.
    let again = office.request_for("again", &asked.key);
    let fourth = office.enrol("simpleenroll", "payer", &secret, &again.body);
    assert_eq!(first.body, fourth.body);
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 1);
}

#[test]
fn a_used_secret_is_refused_for_another_key() {
    let office = Office::open();
    let secret = office.invite("client", "payer");
    let asked = office.request("payer");
    assert_eq!(
        office
            .enrol("simpleenroll", "payer", &secret, &asked.body)
            .status,
        200
    );
    let other = office.request("other");
    let refused = office.enrol("simpleenroll", "payer", &secret, &other.body);
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(
        refused.body.contains("used for another key"),
        "{}",
        refused.body
    );
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 1);
}

#[test]
fn of_many_keys_that_ask_at_once_with_one_secret_one_is_certified() {
    let office = Office::open();
    let secret = office.invite("client", "payer");
    let asked: Vec<_> = (0..6)
        .map(|number| office.request(&format!("payer-{number}")))
        .collect();
    let running: Vec<_> = asked
        .iter()
        .map(|asked| {
            let mut curl = office.enrol_command("simpleenroll", "payer", &secret, &asked.body);
            curl.spawn().unwrap()
        })
        .collect();
    let mut statuses: Vec<u16> = running
        .into_iter()
        .map(|curl| answer(curl).status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403, 403, 403, 403, 403]);
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 1);
}

#[test]
fn a_token_process_that_dies_is_replaced_and_the_same_request_succeeds_later() {
    let office = Office::open();
    let secret = office.invite("client", "payer");
    let asked = office.request("payer");
    let parent = office.service.pid().to_string();
    let output = Command::new("pgrep")
        .args(["-P", &parent])
        .output()
        .unwrap();
    let children = String::from_utf8(output.stdout).unwrap();
    let [child] = children.lines().collect::<Vec<_>>()[..] else {
        panic!("{children:?}");
    };
    let killed = Command::new("kill")
        .args(["-KILL", child])
        .status()
        .unwrap();
    assert!(killed.success());
    let enrol = || office.enrol("simpleenroll", "payer", &secret, &asked.body);
    let refused = enrol();
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(!refused.body.contains("token"), "{}", refused.body);
    office.hears("token twinseal-ca");
    assert_eq!(enrol().status, 200);
    assert_eq!(office.issued_for("urn:twinseal:client:payer"), 1);
}

#[test]
fn ten_wrong_secrets_lock_an_invitation_and_the_log_says_so() {
    let office = Office::open();
    let secret = office.invite("client", "payer");
    let other = office.invite("client", "other");
    let asked = office.request("payer");
    for attempt in 0..10 {
        let wrong = format!("wrong-{attempt}");
        let answer = office.enrol("simpleenroll", "payer", &wrong, &asked.body);
        assert_eq!(answer.status, 401);
    }
    let locked = office.enrol("simpleenroll", "payer", &secret, &asked.body);
    assert_eq!(locked.status, 401, "{}", locked.body);
    office.hears("an invitation is locked");
    // It stays so after a restart, and the others' are as good as before.
    let office = office.crash();
    let locked = office.enrol("simpleenroll", "payer", &secret, &asked.body);
    assert_eq!(locked.status, 401);
    let taken = office.enrol("simpleenroll", "other", &other, &asked.body);
    assert_eq!(taken.status, 200, "{}", taken.body);
    // Only another invitation helps.
    let secret = office.invite("client", "payer");
    let own = office.request("own");
    let taken = office.enrol("simpleenroll", "payer", &secret, &own.body);
    assert_eq!(taken.status, 200, "{}", taken.body);
}

#[test]
fn an_address_that_guesses_is_stopped_whoever_it_guesses_for() {
    let office = Office::open();
    let asked = office.request("payer");
    let statuses: Vec<u16> = (0..62)
        .map(|number| {
            let user = format!("nobody-{number}");
            office
                .enrol("simpleenroll", &user, "guessed", &asked.body)
                .status
        })
        .collect();
    assert_eq!(statuses[..60], [401; 60]);
    assert!(statuses.contains(&429), "{statuses:?}");
    // Who asks for nothing secret is not stopped.
    assert_eq!(office.curl("cacerts", &[]).status, 200);
}

#[test]
fn an_expired_invitation_a_missing_one_and_a_wrong_secret_look_alike() {
    let office = Office::open();
    let secret = office.invite("client", "payer");
    let file = office.path("ca/invitations/client.payer.json");
    let mut invitation: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    invitation["expires"] = 1.into();
    fs::write(&file, invitation.to_string()).unwrap();
    let asked = office.request("payer");
    let expired = office.enrol("simpleenroll", "payer", &secret, &asked.body);
    let missing = office.enrol("simpleenroll", "nobody", &secret, &asked.body);
    let wrong = office.enrol("simpleenroll", "payer", "wrong", &asked.body);
    let none = office.curl(
        "simpleenroll",
        &[
            "--header",
            "Content-Type: application/pkcs10",
            "--data",
            "x",
        ],
    );
    for other in [&missing, &wrong, &none] {
        assert_eq!((other.status, &other.body), (401, &expired.body));
    }
    office.hears("the invitation has expired");
}

#[test]
fn a_secret_is_in_no_file_and_in_no_log() {
    let office = Office::open();
    let secret = office.invite("merchant", "shop");
    let asked = office.request("shop");
    let answer = office.enrol("merchant-tls/simpleenroll", "shop", &secret, &asked.body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    for file in ["ca/journal.jsonl", "ca/invitations/merchant.shop.json"] {
        let text = fs::read_to_string(office.path(file)).unwrap();
        assert!(text.contains("shop") && !text.contains(&secret), "{file}");
    }
    let (_, log) = office.stop();
    assert!(log.contains("issued") && !log.contains(&secret));
}

#[test]
fn a_merchant_without_a_name_of_its_shop_is_not_invited() {
    let office = Office::open();
    let output = office.try_setup(&["invite", "--role", "merchant", "--name", "shop"]);
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("give --dns"), "{told}");
    let output = office.try_setup(&[
        "invite",
        "--role",
        "client",
        "--name",
        "payer",
        "--dns",
        "payer.example",
    ]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("leave out --dns"), "{told}");
}
