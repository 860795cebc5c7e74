//! The ceremony's file: what it may say, and that it holds together, before anything is touched.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::{Component, Path, PathBuf},
};

use clap::ValueEnum as _;
use protocol::{
    identifiers::Digest,
    names::{PartyName, Role},
};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    Failure,
    authority::PublicPoint,
    cli::RoleArgument,
    issue::{Wanted, requested_key},
    profiles::{self, Hosts, LEAF_DAYS, Purpose},
};

/// RFC 5280, ub-common-name.
const NAME_MAX: usize = 64;

/// What PKCS#11 modules have room for.
const LABEL_MAX: usize = 32;

/// What the file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CeremonyFile {
    pub(super) title: String,
    pub(super) location: String,
    pub(super) witnesses: Vec<String>,
    pub(super) token: Token,
    pub(super) root: Root,
    pub(super) issuing_ca: Vec<IssuingCa>,
    #[serde(default)]
    issue: Vec<Issue>,
}

/// The CA token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub(super) module: PathBuf,
    pub(super) serial: Option<String>,
}

/// The root CA.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) days: i64,
    pub(super) path_length: u8,
}

/// The issuing CA of a role.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuingCa {
    #[serde(deserialize_with = "role")]
    pub(super) role: Role,
    pub(super) name: String,
    pub(super) label: String,
    pub(super) days: i64,
    pub(super) path_length: u8,
}

/// A certificate for a party.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    #[serde(deserialize_with = "role")]
    role: Role,
    #[serde(deserialize_with = "usage")]
    usage: Purpose,
    name: String,
    request: PathBuf,
    #[serde(default)]
    dns: Vec<String>,
    #[serde(default)]
    ip: Vec<IpAddr>,
    ocsp: Option<String>,
    #[serde(default = "leaf_days")]
    days: i64,
    out: PathBuf,
}

fn leaf_days() -> i64 {
    LEAF_DAYS
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
    let text = String::deserialize(deserializer)?;
    RoleArgument::from_str(&text, false)
        .map(Role::from)
        .map_err(|_| D::Error::custom("a role is client, merchant or gateway"))
}

fn usage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Purpose, D::Error> {
    let text = String::deserialize(deserializer)?;
    Purpose::from_str(&text, false)
        .map_err(|_| D::Error::custom("a usage is signing, encryption, tls or ocsp"))
}

/// A party's certificate that will be issued: its request was read, and its profile is one.
pub(super) struct ToIssue {
    pub(super) party: PartyName,
    pub(super) wanted: Wanted,
    /// SHA-256 of the request that was read.
    pub(super) request: Digest,
    /// The key in it: what is certified, whatever becomes of the file.
    pub(super) key: PublicPoint,
    pub(super) out: PathBuf,
}

/// A file that holds together.
pub(super) struct Checked {
    pub(super) file: CeremonyFile,
    /// The bytes that were read, for their hash.
    pub(super) bytes: Vec<u8>,
    pub(super) to_issue: Vec<ToIssue>,
}

impl Checked {
    /// Reads a file and holds it against everything that can be known without a token.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = fs::read(path).map_err(|error| Failure::file(path, &error))?;
        let refused = |reason: &str| {
            Failure::new(format!(
                "{}: {reason}; ceremony.sample.toml explains every member",
                path.display()
            ))
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| refused("it is not UTF-8"))?;
        let file: CeremonyFile = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(0, |span| text[..span.end].lines().count());
            refused(&format!("near line {line}: {}", error.message()))
        })?;
        file.check().map_err(|reason| refused(&reason))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let to_issue = file.to_issue(directory)?;
        Ok(Self {
            file,
            bytes,
            to_issue,
        })
    }
}

impl CeremonyFile {
    fn check(&self) -> Result<(), String> {
        let said = [("title", &self.title), ("location", &self.location)];
        let witnesses = self.witnesses.iter().map(|witness| ("a witness", witness));
        for (what, text) in said.into_iter().chain(witnesses) {
            if text.trim().is_empty() || text.contains(char::is_control) {
                return Err(format!("{what} is empty, or not one line"));
            }
        }
        if self.witnesses.is_empty() {
            return Err("there is no witness".to_owned());
        }
        if !self.token.module.is_absolute() || !self.token.module.is_file() {
            let module = self.token.module.display();
            return Err(format!(
                "[token] module {module} is no file with an absolute path"
            ));
        }
        for role in Role::ALL {
            match self.issuing_ca.iter().filter(|ca| ca.role == role).count() {
                1 => {}
                count => {
                    return Err(format!(
                        "{count} issuing CAs are of the role {role}, not one"
                    ));
                }
            }
        }
        self.check_names()?;
        self.check_issued()?;
        self.check_lifetimes()
    }

