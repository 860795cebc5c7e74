//! What is revoked: a CA's CRL, which is never begun anew once the CA has certified anything.

use std::{fs, io, path::Path};

use protocol::names::Role;
use time::OffsetDateTime;
use x509_parser::{
    prelude::{CertificateRevocationList, FromDer as _},
    revocation_list::RevokedCertificate,
};

use crate::{Failure, ca::Ca, layout::Layout, leaf::Leaf, profiles};

/// Where a CRL can be had that is not where it belongs.
const RESTORE: &str = "put it back from a backup, or from a service that loaded it: `GET /v1/certificates` of a \
                       running gateway has it among its crls, in base64, and `base64 -d | openssl crl \
                       -inform DER` makes a file of it";

fn lost(path: &Path) -> Failure {
    Failure::new(format!(
        "{} is missing, and a new one would make every revoked certificate good again; {RESTORE}",
        path.display()
    ))
}

/// That a CA has certified nothing, as far as its directory can tell: only then is its first CRL empty. A CA's
/// certificate gets its file after the CRL, so a run that was interrupted can be completed.
pub(crate) struct NothingIssued {
    ca: Ca,
}

impl NothingIssued {
    /// Looks for the CA's certificate, and for certificates that it issued.
    ///
    /// # Errors
    ///
    /// When there is one; the text says how the CRL is restored.
    pub(crate) fn by(layout: &Layout, role: Option<Role>) -> Result<Self, Failure> {
        Self::by_ca(layout, layout.issuing_ca(role), &profiles::ca_name(role))
    }

    /// The same of a CA with this name.
    pub(crate) fn by_ca(layout: &Layout, ca: Ca, name: &str) -> Result<Self, Failure> {
        if layout.certificate_of(ca).exists() {
            return Err(lost(&layout.crl_of(ca)));
        }
        for file in layout.certificates()? {
            let issued = fs::read(&file)
                .ok()
                .and_then(|pem| Leaf::read(&pem))
                // A ceremony may have called it otherwise; whom it certified tells, too.
                .is_some_and(|leaf| {
                    let party = leaf.name.map(|party| party.role());
                    leaf.issuing_ca == name
                        || (ca.number == 1 && party.is_some() && party == ca.role)
                });
            if issued {
                return Err(Failure::new(format!(
                    "{} is missing, and {}, but the CA issued {}; {RESTORE}; if the CA's key is new, too, move \
                     what the former one issued out of {}",
                    layout.crl_of(ca).display(),
                    layout.certificate_of(ca).display(),
                    file.display(),
                    layout.root().display()
                )));
            }
        }
        Ok(Self { ca })
    }

    /// The CA that it is true of.
    pub(crate) const fn ca(&self) -> Ca {
        self.ca
    }
}

/// What matters of a CRL.
pub(crate) struct Crl {
    pub(crate) number: u64,
    pub(crate) next_update: OffsetDateTime,
    pub(crate) revoked: Vec<(Vec<u8>, OffsetDateTime)>,
}

impl Crl {
    /// That of the CA that issues now: `None` is the root.
    pub(crate) fn of(layout: &Layout, role: Option<Role>) -> Result<Self, Failure> {
        Self::of_ca(layout, layout.issuing_ca(role))
    }

    /// A CA's CRL. One that is missing is never taken for an empty one: that would make every certificate
    /// good again that was revoked.
    pub(crate) fn of_ca(layout: &Layout, ca: Ca) -> Result<Self, Failure> {
        let path = layout.crl_of(ca);
        match fs::read(&path) {
            Ok(pem) => Self::read(&pem)
                .ok_or_else(|| Failure::new(format!("{} is not a CRL; {RESTORE}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(lost(&path)),
            Err(error) => Err(Failure::file(&path, &error)),
        }
    }

    /// Whether it names a certificate, by its serial number.
    pub(crate) fn names(&self, serial: &[u8]) -> bool {
        self.revoked.iter().any(|(revoked, _)| revoked == serial)
    }

    pub(crate) fn read(pem: &[u8]) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
        let (_, crl) = CertificateRevocationList::from_der(&pem.contents).ok()?;
        let digits = crl.crl_number()?.to_u64_digits();
        let revoked = |entry: &RevokedCertificate<'_>| {
            (
                entry.raw_serial().to_vec(),
                entry.revocation_date.to_datetime(),
            )
        };
        Some(Self {
            number: digits.first().copied().unwrap_or(0),
            next_update: crl.next_update()?.to_datetime(),
            revoked: crl.iter_revoked_certificates().map(revoked).collect(),
        })
    }
}
