//! What a party does: enrol once, and renew when two thirds of a certificate's time are over.

use std::{
    io::{self, Read as _},
    path::Path,
};

use mtls::{
    SharedTrust,
    identity::{Identity, IdentityError},
    pem,
    rooted::Root,
};
use protocol::{names::PartyName, pki::VerifiedCertificate, problem::Refusal, time::Timestamp};
use secret_file::SecretFileError;
use zeroize::Zeroizing;

use crate::{
    label::Label,
    pair::{NextKey, Pair, PairError, Prepared},
    service::{NotCertified, Service, Wanted},
};

/// A longer secret is none of ours.
const SECRET_BYTES_MAX: u64 = 128;

/// Why nothing was enrolled or renewed.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// Key and certificate can't be read or written.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The service gave no certificate.
    #[error(transparent)]
    Service(#[from] NotCertified),
    /// What is to be renewed can't be shown.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What is to be renewed is not good any more.
    #[error(
        "the certificate can't be renewed, because it is refused itself ({0}); ask for an invitation and enrol anew"
    )]
    Former(Refusal),
    /// What is to be renewed is somebody else's.
    #[error(
        "the certificate is {found}'s, and the configuration says {configured}; correct one of the two"
    )]
    OtherName {
        /// The name in the certificate.
        found: PartyName,
        /// The one in the configuration.
        configured: PartyName,
    },
    /// A certificate is there.
    #[error(
        "{path} is there already and stays as it is; renew it, or name another directory with --out"
    )]
    IsThere {
        /// Its file.
        path: String,
    },
}

/// Reads a one-time secret: the first line of a file that nobody else may read, or of standard input for `-`.
///
/// # Errors
/// When it can't be read.
pub fn secret(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let text = if path == Path::new("-") {
        let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize + 1));
        io::stdin()
            .lock()
            .take(SECRET_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|source| SecretFileError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
        text
    } else {
        secret_file::read(path)?
    };
    Ok(Zeroizing::new(
        text.lines().next().unwrap_or_default().trim().to_owned(),
    ))
}

/// A first certificate to ask for.
pub struct Enrolment<'a> {
    /// Where the service is.
    pub url: &'a str,
    /// What its certificate and ours lead to.
    pub root: &'a Root,
    /// For what.
    pub label: Label,
    /// Who asks.
    pub name: &'a PartyName,
    /// Where key and certificate go.
    pub pair: &'a Pair,
}

impl Enrolment<'_> {
    /// Makes a key and has it certified. A run that was interrupted is completed by another with the same secret.
    ///
    /// # Errors
    /// When a key or certificate is there, or none is told.
    pub async fn enrol(&self, secret: &Zeroizing<String>) -> Result<(), NotDone> {
        if self.pair.is_there() {
            return Err(NotDone::IsThere {
                path: self.pair.certificate.display().to_string(),
            });
        }
        let locked = self.pair.lock()?;
        if self.pair.is_there() {
            // A run before had its certificate, and was interrupted before it said so.
            return Ok(());
        }
        let prepared = locked.prepare(NextKey::New, self.name)?;
        let service = Service::first(self.url, self.root.clone())?;
        let wanted = wanted(self.label, self.name, &prepared);
        let certificate = service.enrol(&wanted, secret).await?;
        Ok(locked.complete(&certificate)?)
    }
}

/// A certificate to be renewed.
pub struct Renewal<'a> {
    /// Where the service is.
    pub url: &'a str,
    /// The root.
    pub root: &'a Root,
    /// What the service's certificate and ours are judged by.
    pub trust: &'a SharedTrust,
    /// For what it is.
    pub label: Label,
    /// Whose it is.
    pub name: &'a PartyName,
    /// Where it is, with its key.
    pub pair: &'a Pair,
    /// Which key the new one is of.
    pub next: NextKey,
}

impl Renewal<'_> {
    /// Renews it, if two thirds of its time are over. Tells whether it did.
    ///
    /// # Errors
    /// When it can't be renewed; it stays as it is then.
    pub async fn renew_if_due(&self, now: Timestamp) -> Result<bool, NotDone> {
        let certificate = self.certificate(now)?;
        if !is_due(certificate.not_before(), certificate.not_after(), now) {
            return Ok(false);
        }
        self.renew(now).await.map(|()| true)
    }

    /// Renews it.
    ///
    /// # Errors
    /// When it can't be renewed; it stays as it is then.
    pub async fn renew(&self, now: Timestamp) -> Result<(), NotDone> {
        let locked = self.pair.lock()?;
        self.certificate(now)?;
        let identity = Identity::from_files(&self.pair.certificate, &self.pair.key)?;
        let prepared = locked.prepare(self.next, self.name)?;
        let service = Service::known(
            self.url,
            self.root.clone(),
            SharedTrust::clone(self.trust),
            &identity,
        )?;
        let wanted = wanted(self.label, self.name, &prepared);
        let certificate = service.renew(&wanted).await?;
        Ok(locked.complete(&certificate)?)
    }

    /// The certificate in use, as the service will judge it.
    fn certificate(&self, now: Timestamp) -> Result<VerifiedCertificate, NotDone> {
        let chain = pem::certificates(&self.pair.certificate).map_err(PairError::from)?;
        let certificate = self
            .trust
            .load()
            .verify(&chain, self.label.role(), self.label.usage(), now)
            .map_err(NotDone::Former)?;
        if certificate.name() != self.name {
            return Err(NotDone::OtherName {
                found: certificate.name().clone(),
                configured: self.name.clone(),
            });
        }
        Ok(certificate)
    }
}

fn wanted<'a>(label: Label, name: &'a PartyName, prepared: &'a Prepared) -> Wanted<'a> {
    Wanted {
        label,
        name,
        request: &prepared.request,
        public_key: &prepared.public_key,
    }
}

/// Whether two thirds of a certificate's time are over.
fn is_due(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> bool {
    let lifetime = not_after.0.saturating_sub(not_before.0);
    now.0.saturating_sub(not_before.0) >= lifetime / 3 * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_once_two_thirds_of_its_time_are_over() {
        let is_due = |now| is_due(Timestamp(1_000), Timestamp(1_900), Timestamp(now));
        assert!(!is_due(0) && !is_due(1_000) && !is_due(1_599));
        assert!(is_due(1_600) && is_due(1_900) && is_due(5_000));
    }
}
