//! `client` and `merchant`: a directory of their own, and never one that is something else.

use std::{fs, os::unix::fs::symlink};

use crate::directory::Directory;

fn client(out: &str) -> Vec<&str> {
    vec!["client", "--out", out]
}

fn merchant<'a>(name: &'a str, out: &'a str) -> Vec<&'a str> {
    vec!["merchant", "--name", name, "--out", out]
}

#[test]
fn a_party_that_is_there_is_completed_and_keeps_its_name() {
    let directory = Directory::provisioned();
    directory.done(&client("second"));
    directory.done(&merchant("rival", "rival"));
    let before = directory.files();
    for lost in [
        "second/client.toml",
        "second/signing.pem",
        "rival/merchant.toml",
        "rival/tls.pem",
    ] {
        directory.remove(lost);
        directory.done(&client("second"));
        directory.done(&merchant("rival", "rival"));
    }
    let after = directory.files();
    assert!(before.keys().eq(after.keys()));
    let configuration = directory.path("second/client.toml");
    assert_eq!(before[&configuration], after[&configuration]);
    // Begun, and not gone far.
    fs::create_dir(directory.path("third")).unwrap();
    fs::write(directory.path("third/client.toml.unfinished"), "name").unwrap();
    directory.done(&client("third"));
    fs::create_dir(directory.path("fourth")).unwrap();
    directory.done(&merchant("fourth", "fourth"));
    directory.is_complete();
}

#[test]
fn a_directory_of_another_party_is_refused_before_anything_is_written() {
    let directory = Directory::provisioned();
    directory.done(&merchant("rival", "rival"));
    fs::create_dir(directory.path("letters")).unwrap();
    fs::write(directory.path("letters/of-mine.txt"), "Dear").unwrap();
    fs::create_dir(directory.path("copied")).unwrap();
    for file in ["signing.key", "signing.pem"] {
        fs::copy(
            directory.path(&format!("merchant/{file}")),
            directory.path(&format!("copied/{file}")),
        )
        .unwrap();
    }
    for (command, reason) in [
        (client("merchant"), "as no client has"),
        (merchant("other", "client"), "as no merchant has"),
        (
            merchant("other", "rival"),
            "is of urn:twinseal:merchant:rival",
        ),
        (
            merchant("bookshop", "rival"),
            "is of urn:twinseal:merchant:rival",
        ),
        (client("letters"), "has nothing of a client"),
        (merchant("other", "letters"), "has nothing of a merchant"),
        (
            client("copied"),
            "copied/signing.pem does not name one client",
        ),
        (
            merchant("other", "copied"),
            "is of urn:twinseal:merchant:bookshop",
        ),
    ] {
        let told = directory.refused(&command);
        assert!(told.contains(reason), "{command:?}: {told}");
        assert!(
            told.contains("name another directory"),
            "{command:?}: {told}"
        );
    }
    fs::rename(directory.path("ca"), directory.path("carried-away")).unwrap();
    let told = directory.refused(&client("carried-away"));
    assert!(told.contains("has nothing of a client"), "{told}");
}

#[test]
fn a_certificate_of_another_name_profile_or_key_is_refused_before_anything_is_written() {
    let directory = Directory::provisioned();
    directory.done(&client("second"));
    directory.done(&merchant("rival", "rival"));
    for (command, from, to, reason) in [
        (
            client("second"),
            "client/signing.pem",
            "second/signing.pem",
            "another file beside it of urn:twinseal:client:",
        ),
        (
            client("second"),
            "rival/signing.pem",
            "second/signing.pem",
            "second/signing.pem does not name one client",
        ),
        (
            merchant("rival", "rival"),
            "rival/tls.pem",
            "rival/signing.pem",
            "rival/signing.pem is not a certificate for Signing",
        ),
        (
            merchant("rival", "rival"),
            "rival/signing.pem",
            "rival/tls.pem",
            "rival/tls.pem is not a certificate for Tls",
        ),
        (
            merchant("rival", "rival"),
            "rival/signing.key",
            "rival/tls.key",
            "rival/tls.pem is not the certificate of the key",
        ),
    ] {
        let good = fs::read(directory.path(to)).unwrap();
        fs::copy(directory.path(from), directory.path(to)).unwrap();
        // What would be made again if the refusal came late.
        let configuration = match command[0] {
            "client" => "second/instruments.toml",
            _ => "rival/catalogue.toml",
        };
        directory.remove(configuration);
        let told = directory.refused(&command);
        assert!(told.contains(reason), "{command:?}: {told}");
        assert!(told.contains("away"), "{command:?}: {told}");
        fs::write(directory.path(to), good).unwrap();
        directory.done(&command);
    }
    directory.remove("second/signing.key");
    let told = directory.refused(&client("second"));
    assert!(
        told.contains("second/signing.key; put the key there"),
        "{told}"
    );
}

#[test]
fn a_name_that_is_reserved_or_no_plain_one_is_refused() {
    let directory = Directory::provisioned();
    for out in [
        "",
        ".",
        "..",
        "a/b",
        "/tmp",
        "../outside",
        "ca",
        "gateway",
        "pki",
        "tokens",
        "-a",
        "A",
        "a b",
        "a_b",
        "a.b",
        "a\nb",
        "a\"b",
        "a'b",
        "é",
    ] {
        for command in ["client", "merchant"] {
            let out = format!("--out={out}");
            let mut arguments = vec![command, &out];
            if command == "merchant" {
                arguments.extend(["--name", "other"]);
            }
            let told = directory.refused(&arguments);
            assert!(
                told.contains("give the name of a directory below DIR"),
                "{out}: {told}"
            );
            // One line, whatever was given.
            assert_eq!(told.trim_end().lines().count(), 1, "{told}");
        }
    }
}

#[test]
fn a_link_is_not_followed_and_a_file_is_no_directory() {
    let directory = Directory::provisioned();
    let outside = Directory::empty();
    symlink(outside.path(""), directory.path("outside")).unwrap();
    symlink(directory.path("client"), directory.path("inside")).unwrap();
    symlink(outside.path("nowhere"), directory.path("nowhere")).unwrap();
    fs::write(directory.path("file"), "").unwrap();
    for out in ["outside", "inside", "nowhere", "file"] {
        for command in [client(out), merchant("other", out)] {
            let output = directory.run(&command);
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
            assert!(
                told.contains("is not a directory, or a link that may lead anywhere"),
                "{command:?}: {told}"
            );
        }
    }
    assert!(outside.files().is_empty());
}

#[test]
fn init_keeps_a_merchant_of_another_name_and_lets_the_gateway_know_it() {
    let directory = Directory::provisioned();
    fs::remove_dir_all(directory.path("merchant")).unwrap();
    directory.done(&merchant("rival", "merchant"));
    directory.remove("gateway/gateway.toml");
    directory.done(&["init"]);
    let text = fs::read_to_string(directory.path("gateway/gateway.toml")).unwrap();
    assert!(
        text.contains("name = \"urn:twinseal:merchant:rival\""),
        "{text}"
    );
    directory.is_complete();
}