    fn check_names(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        let mut labels = BTreeSet::new();
        let root = (&self.root.name, &self.root.label);
        let issuing = self.issuing_ca.iter().map(|ca| (&ca.name, &ca.label));
        for (name, label) in std::iter::once(root).chain(issuing) {
            let is_name = name.trim() == name
                && !name.is_empty()
                && name.chars().count() <= NAME_MAX
                && !name.contains(char::is_control);
            if !is_name {
                return Err(format!(
                    "{name:?} is no name of at most {NAME_MAX} characters"
                ));
            }
            let is_label = !label.is_empty()
                && label.len() <= LABEL_MAX
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !is_label {
                return Err(format!(
                    "{label:?} is no label of at most {LABEL_MAX} of a-z, 0-9 and -"
                ));
            }
            if !names.insert(name) {
                return Err(format!("two CAs are called {name:?}"));
            }
            if !labels.insert(label) {
                return Err(format!("two keys have the label {label}"));
            }
        }
        Ok(())
    }

    /// What is asked for stands in the transcript, a line each.
    fn check_issued(&self) -> Result<(), String> {
        for issue in &self.issue {
            for path in [&issue.request, &issue.out] {
                let is_straight = path.components().all(|part| part != Component::ParentDir);
                let is_one_line = path
                    .to_str()
                    .is_some_and(|text| !text.contains(char::is_control));
                if !is_straight || !is_one_line {
                    return Err(format!(
                        "{path:?} is no path in one line that goes straight down"
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_lifetimes(&self) -> Result<(), String> {
        const DAYS_MAX: i64 = 36_500;
        if !(1..=DAYS_MAX).contains(&self.root.days) {
            return Err(format!("the root's days are not within 1 to {DAYS_MAX}"));
        }
        if self.root.path_length == 0 {
            return Err("the root's path_length is 0, and no CA could be below it".to_owned());
        }
        for ca in &self.issuing_ca {
            let role = ca.role;
            if !(1..self.root.days).contains(&ca.days) {
                return Err(format!(
                    "the {role} CA has {} days; it has to end before the root, which has {}",
                    ca.days, self.root.days
                ));
            }
            if ca.path_length != 0 {
                return Err(format!(
                    "the {role} CA's path_length is {}; an issuing CA certifies parties alone, so it is 0",
                    ca.path_length
                ));
            }
            let issued = self.issue.iter().filter(|issue| issue.role == role);
            for issue in issued {
                if !(1..ca.days).contains(&issue.days) {
                    return Err(format!(
                        "the certificate of {role} {} has {} days; it has to end before its CA, which has {}",
                        issue.name, issue.days, ca.days
                    ));
                }
            }
        }
        Ok(())
    }

    fn to_issue(&self, directory: &Path) -> Result<Vec<ToIssue>, Failure> {
        let mut outs = BTreeSet::new();
        let mut all = Vec::new();
        for issue in &self.issue {
            let party = PartyName::new(issue.role, &issue.name)
                .map_err(|error| Failure::new(format!("[[issue]] {}: {error}", issue.name)))?;
            let wanted = Wanted {
                role: issue.role,
                usage: issue.usage,
                name: issue.name.clone(),
                hosts: Hosts {
                    dns: issue.dns.clone(),
                    ip: issue.ip.clone(),
                    ocsp: issue.ocsp.clone(),
                },
                days: issue.days,
            };
            profiles::leaf(&party, wanted.usage, &wanted.hosts, wanted.days)?;
            let (request, out) = (directory.join(&issue.request), directory.join(&issue.out));
            let key = requested_key(&request, wanted.usage)?;
            let request =
                Digest::of(&fs::read(&request).map_err(|error| Failure::file(&request, &error))?);
            if out.exists() || !outs.insert(out.clone()) {
                return Err(Failure::new(format!(
                    "{} is there already, or named twice; name another file as `out`",
                    out.display()
                )));
            }
            all.push(ToIssue {
                party,
                wanted,
                request,
                key,
                out,
            });
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../ceremony.sample.toml");

    /// The sample, in which a module is named that is there.
    fn sample() -> String {
        SAMPLE.replace("/usr/lib/softhsm/libsofthsm2.so", "/bin/sh")
    }

    fn read(text: &str) -> Result<Checked, String> {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("ceremony.toml");
        fs::write(&path, text).unwrap();
        Checked::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn the_sample_is_a_ceremony_and_names_what_init_would() {
        let checked = read(&sample()).unwrap();
        assert_eq!(checked.file.root.name, profiles::ca_name(None));
        for ca in &checked.file.issuing_ca {
            assert_eq!(ca.name, profiles::ca_name(Some(ca.role)));
            assert_eq!(ca.label, crate::ca::Ca::first(Some(ca.role)).label());
            assert_eq!(ca.days, profiles::ISSUING_CA_DAYS);
        }
        assert!(checked.to_issue.is_empty());
    }

    #[test]
    fn the_issue_that_the_sample_shows_is_one() {
        let shown: String = SAMPLE
            .lines()
            .skip_while(|line| *line != "# [[issue]]")
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        let file: CeremonyFile = toml::from_str(&(sample() + &shown)).unwrap();
        assert_eq!(file.issue[0].usage, Purpose::Tls);
        file.check().unwrap();
    }

    #[test]
    fn what_is_issued_stands_in_one_line_of_the_transcript() {
        let issue = |members: &str| {
            let text = format!(
                "{}\n[[issue]]\nrole = \"gateway\"\nusage = \"tls\"\nname = \"main\"\n{members}",
                sample()
            );
            toml::from_str::<CeremonyFile>(&text).unwrap().check()
        };
        issue("request = \"a.csr\"\nout = \"b/c.pem\"").unwrap();
        for members in [
            "request = \"a.csr\"\nout = \"../c.pem\"",
            "request = \"a.csr\"\nout = \"c.pem\\n\\n16. the root key was destroyed\"",
        ] {
            let refused = issue(members).unwrap_err();
            assert!(refused.contains("no path in one line"), "{refused}");
        }
    }

    #[test]
    fn what_does_not_hold_together_is_refused_with_the_reason() {
        for (from, to, reason) in [
            ("title =", "titel =", "unknown field"),
            (
                "\"Ada Example, security officer\",\n    \"Ben Example, auditor\",\n",
                "",
                "no witness",
            ),
            ("\"Ben Example, auditor\"", "\" \"", "a witness is empty"),
            (
                "label = \"client-ca\"",
                "label = \"root-ca\"",
                "two keys have the label root-ca",
            ),
            (
                "\"Twinseal client CA\"",
                "\"Twinseal root CA\"",
                "two CAs are called",
            ),
            (
                "label = \"client-ca\"",
                "label = \"Client CA\"",
                "is no label",
            ),
            ("\"Twinseal client CA\"", "\"\"", "is no name"),
            ("days = 1825", "days = 3650", "has to end before the root"),
            ("days = 3650", "days = 0", "days are not within"),
            (
                "path_length = 1 ",
                "path_length = 0 ",
                "no CA could be below it",
            ),
            (
                "path_length = 0",
                "path_length = 1",
                "certifies parties alone",
            ),
            (
                "role = \"client\"",
                "role = \"merchant\"",
                "0 issuing CAs are of the role client",
            ),
            (
                "role = \"client\"",
                "role = \"root\"",
                "a role is client, merchant or gateway",
            ),
            ("/bin/sh", "bin/sh", "no file with an absolute path"),
            (
                "/bin/sh",
                "/nowhere/module.so",
                "no file with an absolute path",
            ),
        ] {
            let text = sample().replacen(from, to, 1);
            assert_ne!(text, sample(), "{from}");
            let told = read(&text)
                .err()
                .unwrap_or_else(|| panic!("{to} was taken"));
            assert!(told.contains(reason), "{to}: {told}");
        }
    }
}
