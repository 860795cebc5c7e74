//! `revoke`: a certificate is good no more, and with it whatever its key could be used for or was used to get.
//!
//! Whoever has stolen a key has every certificate of it, and what was renewed with one of them, under the same key or
//! another. So these are revoked as well, as far as the journal knows them and they have not ended.

use std::{collections::BTreeSet, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use protocol::identifiers::Digest;
use time::OffsetDateTime;

use crate::{
    Failure,
    authority::Authority,
    ca::Ca,
    issue::hex,
    journal::{Event, Journal, Revoked},
    layout::{LockedLayout, TokenPlace},
    leaf::Leaf,
    print,
    revocation::Crl,
    token_process::TokenProcess,
};

/// Revokes a certificate, and unless it is to be this one `only` all others of its key and what was renewed with them. What
/// is revoked already stays so.
pub(crate) fn revoke(
    layout: &LockedLayout,
    module: &Path,
    certificate: &Path,
    only: bool,
) -> Result<(), Failure> {
    let leaf = Leaf::open(certificate)?;
    if layout.issuer_of(&leaf).is_none() {
        return Err(Failure::new(format!(
            "{} was not issued by a CA of {}; revoke it where it was",
            certificate.display(),
            layout.root().display()
        )));
    }
    let mut journal = Journal::open(layout)?;
    let mut wanted = vec![leaf];
    if !only {
        add_what_follows(&journal, &mut wanted);
    }
    let mut open: Vec<(Ca, Vec<&Leaf>)> = Vec::new();
    for leaf in &wanted {
        // Those of a retired CA nobody trusts.
        let Some(ca) = layout.issuer_of(leaf) else {
            continue;
        };
        if Crl::of_ca(layout, ca)?.names(&leaf.serial) {
            print(&format!(
                "revoked already: {} (serial {}); {} has it",
                leaf.subject,
                hex(&leaf.serial),
                layout.crl_of(ca).display()
            ));
            continue;
        }
        match open.iter_mut().find(|(known, _)| *known == ca) {
            Some((_, leaves)) => leaves.push(leaf),
            None => open.push((ca, vec![leaf])),
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let token = TokenProcess::start(layout, TokenPlace::Ca, module)?;
    for (ca, leaves) in open {
        let authority = Authority::open_ca(layout, &token, ca)?;
        for leaf in &leaves {
            enter(layout, &mut journal, ca, leaf, only)?;
        }
        let serials: Vec<Vec<u8>> = leaves.iter().map(|leaf| leaf.serial.clone()).collect();
        authority.sign_crl(&serials)?;
        for leaf in leaves {
            print(&format!(
                "revoked {} (serial {}); {} has it: load it where it is trusted",
                leaf.subject,
                hex(&leaf.serial),
                layout.crl_of(ca).display()
            ));
        }
    }
    Ok(())
}

/// Adds the certificates of the same keys, and those that were renewed with one of all these, until there are no more.
fn add_what_follows(journal: &Journal, wanted: &mut Vec<Leaf>) {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let mut keys: BTreeSet<String> = BTreeSet::new();
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut looked_at = 0;
    while looked_at < wanted.len() {
        let leaf = &wanted[looked_at];
        looked_at += 1;
        keys.insert(leaf.spki_sha256.to_string());
        known.insert(Digest::of(&leaf.der).to_string());
        let found: Vec<Leaf> = journal
            .issued()
            .filter(|issued| issued.not_after > now)
            .filter(|issued| !known.contains(&issued.certificate_sha256.to_string()))
            .filter(|issued| {
                let was_renewed_with = issued
                    .asked
                    .as_ref()
                    .is_some_and(|asked| known.contains(&asked.by));
                was_renewed_with || keys.contains(&issued.spki_sha256.to_string())
            })
            .filter_map(|issued| Leaf::of(&STANDARD.decode(&issued.certificate).ok()?))
            .collect();
        known.extend(found.iter().map(|leaf| Digest::of(&leaf.der).to_string()));
        wanted.extend(found);
    }
}

/// Writes a revocation into the journal, before the CRL that has it: what is revoked for others is so here. One that a run
/// before was interrupted after stays as it is.
fn enter(
    layout: &LockedLayout,
    journal: &mut Journal,
    ca: Ca,
    leaf: &Leaf,
    only: bool,
) -> Result<(), Failure> {
    let event = Event::Revoked(Revoked {
        ca: ca.label(),
        serial: hex(&leaf.serial),
        subject: leaf.whose(),
        certificate_sha256: Digest::of(&leaf.der),
        only,
    });
    if journal.entries().iter().any(|entry| entry.event == event) {
        return Ok(());
    }
    journal.append(layout, event)
}
