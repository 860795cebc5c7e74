//! Invitations: a one-time secret, bound to a party's name and to what may be certified for it.
//!
//! There is one invitation for each name; another takes its place. Only a hash of the secret is kept. The secret has 120
//! random bits, so a plain hash gives nobody a way to guess it. Whether an invitation was used says the journal.

use std::{fs, io, net::IpAddr, path::PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use enrolment::label::Label;
use protocol::{
    identifiers::{Digest, Jti},
    names::{PartyName, Role},
    pki::Usage,
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{
    Failure,
    init::random_text,
    layout::{Layout, LockedLayout, Readers, TokenPlace},
    print,
    profiles::{self, Hosts, LEAF_DAYS, Purpose},
    say,
};

/// How many wrong secrets lock an invitation.
pub(crate) const WRONG_MAX: u32 = 10;

/// What is kept of an invitation.
#[derive(Serialize, Deserialize)]
pub(crate) struct Invitation {
    /// Unlike every other invitation's: by it the journal tells what it was used for.
    pub(crate) id: String,
    pub(crate) name: PartyName,
    dns: Vec<String>,
    ip: Vec<IpAddr>,
    #[serde(default)]
    ocsp: Option<String>,
    /// What may be certified, once each.
    labels: Vec<String>,
    secret_sha256: Digest,
    /// Seconds since 1970.
    expires: i64,
    /// How often the secret was wrong.
    pub(crate) wrong: u32,
}

/// Why a secret is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("there is no invitation")]
    NotInvited,
    #[error("the invitation has expired")]
    Expired,
    #[error("the invitation is locked, after {WRONG_MAX} wrong secrets")]
    Locked,
    #[error("the secret is wrong")]
    Wrong,
}

/// Whom to invite, and to what.
pub(crate) struct Wanted {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) hosts: Hosts,
    pub(crate) valid_hours: i64,
}

/// Invites a party, and prints the secret.
pub(crate) fn invite(layout: &LockedLayout, wanted: Wanted) -> Result<(), Failure> {
    let Wanted {
        role,
        name,
        hosts,
        valid_hours,
    } = wanted;
    let name = PartyName::new(role, &name)
        .map_err(|error| Failure::new(format!("--name {name}: {error}")))?;
    if role == Role::Merchant && hosts.dns.is_empty() {
        return Err(Failure::new(
            "a merchant's certificates name its shop, for payers to know it by; give --dns",
        ));
    }
    if role == Role::Client && hosts.ocsp.is_some() {
        return Err(Failure::new(
            "a client has no certificate for TLS, which would name a responder; leave out --ocsp",
        ));
    }
    let labels: Vec<Label> = Label::ALL
        .into_iter()
        .filter(|label| label.role() == role)
        .collect();
    let secret = random_text()?;
    let now = OffsetDateTime::now_utc();
    let invitation = Invitation {
        id: Jti::random()
            .map_err(|error| Failure::new(error.to_string()))?
            .to_string(),
        dns: hosts.dns,
        ip: hosts.ip,
        ocsp: hosts.ocsp,
        labels: labels.iter().map(ToString::to_string).collect(),
        secret_sha256: Digest::of(secret.as_bytes()),
        expires: (now + Duration::hours(valid_hours)).unix_timestamp(),
        wrong: 0,
        name,
    };
    // What no certificate can have is found now, not when it is asked for.
    for &label in &labels {
        let hosts = invitation.hosts(label);
        profiles::leaf(&invitation.name, purpose(label), &hosts, LEAF_DAYS)?;
    }
    let path = path(layout, &invitation.name);
    let is_other = path.exists();
    invitation.save(layout)?;
    print(&secret);
    say(&format!(
        "invited {} for {}; the secret is good for {valid_hours} h and once for each, and is told nowhere again{}",
        invitation.name,
        invitation.labels.join(" and "),
        if is_other {
            "; an invitation before this one is void"
        } else {
            ""
        }
    ));
    Ok(())
}

/// What a label's certificate is for, as the profiles have it.
pub(crate) const fn purpose(label: Label) -> Purpose {
    match label.usage() {
        Usage::TlsClient | Usage::TlsServer => Purpose::Tls,
        Usage::MessageSigning | Usage::Encryption => Purpose::Signing,
    }
}

impl Invitation {
    /// The invitation of a name, if there is one.
    pub(crate) fn find(layout: &Layout, name: &PartyName) -> Result<Option<Self>, Failure> {
        let path = path(layout, name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::file(&path, &error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Failure::new(format!(
                "{} is no invitation ({error}); invite {name} again",
                path.display()
            ))
        })
    }

    /// Whether the secret is the one that was told.
    pub(crate) fn check(
        &self,
        secret: &Zeroizing<String>,
        now: OffsetDateTime,
    ) -> Result<(), NotTaken> {
        let digest = Digest::of(secret.as_bytes());
        let is_right =
            verify_slices_are_equal(digest.as_bytes(), self.secret_sha256.as_bytes()).is_ok();
        if self.wrong >= WRONG_MAX {
            return Err(NotTaken::Locked);
        }
        if !is_right {
            return Err(NotTaken::Wrong);
        }
        if now.unix_timestamp() >= self.expires {
            return Err(NotTaken::Expired);
        }
        Ok(())
    }

    /// What it invites to.
    pub(crate) fn labels(&self) -> Vec<Label> {
        let labels = self.labels.iter();
        labels.filter_map(|label| label.parse().ok()).collect()
    }

    /// Which names the certificate of a label has.
    pub(crate) fn hosts(&self, label: Label) -> Hosts {
        let (ip, ocsp) = match purpose(label) {
            Purpose::Tls => (self.ip.clone(), self.ocsp.clone()),
            _ => (Vec::new(), None),
        };
        Hosts {
            dns: self.dns.clone(),
            ip,
            ocsp,
        }
    }

    /// Keeps it, in the place of one with the same name.
    pub(crate) fn save(&self, layout: &LockedLayout) -> Result<(), Failure> {
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| Failure::new(error.to_string()))?;
        layout.replace(&path(layout, &self.name), &text, Readers::Owner)
    }
}

fn path(layout: &Layout, name: &PartyName) -> PathBuf {
    let file = format!("invitations/{}.{}.json", name.role(), name.id());
    layout.token_file(TokenPlace::Ca, &file)
}
