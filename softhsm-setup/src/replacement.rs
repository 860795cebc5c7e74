//! `ca replace` and `ca retire`: an issuing CA takes another one's place while both are trusted.

use std::{fs, path::Path};

use protocol::names::Role;
use time::{Duration, OffsetDateTime};

use crate::{
    Failure,
    authority::{Authority, certify_ca, key_label},
    ca::Ca,
    layout::{LockedLayout, Readers, TokenPlace},
    leaf::Leaf,
    profiles,
    revocation::{Crl, NothingIssued},
    say,
    token_process::{TokenProcess, Usage},
    trust_lists,
};

/// Makes a further CA of a role, which issues from now on, and has the configurations trust both.
pub(crate) fn replace(
    layout: &LockedLayout,
    module: &Path,
    role: Role,
    days: i64,
) -> Result<(), Failure> {
    let mut there = layout.issuing_cas(role);
    let newest = there.pop().ok_or_else(|| {
        Failure::new(format!(
            "there is no {role} CA to be replaced; `softhsm-setup init` makes it"
        ))
    })?;
    // A run that was interrupted after it made the CA is completed, not done once more.
    if let Some(former) = there.pop()
        && !trust_lists::all_list(layout, role, former, newest)?
    {
        trust_lists::add(layout, role, former, newest)?;
        say(&format!(
            "the replacement by {} had been interrupted, and is complete now",
            newest.label()
        ));
        return Ok(());
    }
    let root = Leaf::open(&layout.certificate_of(Ca::first(None)))?;
    if OffsetDateTime::now_utc() + Duration::days(days) > root.not_after {
        return Err(Failure::new(format!(
            "the root CA ends on {}, before the {role} CA would; give fewer --days, or make a new root in another \
             directory",
            root.not_after.date()
        )));
    }
    let former = Leaf::open(&layout.certificate_of(newest))?;
    let ca = newest.next();
    let name = ca.numbered(newest.unnumbered(&former.subject, ' '), ' ');
    if !layout.crl_of(ca).exists() {
        NothingIssued::by_ca(layout, ca, &name)?;
    }

    let token = TokenProcess::start(layout, TokenPlace::Ca, module)?;
    // The former one's key must be there, too: its CRL will be signed for as long as it is trusted.
    Authority::open_ca(layout, &token, newest)?;
    let keys = token.keys(Vec::new())?;
    let former_label = key_label(layout, newest, &keys);
    let label = ca.numbered(newest.unnumbered(&former_label, '-'), '-');
    token.make_key(layout, &label, Usage::Sign)?;
    let params = profiles::ca_called(Some(role), &name, days, 0)?;
    let pem = certify_ca(layout, &token, Some(role), &label, &params)?;
    if !layout.crl_of(ca).exists() {
        let nothing = NothingIssued::by_ca(layout, ca, &name)?;
        Authority::sign_first_crl(layout, &token, &nothing, &pem)?;
    }
    // From here on it is the one that issues.
    layout.write_new(&layout.certificate_of(ca), pem.as_bytes(), Readers::All)?;
    say(&format!(
        "made   {label}, {name}; it issues from now on, and {former_label} no more"
    ));
    trust_lists::add(layout, role, newest, ca)?;
    say(&format!(
        "bring pki/{stem}.pem and pki/{stem}.crl to every program, list them beside the former ones under [trust], and \
         have the programs read them, before anything that {label} issued is used; `softhsm-setup ca retire --role \
         {role}` once nothing of {former_label} is in use",
        stem = ca.file_stem()
    ));
    Ok(())
}

/// Takes the oldest CA of a role away.
pub(crate) fn retire(
    layout: &LockedLayout,
    role: Role,
    although_in_use: bool,
) -> Result<(), Failure> {
    let there = layout.issuing_cas(role);
    let &[oldest, _, ..] = there.as_slice() else {
        return Err(Failure::new(format!(
            "there is one {role} CA, and nobody would be certified without it; `softhsm-setup ca replace --role \
             {role}` makes another one first"
        )));
    };
    let in_use = in_use(layout, oldest)?;
    if !in_use.is_empty() && !although_in_use {
        return Err(Failure::new(format!(
            "{} issued what is still in use: {}; replace or revoke these, or give --although-in-use",
            oldest.label(),
            in_use.join(", ")
        )));
    }
    trust_lists::remove(layout, role, oldest)?;
    let retired = layout.retired();
    fs::create_dir_all(&retired).map_err(|error| Failure::file(&retired, &error))?;
    // The certificate last: with it the CA counts, and a run that was interrupted is completed by another.
    for path in [layout.crl_of(oldest), layout.certificate_of(oldest)] {
        if let Some(name) = path.file_name()
            && path.exists()
        {
            fs::rename(&path, retired.join(name)).map_err(|error| Failure::file(&path, &error))?;
        }
    }
    say(&format!(
        "retired {label}: it is in pki/retired/, and its CRL is signed no more; take it out of [trust] everywhere; \
         `softhsm-setup revoke --certificate {}` has the root say so, too; its key is in the CA token until you destroy it \
         with the vendor's tools",
        retired
            .join(format!("{}.pem", oldest.file_stem()))
            .display(),
        label = oldest.label()
    ));
    Ok(())
}

/// The certificates in the directory that a CA issued, and that are good now.
fn in_use(layout: &LockedLayout, ca: Ca) -> Result<Vec<String>, Failure> {
    let issuing = Leaf::open(&layout.certificate_of(ca))?;
    // A run that was interrupted may have moved it.
    let crl = Crl::of_ca(layout, ca).ok();
    let now = OffsetDateTime::now_utc();
    let mut in_use = Vec::new();
    for path in layout.certificates()? {
        let Some(leaf) = fs::read(&path).ok().and_then(|pem| Leaf::read(&pem)) else {
            continue;
        };
        let is_revoked = crl.as_ref().is_some_and(|crl| crl.names(&leaf.serial));
        if issuing.has_signed(&leaf) && leaf.not_after > now && !is_revoked {
            let path = path.strip_prefix(layout.root()).unwrap_or(&path);
            in_use.push(path.display().to_string());
        }
    }
    Ok(in_use)
}
