//! The enrolment service's own key and certificate for TLS, in files of its own directory.
//!
//! The certificate is the gateway CA's: a payer and a merchant trust that CA already, so a renewal needs no trust of its
//! own. Its name is `urn:twinseal:gateway:enrolment`, which no configuration takes for the gateway's, and it is for
//! servers alone. The key is in a file and not in the CA token: that token is to sign what was decided, not for every
//! stranger that connects. Whoever steals the file can pose as the service and collect one-time secrets, and certify
//! nothing.

use std::path::PathBuf;

use enrolment::service::ID;
use protocol::names::{PartyName, Role};
use rcgen::{KeyPair, PublicKeyData as _};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    Failure,
    authority::{Authority, Origin, PublicPoint},
    journal::{How, Journal},
    layout::{Layout, LockedLayout, Readers},
    leaf::{Leaf, check_is_of},
    profiles::{self, Hosts},
    revocation::Crl,
    token_process::TokenProcess,
};

/// The service's directory.
pub(crate) const DIRECTORY: &str = "enrolment";

pub(crate) fn key_path(layout: &Layout) -> PathBuf {
    layout.path(DIRECTORY).join("tls.key")
}

pub(crate) fn certificate_path(layout: &Layout) -> PathBuf {
    layout.path(DIRECTORY).join("tls.pem")
}

/// Makes what is missing of them. Tells whether it did.
pub(crate) fn make_if_missing(
    layout: &LockedLayout,
    ca: &TokenProcess,
    hosts: &Hosts,
) -> Result<bool, Failure> {
    let key = key_path(layout);
    if !key.exists() {
        let made = KeyPair::generate()
            .map_err(|error| Failure::new(format!("no key was made: {error}; try again")))?;
        let pem = Zeroizing::new(made.serialize_pem());
        layout.write_new(&key, pem.as_bytes(), Readers::Owner)?;
    }
    let certificate = certificate_path(layout);
    let public = public(layout)?;
    if certificate.exists() {
        check_is_of(&certificate, &public.0)?;
        return Ok(false);
    }
    issue(layout, ca, hosts, &public, How::Init)?;
    Ok(true)
}

/// Has the certificate renewed once two thirds of its time are over, when it is revoked, or when another CA issues now.
/// Tells whether it was.
pub(crate) fn renew_if_due(layout: &LockedLayout, ca: &TokenProcess) -> Result<bool, Failure> {
    let leaf = Leaf::open(&certificate_path(layout))?;
    let now = OffsetDateTime::now_utc();
    let is_due = now - leaf.not_before > (leaf.not_after - leaf.not_before) * 2 / 3;
    let issuing = Leaf::open(&layout.ca_certificate(Some(Role::Gateway)))?;
    let is_bad =
        !issuing.has_signed(&leaf) || Crl::of(layout, Some(Role::Gateway))?.names(&leaf.serial);
    if !is_due && !is_bad {
        return Ok(false);
    }
    issue(layout, ca, &leaf.hosts, &public(layout)?, How::Service)?;
    Ok(true)
}

fn issue(
    layout: &LockedLayout,
    ca: &TokenProcess,
    hosts: &Hosts,
    public: &PublicPoint,
    how: How,
) -> Result<(), Failure> {
    let name =
        PartyName::new(Role::Gateway, ID).map_err(|error| Failure::new(error.to_string()))?;
    let params = profiles::enrolment_service(&name, hosts)?;
    let pem = Authority::open(layout, ca, Some(Role::Gateway))?.issue(
        &mut Journal::open(layout)?,
        Origin::of(how),
        &params,
        public,
    )?;
    layout.replace(&certificate_path(layout), pem.as_bytes(), Readers::All)
}

fn public(layout: &Layout) -> Result<PublicPoint, Failure> {
    let path = key_path(layout);
    let pem = std::fs::read_to_string(&path)
        .map(Zeroizing::new)
        .map_err(|error| Failure::file(&path, &error))?;
    KeyPair::from_pem(&pem)
        .map(|key| PublicPoint(key.der_bytes().to_vec()))
        .map_err(|error| {
            Failure::new(format!(
                "{} is not a P-256 key in PKCS#8 form: {error}; put the key there, or move key and certificate away and \
                 run `softhsm-setup init`",
                path.display()
            ))
        })
}
