//! `status`: what is there, what is wrong with it, how long it lasts.

use std::{fs, path::Path, process::ExitCode};

use protocol::identifiers::Digest;
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    Failure,
    ca::Ca,
    init::{ca_keys, gateway_keys},
    issue::hex,
    layout::{Layout, TokenPlace},
    leaf::Leaf,
    print,
    revocation::Crl,
    token_process::{FoundKey, TokenProcess},
};

/// Fewer days left than this want care.
const CARE_DAYS: i64 = 14;
const CRL_CARE_DAYS: i64 = 5;

#[derive(Serialize)]
struct Status {
    well: bool,
    keys: Vec<KeyStatus>,
    certificates: Vec<CertificateStatus>,
    crls: Vec<CrlStatus>,
}

#[derive(Serialize)]
struct KeyStatus {
    token: &'static str,
    key: String,
    class: String,
    public: Option<String>,
    verdict: String,
    well: bool,
}

/// Of one that is missing there is nothing but the file's name.
#[derive(Serialize, Default)]
struct CertificateStatus {
    file: String,
    missing: bool,
    /// Something else than a certificate is there.
    damaged: bool,
    revoked: bool,
    subject: String,
    issuing_ca: String,
    serial: String,
    x5t: String,
    days_left: i64,
    well: bool,
}

/// Of one that is missing there is nothing but the file's name.
#[derive(Serialize, Default)]
struct CrlStatus {
    file: String,
    missing: bool,
    number: u64,
    revoked: usize,
    days_left: i64,
    well: bool,
}

/// Prints the status; exit code 3 when something needs care.
pub(crate) fn status(layout: &Layout, module: &Path, json: bool) -> Result<ExitCode, Failure> {
    let mut keys = Vec::new();
    for place in [TokenPlace::Gateway, TokenPlace::Ca] {
        // The CA's token may have been carried away.
        if place == TokenPlace::Ca && !layout.softhsm_conf(place).exists() {
            continue;
        }
        let token = TokenProcess::start(layout, place, module)?;
        let wanted = match place {
            TokenPlace::Gateway => gateway_keys(),
            TokenPlace::Ca => ca_keys(layout, &token)?,
        };
        let found = token.keys(wanted.clone())?;
        let is_retired = |key: &FoundKey| {
            let public = key.public.as_deref();
            place == TokenPlace::Ca && public.is_some_and(|public| layout.is_retired(public))
        };
        for key in &found {
            let is_certified = is_of_its_certificate(layout, place, key);
            let verdict = match (key.wanted, key.violations.as_slice()) {
                (false, _) if is_retired(key) => "of a retired CA".to_owned(),
                (false, _) => "not one of ours".to_owned(),
                (true, []) if !is_certified => "not the key of its certificate".to_owned(),
                (true, []) => "as its policy".to_owned(),
                (true, violations) => violations.join("; "),
            };
            keys.push(KeyStatus {
                token: place.label(),
                key: key.label.clone(),
                class: key.class.clone(),
                public: key.public.as_deref().map(hex),
                well: !key.wanted || (key.violations.is_empty() && is_certified),
                verdict,
            });
        }
        for missing in wanted
            .iter()
            .filter(|wanted| !found.iter().any(|key| key.label == wanted.label))
        {
            keys.push(KeyStatus {
                token: place.label(),
                key: missing.label.clone(),
                class: "-".to_owned(),
                public: None,
                verdict: "missing; run `softhsm-setup init`".to_owned(),
                well: false,
            });
        }
    }
    let now = OffsetDateTime::now_utc();
    let certificates = certificate_files(layout)
        .iter()
        .map(|file| certificate_status(layout, file, now))
        .collect::<Result<Vec<_>, _>>()?;
    let crls = layout
        .cas()
        .into_iter()
        .map(|ca| crl_status(layout, ca, now))
        .collect::<Result<Vec<_>, _>>()?;
    let status = Status {
        well: keys.iter().all(|key| key.well)
            && certificates.iter().all(|certificate| certificate.well)
            && crls.iter().all(|crl| crl.well),
        keys,
        certificates,
        crls,
    };
    if json {
        let text = serde_json::to_string_pretty(&status)
            .map_err(|error| Failure::new(error.to_string()))?;
        print(&text);
    } else {
        print_tables(&status);
    }
    Ok(ExitCode::from(if status.well { 0 } else { 3 }))
}

/// Whether a key is the one of the certificate that belongs to it; one without certificate is.
fn is_of_its_certificate(layout: &Layout, place: TokenPlace, key: &FoundKey) -> bool {
    let path = match place {
        TokenPlace::Gateway => layout.token_file(place, &format!("{}.pem", key.label)),
        TokenPlace::Ca => {
            let ca = layout.cas().into_iter().find(|ca| ca.label() == key.label);
            match ca {
                Some(ca) => layout.certificate_of(ca),
                None => return true,
            }
        }
    };
    // One that can't be read has a row of its own.
    let (Some(public), Ok(certificate)) = (&key.public, Leaf::open(&path)) else {
        return true;
    };
    &certificate.public_point == public
}

