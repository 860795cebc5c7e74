//! Certificates: who is trusted for what (RFC 5280, with the profiles of this protocol).
//!
//! [`Trust`] is made once from the root, the issuing CAs and their CRLs. Its
//! [`verify`](Trust::verify) is the only way to a [`VerifiedCertificate`], so whoever holds one
//! holds a path, a profile, dates and a revocation status that were checked.

mod ca;
mod crl;
mod ocsp;
mod profile;
mod recent;
mod trust;
mod verified;

#[cfg(test)]
pub(crate) mod test_pki;
#[cfg(test)]
mod tests;

pub use ca::TrustError;
pub use ocsp::{
    AUTHORITY_INFORMATION_ACCESS, GoodAnswer, OcspError, OcspQuestion, access_to_responder,
    ocsp_responders,
};
pub use trust::{CHAIN_MAX, Standing, Term, Trust, TrustSource, TrustWarning};
pub use verified::VerifiedCertificate;

use crate::{
    problem::{Problem, Refusal},
    time::Timestamp,
};

/// What a certificate is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// To sign messages: ES256, JWS (RFC 9336).
    MessageSigning,
    /// To seal payment information to: ECDH-ES.
    Encryption,
    /// To be the server of a TLS connection.
    TlsServer,
    /// To be the client of a TLS connection.
    TlsClient,
}

/// The dates of a certificate, both inclusive (RFC 5280 section 4.1.2.5). There is no skew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Validity {
    fn of(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self {
            not_before: timestamp(validity.not_before),
            not_after: timestamp(validity.not_after),
        }
    }

    fn term(self, kind: &'static str, of: &str) -> Term {
        Term {
            kind,
            of: of.to_owned(),
            begin: self.not_before,
            end: self.not_after,
        }
    }

    fn contains(self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    fn check(self, whose: &'static str, now: Timestamp) -> Result<(), Refusal> {
        if self.contains(now) {
            return Ok(());
        }
        Err(Refusal::new(
            Problem::CertificateExpired,
            format!(
                "{whose} is valid from {} to {}, and it is {}",
                self.not_before, self.not_after, now
            ),
        ))
    }
}

/// Whatever was before 1970 is 1970: no date of ours is near.
fn timestamp(time: x509_parser::time::ASN1Time) -> Timestamp {
    Timestamp(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn untrusted(detail: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Problem::CertificateUntrusted, detail)
}
