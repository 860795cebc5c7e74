//! The test vectors in `protocol/vectors/`: they are what the generator makes, what they say of one
//! another holds, and each is judged as it says.

use std::{collections::BTreeSet, fs};

use protocol::{encoding, identifiers::Digest, sealed_payment::SealedPayment};
use serde_json::Value;
use sha2::Digest as _;

use crate::{
    judge::{World, bytes, directory, member, vectors},
    make_vectors::files,
};

#[test]
fn the_files_are_what_the_generator_makes() {
    let made = files();
    for (name, text) in &made {
        let found = fs::read_to_string(directory().join(name)).unwrap();
        assert!(
            &found == text,
            "{name} differs: run `cargo run -p twinseal-protocol --example make_vectors`, and look at the difference"
        );
    }
    let names: BTreeSet<_> = made.iter().map(|(name, _)| (*name).to_owned()).collect();
    let found: BTreeSet<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(found, names);
}

/// Judges every vector of a file; all differences are told at once.
fn judge(file: &str) {
    let world = World::read();
    let vectors = vectors(file);
    assert!(!vectors.is_empty());
    let differences: Vec<String> = vectors
        .iter()
        .filter_map(|vector| {
            let found = world.judge(vector).err();
            let problem = found.as_ref().map(|refusal| refusal.problem);
            (problem != vector.expected()).then(|| {
                let found = found.map_or("accepted".to_owned(), |refusal| refusal.to_string());
                format!(
                    "{} ({}): {} expected, since {} Found: {found}",
                    vector.name, vector.message, vector.expect, vector.why
                )
            })
        })
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn what_may_not_be_refused_is_accepted() {
    judge("accepted.json");
}

#[test]
fn bad_sessions_are_refused_as_named() {
    judge("refused-sessions.json");
}

#[test]
fn purchases_of_another_form_are_refused_as_named() {
    judge("refused-purchase-forms.json");
}

#[test]
fn purchases_that_say_something_else_are_refused_as_named() {
    judge("refused-purchases.json");
}

#[test]
fn certificates_that_do_not_do_are_refused_as_named() {
    judge("refused-certificates.json");
}

#[test]
fn bad_authorization_requests_are_refused_as_named() {
    judge("refused-authorizations.json");
}

#[test]
fn bad_sealed_payments_are_refused_by_one_name() {
    judge("refused-sealed-payments.json");
    for vector in vectors("refused-sealed-payments.json") {
        assert_eq!(
            vector.expect, "payment-information-invalid",
            "{}",
            vector.name
        );
    }
}

#[test]
fn bad_answers_and_proofs_are_refused_as_named() {
    judge("refused-answers.json");
}

#[test]
fn bad_lifecycle_requests_and_cancellations_are_refused_as_named() {
    judge("refused-lifecycle.json");
}

#[test]
fn a_refusal_never_tells_the_card_or_the_cart() {
    let world = World::read();
    for (file, _) in files()
        .iter()
        .filter(|(name, _)| name.starts_with("refused"))
    {
        for vector in vectors(file) {
            let refusal = world
                .judge(&vector)
                .err()
                .map(|refusal| refusal.to_string());
            let told = refusal.unwrap_or_default();
            for secret in ["4111", "Pride", "978-0", "Long Lane", "2031"] {
                assert!(!told.contains(secret), "{}: {told}", vector.name);
            }
        }
    }
}

#[test]
fn every_value_of_the_good_purchase_follows_from_the_others() {
    let world = World::read();
    let message = &world.purchase["message_3"];
    let text = |pointer: &str| member::<String>(message, pointer);
    let h = |pointer: &str| Digest::of(text(pointer).as_bytes()).to_string();

    for half in ["oi", "pi"] {
        let json = encoding::base64url_decode(&text(&format!("/{half}/disclosure"))).unwrap();
        assert_eq!(json, text(&format!("/{half}/json")).into_bytes());
        assert_eq!(
            h(&format!("/{half}/disclosure")),
            text(&format!("/{half}/digest"))
        );
    }
    let mut digests = [text("/oi/digest"), text("/pi/digest")];
    digests.sort();
    assert_eq!(
        member::<Vec<String>>(message, "/dual_signature/claims/_sd"),
        digests
    );
    assert_eq!(h("/dual_signature/jws"), text("/dsh"));
    assert_eq!(h("/jwe/compact"), text("/pih"));

    let plaintext = text("/jwe/plaintext");
    assert_eq!(plaintext.len() % 512, 0);
    assert_eq!(plaintext.trim_end_matches('~'), text("/pi/disclosure"));

    let jwe = text("/jwe/compact");
    let header = encoding::base64url(text("/jwe/header").as_bytes());
    assert!(jwe.starts_with(&format!("{header}..")));
    let sealed = SealedPayment::read(&jwe).unwrap();
    let secret = world.shared_secret("gateway encryption", sealed.ephemeral());
    assert_eq!(secret.to_vec(), bytes(message, "/jwe/shared_secret"));
    let kdf_input = bytes(message, "/jwe/kdf_input");
    assert!(kdf_input.windows(32).any(|part| part == secret));
    assert_eq!(
        sha2::Sha256::digest(&kdf_input).to_vec(),
        bytes(message, "/jwe/content_key")
    );
    let opened = sealed.open(&secret).unwrap();
    assert_eq!(opened.disclosure_text(), text("/pi/disclosure"));
}

#[test]
fn the_good_purchase_is_the_one_that_is_accepted() {
    let world = World::read();
    let inputs: Vec<Value> = fs::read_to_string(directory().join("accepted.json"))
        .map(|text| serde_json::from_str::<Value>(&text).unwrap())
        .map(|file| member(&file, "/vectors"))
        .unwrap();
    for (name, pointer) in [
        ("the good message 1", "/message_1/body"),
        ("the good message 2", "/message_2/jws"),
        ("the good message 3", "/message_3/body"),
        ("the good message 4", "/message_4/body"),
        ("the good message 5", "/message_5/jws"),
        ("the good message 6", "/message_6/body"),
        ("the good proof", "/inquiry/jws"),
    ] {
        let vector = inputs.iter().find(|vector| vector["name"] == name).unwrap();
        assert_eq!(Some(&vector["input"]), world.purchase.pointer(pointer));
    }
}
