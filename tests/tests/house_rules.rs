//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a program can hold.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The dependencies of each package, development ones left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata failed");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| text(&dependency["name"]))
                .collect();
            (text(&package["name"]), dependencies)
        })
        .collect()
}

/// The files of the repository with this ending, sources and texts.
fn files(ending: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files failed");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.ends_with(ending))
        .map(|line| workspace().join(line))
        .filter(|path| path.exists())
        .collect()
}

#[test]
fn a_crate_knows_only_those_that_it_may() {
    let may = BTreeMap::from([
        ("twinseal-protocol", vec![]),
        ("twinseal-hsm", vec!["twinseal-secret-file"]),
        ("twinseal-secret-file", vec![]),
        (
            "twinseal-mtls",
            vec!["twinseal-protocol", "twinseal-secret-file"],
        ),
        (
            "twinseal-openapi",
            vec!["twinseal-protocol", "twinseal-mtls"],
        ),
        (
            "twinseal-gateway",
            vec![
                "twinseal-protocol",
                "twinseal-hsm",
                "twinseal-mtls",
                "twinseal-secret-file",
                "twinseal-openapi",
                "twinseal-sqlite-file",
            ],
        ),
        (
            "twinseal-merchant",
            vec![
                "twinseal-protocol",
                "twinseal-mtls",
                "twinseal-secret-file",
                "twinseal-enrolment",
                "twinseal-openapi",
                "twinseal-sqlite-file",
            ],
        ),
        (
            "twinseal-client",
            vec![
                "twinseal-protocol",
                "twinseal-mtls",
                "twinseal-secret-file",
                "twinseal-enrolment",
            ],
        ),
        (
            "twinseal-enrolment",
            vec!["twinseal-protocol", "twinseal-mtls", "twinseal-secret-file"],
        ),
        (
            "softhsm-setup",
            vec![
                "twinseal-protocol",
                "twinseal-hsm",
                "twinseal-mtls",
                "twinseal-enrolment",
            ],
        ),
        (
            "twinseal-tests",
            vec![
                "twinseal-protocol",
                "twinseal-mtls",
                "twinseal-secret-file",
                "twinseal-test-postgres",
                "twinseal-misbehaving-module",
            ],
        ),
        ("twinseal-test-postgres", vec![]),
        ("twinseal-sqlite-file", vec![]),
        ("twinseal-power-loss", vec![]),
        ("twinseal-misbehaving-module", vec![]),
    ]);
    let dependencies = dependencies();
    for (package, found) in &dependencies {
        let allowed = may
            .get(package.as_str())
            .unwrap_or_else(|| panic!("{package} is not in ARCHITECTURE.md's table"));
        for ours in found
            .iter()
            .filter(|name| dependencies.contains_key(name.as_str()))
        {
            assert!(
                allowed.contains(&ours.as_str()),
                "{package} may not know {ours}: see the table in ARCHITECTURE.md"
            );
        }
    }
}

#[test]
fn a_boundary_has_one_crate() {
    let boundaries = [
        ("cryptoki", vec!["twinseal-hsm"]),
        ("cryptoki-sys", vec!["twinseal-misbehaving-module"]),
        ("rustls", vec!["twinseal-mtls"]),
        ("tokio-rustls", vec!["twinseal-mtls"]),
        ("tokio-postgres", vec!["twinseal-gateway"]),
        (
            "rusqlite",
            vec![
                "twinseal-sqlite-file",
                "twinseal-gateway",
                "twinseal-merchant",
                "twinseal-tests",
            ],
        ),
    ];
    let never_in_protocol = ["tokio", "hyper", "cryptoki", "tracing", "rusqlite"];
    for (package, found) in dependencies() {
        for (library, crates) in &boundaries {
            assert!(
                !found.iter().any(|name| name == library) || crates.contains(&package.as_str()),
                "{library} belongs to {crates:?}, not to {package}: it is a boundary of its own"
            );
        }
        if package == "twinseal-protocol" {
            for library in never_in_protocol {
                assert!(
                    !found.iter().any(|name| name == library),
                    "protocol does no I/O, so it has no {library}"
                );
            }
        }
    }
}

#[test]
fn only_what_stands_in_for_a_c_library_is_unsafe() {
    let forbids = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    assert!(forbids.contains("unsafe_code = \"forbid\""));
    for path in files("/Cargo.toml") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("[lints]\nworkspace = true")
                || path.ends_with("tests/power-loss/Cargo.toml")
                || path.ends_with("tests/misbehaving-module/Cargo.toml"),
            "{}: the workspace's lints forbid `unsafe`; this crate has others",
            path.display()
        );
    }
}

#[test]
fn transport_knows_nothing_of_payments() {
    let allowed = ["pki", "names", "problem", "time", "identifiers"];
    for path in files(".rs") {
        if !path.starts_with(workspace().join("mtls/src")) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (_, rest) in text
            .match_indices("protocol::")
            .map(|(at, found)| (at, &text[at + found.len()..]))
        {
            let module: String = rest
                .chars()
                .take_while(|character| character.is_alphanumeric() || *character == '_')
                .collect();
            assert!(
                module.is_empty() || allowed.contains(&module.as_str()),
                "{}: protocol::{module} is of payments; mtls knows names and certificates only",
                path.display()
            );
        }
    }
}

#[test]
fn files_are_short_and_named_for_what_they_hold() {
    let nameless = [
        "utils", "util", "helpers", "helper", "common", "misc", "types",
    ];
    for path in files(".rs") {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            !nameless.contains(&stem),
            "{}: name the file for what it holds",
            path.display()
        );
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.lines().count() <= 600,
            "{}: past 600 lines; a part of it has a name of its own",
            path.display()
        );
        assert!(
            text.starts_with("//!") || text.starts_with("#!["),
            "{}: the first line says what the file is for",
            path.display()
        );
    }
}

#[test]
fn tests_neither_wait_by_the_clock_nor_are_left_out() {
    // Written in two parts, so that this file does not name what it looks for.
    let never = [
        concat!("#[ig", "nore"),
        concat!("thread::sl", "eep("),
        concat!("todo", "!("),
        concat!("unimple", "mented!("),
        concat!("set_v", "ar("),
    ];
    // A slow token is slow by the clock, and a store gathers by it; whoever tests with them waits for their answers.
    let by_the_clock = [
        "tests/misbehaving-module/src/delay.rs",
        "gateway/src/store/sqlite/writer.rs",
    ];
    for path in files(".rs") {
        let text = fs::read_to_string(&path).unwrap();
        for word in never {
            assert!(
                !text.contains(word)
                    || (word.starts_with("thread")
                        && by_the_clock.iter().any(|allowed| path.ends_with(allowed))),
                "{}: {word} hides a race or a gap",
                path.display()
            );
        }
    }
}
