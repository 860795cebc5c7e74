//! `ceremony`: the CAs are made as a file says, before witnesses. The file is checked whole, then what is in the directory and
//! in the token; only then is anything made. What was done is in the transcript, whose hash the witnesses write down.
//!
//! The root's key does not sign the transcript: it certifies issuing CAs and signs its CRL, and nothing else.

mod file;
mod transcript;

use std::{fs, path::Path};

use protocol::names::Role;
use rcgen::PublicKeyData as _;

use crate::{
    Failure,
    authority::{Authority, PublicPoint, certify_ca},
    ca::Ca,
    ceremony::{
        file::{Checked, ToIssue},
        transcript::{Transcript, sha256, written},
    },
    init,
    issue::{self, hex},
    journal::How,
    layout::{Layout, LockedLayout, Readers, TokenPlace},
    leaf::Leaf,
    print, profiles,
    revocation::{Crl, NothingIssued},
    say,
    token_process::{TokenProcess, Usage, WantedKey},
};

/// A CA that the file wants.
struct WantedCa<'a> {
    ca: Ca,
    name: &'a str,
    label: &'a str,
    days: i64,
    path_length: u8,
}

/// Performs a ceremony, or says what would be done.
pub(crate) fn ceremony(directory: &Path, file: &Path, dry_run: bool) -> Result<(), Failure> {
    let checked = Checked::read(file)?;
    let cas = wanted_cas(&checked);
    if directory.exists() {
        refuse_what_is_there(&Layout::open(directory)?, &checked, &cas)?;
    }
    if dry_run {
        tell_plan(directory, &checked, &cas);
        return Ok(());
    }
    let layout = LockedLayout::create(directory)?;
    // Once more: another command may have been at work until now.
    refuse_what_is_there(&layout, &checked, &cas)?;
    let file_copy = layout.path("ceremony/ceremony.toml");
    layout.write_new(&file_copy, &checked.bytes, Readers::All)?;
    let mut transcript = Transcript::begin(&layout, &checked.file.title)?;
    let outcome = perform(&layout, &checked, &cas, &mut transcript);
    let said = match &outcome {
        Ok(()) => "everything was done".to_owned(),
        Err(failure) => format!("it failed, and is to be begun anew elsewhere: {failure}"),
    };
    let (path, hash) = transcript.end(&said)?;
    outcome?;
    print(&format!("{hash}  {}", path.display()));
    say("this is the SHA-256 of the transcript: let each witness read it and write it down");
    Ok(())
}

fn wanted_cas(checked: &Checked) -> Vec<WantedCa<'_>> {
    let root = &checked.file.root;
    let mut all = vec![WantedCa {
        ca: Ca::first(None),
        name: &root.name,
        label: &root.label,
        days: root.days,
        path_length: root.path_length,
    }];
    all.extend(checked.file.issuing_ca.iter().map(|ca| WantedCa {
        ca: Ca::first(Some(ca.role)),
        name: &ca.name,
        label: &ca.label,
        days: ca.days,
        path_length: ca.path_length,
    }));
    all
}

