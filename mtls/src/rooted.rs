//! Who is known by the root alone: for a party that enrols, and has neither issuing CAs nor CRLs yet.
//!
//! A path over an issuing CA that the other side shows leads to the root, and the name is of the role. That says less
//! than [`protocol::pki::Trust`] does: nobody looks for revocation, and which CA may certify which role only the CAs
//! know. So nothing of a payment may rest on it.

use std::{fmt, path::Path, slice, time::Duration};

use protocol::{
    names::PartyName,
    pki::Usage,
    problem::{Problem, Refusal},
    time::Timestamp,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, aws_lc_rs::ECDSA_P256_SHA256};

use crate::{
    SharedTrust,
    pem::{self, PemFileError},
};

/// id-kp-documentSigning (RFC 9336), the contents of its DER form.
const DOCUMENT_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 36];

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The file does not hold one certificate.
    #[error(transparent)]
    File(#[from] PemFileError),
    /// What it holds can't be read.
    #[error("the root certificate can't be read ({0}); give the certificate of the root CA")]
    Certificate(webpki::Error),
}

/// A root that paths end at.
#[derive(Clone)]
pub struct Root {
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
}

/// What a certificate says that leads to the root.
#[derive(Debug, Clone)]
pub struct Rooted {
    /// The one party that it names.
    pub name: PartyName,
    /// The key that it certifies.
    pub public_key: SubjectPublicKeyInfoDer<'static>,
}

impl Root {
    /// Reads a PEM file with the root's certificate.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn read(path: &Path) -> Result<Self, RootError> {
        let certificate = pem::certificate(path)?;
        let anchor = anchor_from_trusted_cert(&certificate)
            .map_err(RootError::Certificate)?
            .to_owned();
        Ok(Self {
            certificate,
            anchor,
        })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Checks that a chain, leaf first, leads to this root, within all dates and for this use, and that the leaf names
    /// one party. Certificates that are not of the path don't matter.
    ///
    /// # Errors
    /// `certificate-untrusted`, `certificate-expired`.
    pub fn check(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: Timestamp,
    ) -> Result<Rooted, Refusal> {
        let (leaf, others) = chain
            .split_first()
            .ok_or_else(|| untrusted("no certificate"))?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|error| refusal(&error))?;
        leaf.verify_for_usage(
            &[ECDSA_P256_SHA256],
            slice::from_ref(&self.anchor),
            others,
            UnixTime::since_unix_epoch(Duration::from_secs(now.0)),
            match usage {
                Usage::MessageSigning => KeyUsage::required_if_present(DOCUMENT_SIGNING),
                Usage::TlsClient => KeyUsage::client_auth(),
                Usage::TlsServer => KeyUsage::server_auth(),
                Usage::Encryption => return Err(untrusted("nothing is sealed by the root alone")),
            },
            None,
            None,
        )
        .map_err(|error| refusal(&error))?;
        let mut names = leaf.valid_uri_names();
        let (Some(name), None) = (names.next(), names.next()) else {
            return Err(untrusted("the certificate has not one URI name"));
        };
        Ok(Rooted {
            name: name
                .parse()
                .map_err(|error| untrusted(format!("the URI name is {error}")))?,
            public_key: leaf.subject_public_key_info(),
        })
    }

    /// The rule by which a server of this name is judged.
    pub(crate) fn rule(self, name: PartyName, trust: Option<SharedTrust>) -> RootedRule {
        RootedRule {
            root: self,
            name,
            trust,
        }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root")
    }
}

/// A server that is known by the root, and by more where there is more.
#[derive(Clone)]
pub(crate) struct RootedRule {
    root: Root,
    name: PartyName,
    trust: Option<SharedTrust>,
}

impl RootedRule {
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let shown = self.root.check(chain, Usage::TlsServer, now)?;
        if shown.name != self.name {
            return Err(Refusal::new(
                Problem::RoleMismatch,
                format!("{} answers where {} is wanted", shown.name, self.name),
            ));
        }
        if let (Some(trust), Some(leaf)) = (&self.trust, chain.first()) {
            // The issuing CAs are the trust's own, so the leaf is enough.
            let leaf = slice::from_ref(leaf);
            trust
                .load()
                .verify(leaf, self.name.role(), Usage::TlsServer, now)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RootedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootedRule")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn untrusted(detail: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Problem::CertificateUntrusted, detail)
}

fn refusal(error: &webpki::Error) -> Refusal {
    match error {
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
            Refusal::new(Problem::CertificateExpired, error.to_string())
        }
        _ => untrusted(error.to_string()),
    }
}
