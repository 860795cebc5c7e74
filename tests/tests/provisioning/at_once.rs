//! Several commands at once: one writes, the others wait, and nothing is lost.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    process::Output,
};

use crate::directory::{Directory, crl_number};

/// Starts all of these, and waits for all.
fn at_once(directory: &Directory, commands: &[Vec<&str>]) -> Vec<Output> {
    let children: Vec<_> = commands
        .iter()
        .map(|command| directory.started(command))
        .collect();
    children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect()
}

#[test]
fn every_certificate_that_is_reported_as_revoked_is_in_the_crl_whatever_runs_beside_it() {
    let directory = Directory::provisioned();
    let csr = directory.request("anybody", "P-256", &[]);
    let files: Vec<String> = (0..8)
        .map(|number| {
            let out = directory.text(&format!("issued-{number}.pem"));
            directory.done(&[
                "issue", "--csr", &csr, "--role", "client", "--usage", "signing", "--name",
                "chosen", "--out", &out,
            ]);
            out
        })
        .collect();
    let mut commands: Vec<_> = files
        .iter()
        // They are all of one key.
        .map(|file| vec!["revoke", "--only", "--certificate", file])
        .collect();
    for at in [2, 5, 8] {
        commands.insert(at, vec!["crl"]);
    }
    let outputs = at_once(&directory, &commands);
    let text = directory.crl("client-ca");
    let mut reported = 0;
    for (command, output) in commands.iter().zip(&outputs) {
        assert!(output.status.success(), "{command:?}: {output:?}");
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        if let Some((_, rest)) = said.split_once("(serial ") {
            let serial = rest.split(')').next().unwrap().to_uppercase();
            assert!(
                text.contains(&format!("Serial Number: {serial}")),
                "{serial}: {text}"
            );
            reported += 1;
        }
    }
    assert_eq!(reported, files.len());
    // Each run had a number of its own.
    assert_eq!(crl_number(&text), 1 + commands.len() as u64, "{text}");
    for file in &files {
        let name = file.rsplit('/').next().unwrap();
        assert!(
            !directory.verify(name, "client-ca").status.success(),
            "{name}"
        );
    }
    directory.is_complete();
}

#[test]
fn many_inits_at_once_make_everything_once() {
    let directory = Directory::empty();
    let outputs = at_once(&directory, &vec![vec!["init"]; 4]);
    let mut told = String::new();
    for output in outputs {
        assert!(output.status.success(), "{output:?}");
        told += &String::from_utf8(output.stderr).unwrap();
    }
    for line in told.lines().filter(|line| line.starts_with("made ")) {
        assert_eq!(told.matches(line).count(), 1, "{line}\n{told}");
    }
    directory.is_complete();
}

#[test]
fn a_command_that_writes_says_once_that_it_waits_and_status_does_not_wait() {
    let directory = Directory::provisioned();
    let lock = File::open(directory.path(".lock")).unwrap();
    lock.lock().unwrap();
    let certificate = directory.text("client/signing.pem");
    for command in [
        &["init"][..],
        &["crl"],
        &["revoke", "--certificate", &certificate],
        &["client", "--out", "second"],
    ] {
        let mut child = directory.started(command);
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        told.read_line(&mut first).unwrap();
        assert!(
            first.starts_with("waiting: another softhsm-setup writes in "),
            "{command:?}: {first}"
        );
        // One of the commands revokes, which the next status tells.
        assert!([0, 3].contains(&directory.status().0));
        assert!(child.try_wait().unwrap().is_none());
        lock.unlock().unwrap();
        let mut rest = String::new();
        told.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success(), "{command:?}: {rest}");
        assert!(!rest.contains("waiting"), "{command:?}: {rest}");
        lock.lock().unwrap();
    }
}