/// Refuses a directory that has something of a CA, and a token that has one of the labels.
fn refuse_what_is_there(
    layout: &Layout,
    checked: &Checked,
    cas: &[WantedCa<'_>],
) -> Result<(), Failure> {
    let files = cas
        .iter()
        .flat_map(|wanted| [layout.certificate_of(wanted.ca), layout.crl_of(wanted.ca)]);
    if let Some(there) = files
        .chain([layout.path("ceremony")])
        .find(|path| path.exists())
    {
        return Err(Failure::new(format!(
            "{} is there already; a ceremony begins with nothing: use another directory",
            there.display()
        )));
    }
    // Without SoftHSM's configuration and without a PIN there is no token to look at: it is still to be made.
    let [conf, pin] = [
        layout.softhsm_conf(TokenPlace::Ca),
        layout.user_pin(TokenPlace::Ca),
    ];
    if !conf.exists() && !pin.exists() {
        return Ok(());
    }
    let token = TokenProcess::start(layout, TokenPlace::Ca, &checked.file.token.module)?;
    if !token.has_token()? {
        return Ok(());
    }
    check_serial(&token, checked)?;
    let keys = token.keys(Vec::new())?;
    match keys
        .iter()
        .find(|key| cas.iter().any(|wanted| wanted.label == key.label))
    {
        None => Ok(()),
        Some(key) => Err(Failure::new(format!(
            "the CA token has a key {} already; use another label, or a token that has none of them",
            key.label
        ))),
    }
}

fn check_serial(token: &TokenProcess, checked: &Checked) -> Result<(), Failure> {
    let Some(wanted) = &checked.file.token.serial else {
        return Ok(());
    };
    match token.describe()? {
        Some(found) if found.serial == *wanted => Ok(()),
        found => Err(Failure::new(format!(
            "the token has the serial number {:?}, and {wanted:?} is meant; bring that one, or correct [token] serial",
            found.map_or_else(String::new, |found| found.serial)
        ))),
    }
}

fn tell_plan(directory: &Path, checked: &Checked, cas: &[WantedCa<'_>]) {
    print(&format!("would be done in {}:", directory.display()));
    for wanted in cas {
        print(&format!(
            "  key {}, certificate {:?} for {} days, path length {}, and its first CRL",
            wanted.label, wanted.name, wanted.days, wanted.path_length
        ));
    }
    for party in &checked.to_issue {
        print(&format!(
            "  certificate of {} for {}, {} days: {}",
            party.party,
            party.wanted.usage,
            party.wanted.days,
            party.out.display()
        ));
    }
    print(&format!(
        "{}  the ceremony's file; nothing was done",
        sha256(&checked.bytes)
    ));
}

fn perform(
    layout: &LockedLayout,
    checked: &Checked,
    cas: &[WantedCa<'_>],
    transcript: &mut Transcript<'_>,
) -> Result<(), Failure> {
    let file = &checked.file;
    let module =
        fs::read(&file.token.module).map_err(|error| Failure::file(&file.token.module, &error))?;
    let mut facts = vec![
        ("location", file.location.clone()),
        ("file", format!("SHA-256 {}", sha256(&checked.bytes))),
        (
            "program",
            format!("softhsm-setup {}", env!("CARGO_PKG_VERSION")),
        ),
        ("module", file.token.module.display().to_string()),
        ("", format!("SHA-256 {}", sha256(&module))),
    ];
    facts.extend(
        file.witnesses
            .iter()
            .map(|witness| ("witness", witness.clone())),
    );
    transcript.step("the ceremony begins", &facts)?;

    let token = init::token(layout, &file.token.module, TokenPlace::Ca)?;
    check_serial(&token, checked)?;
    let mut facts = vec![("label", TokenPlace::Ca.label().to_owned())];
    if let Some(found) = token.describe()? {
        facts.push(("serial", found.serial));
        facts.push(("manufacturer", found.manufacturer));
        facts.push(("model", found.model));
    }
    transcript.step("the CA token is there", &facts)?;
    for wanted in cas {
        make_key(layout, &token, wanted, transcript)?;
    }
    let root_label = &file.root.label;
    for wanted in cas {
        make_ca(layout, &token, wanted, root_label, transcript)?;
    }
    drop(token);
    for party in &checked.to_issue {
        issue_to(layout, &file.token.module, party, transcript)?;
    }
    Ok(())
}

fn make_key(
    layout: &LockedLayout,
    token: &TokenProcess,
    wanted: &WantedCa<'_>,
    transcript: &mut Transcript<'_>,
) -> Result<(), Failure> {
    if !token.make_key(layout, wanted.label, Usage::Sign)? {
        return Err(Failure::new(format!(
            "the CA token has a key {} already; begin anew with a token that has none",
            wanted.label
        )));
    }
    let found = token.keys(vec![WantedKey {
        label: wanted.label.to_owned(),
        usage: Usage::Sign,
    }])?;
    let violations: Vec<String> = found.into_iter().flat_map(|key| key.violations).collect();
    if !violations.is_empty() {
        return Err(Failure::new(format!(
            "the new key {} is not as its policy: {}; use another module",
            wanted.label,
            violations.join("; ")
        )));
    }
    let public = PublicPoint(token.public(wanted.label)?);
    transcript.step(
        "a key pair was generated in the token",
        &[
            ("label", wanted.label.to_owned()),
            (
                "by",
                "C_GenerateKeyPair, CKM_EC_KEY_PAIR_GEN, P-256".to_owned(),
            ),
            (
                "policy",
                "private, sensitive, never extractable, made here, for signing alone: it holds"
                    .to_owned(),
            ),
            ("SPKI", spki(&public)),
        ],
    )
}

/// The certificate gets its file after the CRL, as everywhere.
fn make_ca(
    layout: &LockedLayout,
    token: &TokenProcess,
    wanted: &WantedCa<'_>,
    root_label: &str,
    transcript: &mut Transcript<'_>,
) -> Result<(), Failure> {
    let role: Option<Role> = wanted.ca.role;
    let params = profiles::ca_called(role, wanted.name, wanted.days, wanted.path_length)?;
    let pem = certify_ca(layout, token, role, wanted.label, &params, How::Ceremony)?;
    let nothing = NothingIssued::by_ca(layout, wanted.ca, wanted.name)?;
    Authority::sign_first_crl(layout, token, &nothing, &pem)?;
    let path = layout.certificate_of(wanted.ca);
    layout.write_new(&path, pem.as_bytes(), Readers::All)?;
    let mut facts = certificate(&path, below(layout, &path))?;
    facts.push(("path length", wanted.path_length.to_string()));
    facts.push(("signed by", signed_by(root_label)));
    transcript.step("a CA was certified", &facts)?;
    let crl = Crl::of_ca(layout, wanted.ca)?;
    let path = layout.crl_of(wanted.ca);
    let bytes = fs::read(&path).map_err(|error| Failure::file(&path, &error))?;
    transcript.step(
        "a CRL was signed",
        &[
            ("file", below(layout, &path)),
            ("of", wanted.name.to_owned()),
            ("number", crl.number.to_string()),
            ("revoked", crl.revoked.len().to_string()),
            ("next update", written(crl.next_update)),
            ("signed by", signed_by(wanted.label)),
            ("SHA-256", sha256(&bytes)),
        ],
    )
}

fn issue_to(
    layout: &LockedLayout,
    module: &Path,
    party: &ToIssue,
    transcript: &mut Transcript<'_>,
) -> Result<(), Failure> {
    issue::issue(layout, module, &party.key, &party.wanted, &party.out)?;
    let mut facts = vec![
        ("party", party.party.to_string()),
        ("usage", party.wanted.usage.to_string()),
        (
            "request",
            format!("SHA-256 {}", hex(party.request.as_bytes())),
        ),
        ("SPKI", spki(&party.key)),
    ];
    let hosts = &party.wanted.hosts;
    facts.extend(hosts.dns.iter().map(|dns| ("DNS", dns.clone())));
    facts.extend(hosts.ip.iter().map(|ip| ("IP", ip.to_string())));
    facts.extend(certificate(&party.out, party.out.display().to_string())?);
    transcript.step("a party was certified", &facts)
}

/// What there is to be known of a certificate.
fn certificate(path: &Path, shown: String) -> Result<Vec<(&'static str, String)>, Failure> {
    let found = Leaf::open(path)?;
    Ok(vec![
        ("file", shown),
        ("subject", found.subject),
        ("issuing CA", found.issuing_ca),
        ("serial", hex(&found.serial)),
        ("good until", written(found.not_after)),
        ("SHA-256", sha256(&found.der)),
    ])
}

/// How a key in the token signs.
fn signed_by(label: &str) -> String {
    format!("{label}, C_Sign, CKM_ECDSA over SHA-256")
}

fn spki(key: &PublicPoint) -> String {
    format!("SHA-256 {}", sha256(&key.subject_public_key_info()))
}

fn below(layout: &Layout, path: &Path) -> String {
    path.strip_prefix(layout.root())
        .unwrap_or(path)
        .display()
        .to_string()
}
