//! systemd's units, users and directories, as systemd's own programs see them.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, process::Command};

use tempfile::TempDir;
use twinseal_tests::{place::Place, service::program};

use crate::files::{deployed, succeeds};

const UNITS: [&str; 2] = ["twinseal-gateway", "twinseal-merchant"];

/// The most that `systemd-analyze security` may find, in tenths; 1.2 is what is left of 10: the network, which they are for.
const EXPOSURE_MAX: &str = "13";

/// The value of the last line that sets a member; an empty text when there is none.
fn member<'a>(unit: &'a str, name: &str) -> &'a str {
    unit.lines()
        .rev()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_default()
}

/// A unit that starts the program that was built, as none is installed.
fn with_built_program(directory: &TempDir, name: &str) -> PathBuf {
    let unit = deployed(&format!("systemd/{name}.service"));
    let installed = format!("ExecStart=/usr/bin/{name} ");
    assert!(unit.contains(&installed), "{unit}");
    let built = format!("ExecStart={} ", program(name).display());
    let path = directory.path().join(format!("{name}.service"));
    fs::write(&path, unit.replacen(&installed, &built, 1)).unwrap();
    path
}

#[test]
fn systemd_has_nothing_against_the_units_and_finds_them_closed() {
    let directory = TempDir::new().unwrap();
    for name in UNITS {
        let unit = with_built_program(&directory, name);
        // What it only warns of, an unknown member for example, it says with exit code 0.
        let said = succeeds(Command::new("systemd-analyze").arg("verify").arg(&unit));
        assert!(!said.contains(name), "{said}");
        succeeds(
            Command::new("systemd-analyze")
                .args(["security", "--offline=true", "--threshold", EXPOSURE_MAX])
                .arg(&unit),
        );
    }
}

#[test]
fn the_units_start_what_the_programs_know_and_stop_them_no_sooner_than_they_drain() {
    for name in UNITS {
        let unit = deployed(&format!("systemd/{name}.service"));
        let command = member(&unit, "ExecStart");
        let (_, arguments) = command.split_once(' ').unwrap();
        let arguments = arguments.strip_suffix(" serve").unwrap().split(' ');
        // `serve --help` reads the rest of the line as `serve` does.
        succeeds(
            Command::new(program(name))
                .args(arguments)
                .args(["serve", "--help"]),
        );
        assert_eq!(member(&unit, "Restart"), "always", "docs/HSM.md wants it");
        let stop: u64 = member(&unit, "TimeoutStopSec").parse().unwrap();
        assert!(stop > mtls::server::Limits::default().drain.as_secs() + 15);
    }
    let gateway = deployed("systemd/twinseal-gateway.service");
    assert_eq!(member(&gateway, "ExecReload"), "/bin/kill -HUP $MAINPID");
    // It takes no SIGHUP, and would end.
    let merchant = deployed("systemd/twinseal-merchant.service");
    assert_eq!(member(&merchant, "ExecReload"), "/bin/kill -HUP $MAINPID");
}

#[test]
fn the_users_and_directories_of_the_units_are_made_with_their_owners() {
    let root = TempDir::new().unwrap();
    let has = |relative: &str| root.path().join(relative);
    for kind in ["sysusers.d", "tmpfiles.d"] {
        let file = format!("{kind}/twinseal.conf");
        let installed = has("usr/lib").join(&file);
        fs::create_dir_all(installed.parent().unwrap()).unwrap();
        fs::write(installed, deployed(&file)).unwrap();
    }
    let run = |command: &str, arguments: &[&str]| {
        let mut command = Command::new(command);
        succeeds(command.arg("--root").arg(root.path()).args(arguments));
    };
    fs::create_dir_all(has("etc/twinseal")).unwrap();
    fs::write(has("etc/twinseal/gateway.pin"), "1234").unwrap();
    run("systemd-sysusers", &["--dry-run"]);
    if !rustix::process::geteuid().is_root() {
        // Nobody else can give files to users.
        return;
    }
    run("systemd-sysusers", &[]);
    let users = fs::read_to_string(has("etc/passwd")).unwrap();
    let id = |user: &str| {
        let line = users
            .lines()
            .find(|line| line.starts_with(&format!("{user}:")));
        let id = line.and_then(|line| line.split(':').nth(2));
        id.unwrap_or_else(|| panic!("{user} is not in {users}"))
            .parse()
            .unwrap()
    };
    for name in UNITS {
        let unit = deployed(&format!("systemd/{name}.service"));
        assert_eq!(member(&unit, "User"), name);
        assert_eq!(member(&unit, "StateDirectory"), name);
        assert_ne!(id(name), 0);
    }

    run("systemd-tmpfiles", &["--create"]);
    let (gateway, merchant) = (id("twinseal-gateway"), id("twinseal-merchant"));
    for (path, mode, owner) in [
        ("etc/twinseal", 0o755, 0),
        ("etc/twinseal/pki", 0o755, 0),
        ("etc/twinseal/gateway", 0o750, gateway),
        ("etc/twinseal/merchant", 0o750, merchant),
        ("etc/twinseal/gateway.pin", 0o600, 0),
        ("var/lib/twinseal-gateway", 0o700, gateway),
        ("var/lib/twinseal-gateway/tokens", 0o700, gateway),
        ("var/lib/twinseal-merchant", 0o700, merchant),
    ] {
        let found = fs::metadata(has(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(found.mode() & 0o777, mode, "{path}");
        assert_eq!(found.uid(), owner, "{path}");
    }
}

#[test]
fn a_gateway_whose_pin_was_refused_is_not_started_again_as_tokens_lock() {
    let place = Place::new();
    // A file of its owner alone, as the PIN's is.
    fs::copy(place.path("gateway/so.pin"), place.path("gateway/user.pin")).unwrap();
    let (code, said) = place.refused_start("twinseal-gateway", "gateway/gateway.toml");
    assert!(said.contains("refused the PIN"), "{said}");
    let unit = deployed("systemd/twinseal-gateway.service");
    let never_again: i32 = member(&unit, "RestartPreventExitStatus").parse().unwrap();
    assert_eq!(code, Some(never_again));
}