/// The certificates of CAs and gateway, which must be there, and those of every party directory.
fn certificate_files(layout: &Layout) -> Vec<String> {
    let cas = layout.cas().into_iter();
    let mut files: Vec<String> = cas
        .map(|ca| format!("pki/{}.pem", ca.file_stem()))
        .collect();
    let mut directories: Vec<String> = fs::read_dir(layout.root())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "pki")
        .collect();
    directories.sort();
    for directory in directories {
        for stem in ["tls", "signing", "encryption"] {
            let file = format!("{directory}/{stem}.pem");
            if directory == "gateway" || layout.path(&file).exists() {
                files.push(file);
            }
        }
    }
    files
}

fn certificate_status(
    layout: &Layout,
    file: &str,
    now: OffsetDateTime,
) -> Result<CertificateStatus, Failure> {
    let path = layout.path(file);
    if !path.exists() {
        return Ok(CertificateStatus {
            file: file.to_owned(),
            missing: true,
            ..CertificateStatus::default()
        });
    }
    let Ok(leaf) = Leaf::open(&path) else {
        return Ok(CertificateStatus {
            file: file.to_owned(),
            damaged: true,
            ..CertificateStatus::default()
        });
    };
    let days_left = (leaf.not_after - now).whole_days();
    let revoked = is_revoked(layout, &leaf);
    Ok(CertificateStatus {
        file: file.to_owned(),
        missing: false,
        damaged: false,
        revoked,
        x5t: Digest::of(&leaf.der).to_string(),
        serial: hex(&leaf.serial),
        subject: leaf.subject,
        issuing_ca: leaf.issuing_ca,
        days_left,
        well: days_left >= CARE_DAYS && !revoked,
    })
}

/// Whether the CRL of a certificate's CA names it. A CRL that can't be read has a row of its own.
fn is_revoked(layout: &Layout, leaf: &Leaf) -> bool {
    layout
        .cas()
        .into_iter()
        .filter(|ca| {
            Leaf::open(&layout.certificate_of(*ca)).is_ok_and(|issued| issued.has_signed(leaf))
        })
        .filter_map(|ca| Crl::of_ca(layout, ca).ok())
        .any(|crl| crl.names(&leaf.serial))
}

fn crl_status(layout: &Layout, ca: Ca, now: OffsetDateTime) -> Result<CrlStatus, Failure> {
    let path = layout.crl_of(ca);
    let file = path
        .strip_prefix(layout.root())
        .unwrap_or(&path)
        .display()
        .to_string();
    if !path.exists() {
        return Ok(CrlStatus {
            file,
            missing: true,
            ..CrlStatus::default()
        });
    }
    let crl = Crl::of_ca(layout, ca)?;
    let days_left = (crl.next_update - now).whole_days();
    Ok(CrlStatus {
        file,
        missing: false,
        number: crl.number,
        revoked: crl.revoked.len(),
        days_left,
        well: days_left >= CRL_CARE_DAYS,
    })
}

fn print_tables(status: &Status) {
    let mark = |well: bool| if well { " " } else { "!" };
    print(&format!(
        "  {:<18}{:<14}{:<9}{}",
        "TOKEN", "KEY", "CLASS", "POLICY"
    ));
    for key in &status.keys {
        print(&format!(
            "{} {:<18}{:<14}{:<9}{}",
            mark(key.well),
            key.token,
            key.key,
            key.class,
            key.verdict
        ));
    }
    print(&format!(
        "\n  {:<26}{:<44}{:>5}  {}",
        "CERTIFICATE", "SUBJECT", "DAYS", "X5T"
    ));
    for certificate in &status.certificates {
        print(&format!(
            "{} {:<26}{:<44}{:>5}  {}",
            mark(certificate.well),
            certificate.file,
            match (
                certificate.missing,
                certificate.damaged,
                certificate.revoked
            ) {
                (true, ..) => "missing".to_owned(),
                (_, true, _) => "not a certificate".to_owned(),
                (.., true) => format!("{}, REVOKED", certificate.subject),
                _ => certificate.subject.clone(),
            },
            certificate.days_left,
            certificate.x5t
        ));
    }
    print(&format!(
        "\n  {:<26}{:>7}{:>9}{:>6}",
        "CRL", "NUMBER", "REVOKED", "DAYS"
    ));
    for crl in &status.crls {
        print(&format!(
            "{} {:<26}{:>7}{:>9}{:>6}{}",
            mark(crl.well),
            crl.file,
            crl.number,
            crl.revoked,
            crl.days_left,
            if crl.missing { "  missing" } else { "" }
        ));
    }
    if !status.well {
        print(
            "\n! needs care: missing things are made by `softhsm-setup init`, but a lost CRL comes from a backup; \
             CRLs are signed anew by `softhsm-setup crl`, certificates issued by `softhsm-setup issue`; move a damaged or revoked one and its key away and \
             `softhsm-setup init` makes new ones",
        );
    }
}
