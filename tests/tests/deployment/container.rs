//! The Containerfile: what it copies is there, what it starts is made, and nobody is root in it.

use std::process::Command;

use serde_json::Value;

use crate::files::{deployed, repository, succeeds};

/// The instructions, each with its continued lines, and nothing of the comments.
fn instructions(text: &str) -> Vec<(String, String)> {
    let mut joined = String::new();
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        match line.strip_suffix('\\') {
            Some(begun) => joined.push_str(begun),
            None => joined.push_str(&format!("{line}\n")),
        }
    }
    joined
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(name, rest)| {
            (
                name.to_owned(),
                rest.split_whitespace().collect::<Vec<_>>().join(" "),
            )
        })
        .collect()
}

/// What the last instruction of this name says.
fn last<'a>(instructions: &'a [(String, String)], name: &str) -> &'a str {
    let mut named = instructions.iter().filter(|(found, _)| found == name);
    &named
        .next_back()
        .unwrap_or_else(|| panic!("there is no {name}"))
        .1
}

/// The programs of the workspace.
fn programs() -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(repository(""))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let targets = packages
        .iter()
        .flat_map(|package| package["targets"].as_array().unwrap());
    targets
        .filter(|target| target["kind"][0] == "bin")
        .map(|target| target["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_the_containerfile_copies_is_there_and_what_it_starts_is_made_by_the_workspace() {
    let all = instructions(&deployed("Containerfile"));
    let stages: Vec<&str> = all
        .iter()
        .filter_map(|(name, rest)| (name == "FROM").then_some(rest)?.split_once(" AS "))
        .map(|(_, stage)| stage)
        .collect();
    let made = programs();
    for (_, copied) in all.iter().filter(|(name, _)| name == "COPY") {
        let (source, _) = copied.rsplit_once(' ').unwrap();
        match source.strip_prefix("--from=") {
            Some(from) => assert!(
                stages.contains(&from.split(' ').next().unwrap()),
                "{copied}"
            ),
            None => assert!(repository(source).exists(), "{copied}"),
        }
    }
    let build = all
        .iter()
        .find(|(name, rest)| name == "RUN" && rest.contains("cargo build"))
        .map(|(_, rest)| rest)
        .unwrap();
    let built = build
        .split(' ')
        .filter_map(|word| word.strip_prefix("target/release/"));
    assert_eq!(built.clone().count(), 3);
    for program in built {
        assert!(made.iter().any(|made| made == program), "{program}");
        assert!(build.contains(&format!("--package {program}")), "{program}");
    }
    let started: Vec<String> = serde_json::from_str(last(&all, "ENTRYPOINT")).unwrap();
    let arguments: Vec<String> = serde_json::from_str(last(&all, "CMD")).unwrap();
    let program = started[0].strip_prefix("/usr/bin/").unwrap();
    let (serve, before) = arguments.split_last().unwrap();
    assert_eq!(serve, "serve");
    // `serve --help` reads what stands before it as `serve` does.
    succeeds(
        Command::new(twinseal_tests::service::program(program))
            .args(before)
            .args(["serve", "--help"]),
    );
}

#[test]
fn the_container_has_a_user_that_is_not_root_asks_for_its_health_and_allocates_as_the_unit() {
    let all = instructions(&deployed("Containerfile"));
    let user: u32 = last(&all, "USER")
        .split(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_ne!(user, 0);
    let health = last(&all, "HEALTHCHECK");
    assert!(health.contains("http://127.0.0.1:8445/ready"), "{health}");
    let sample = std::fs::read_to_string(repository("gateway/gateway.sample.toml")).unwrap();
    let sample: toml::Table = toml::from_str(&sample).unwrap();
    assert_eq!(sample["listen"]["admin"].as_str(), Some("127.0.0.1:8445"));
    // The allocator is set as the unit sets it.
    let unit = deployed("systemd/twinseal-gateway.service");
    let set = last(&all, "ENV");
    assert!(set.starts_with("GLIBC_TUNABLES="), "{set}");
    assert!(unit.contains(&format!("\nEnvironment={set}\n")), "{set}");
    // The compiler is no older than the one that the workspace wants.
    let manifest = std::fs::read_to_string(repository("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    let wanted = manifest["workspace"]["package"]["rust-version"]
        .as_str()
        .unwrap();
    let first = &all.iter().find(|(name, _)| name == "FROM").unwrap().1;
    assert!(first.contains(&format!("rust:{wanted}-")), "{first}");
}
