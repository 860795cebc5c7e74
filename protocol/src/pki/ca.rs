//! CA certificates: the root and the issuing CAs, checked when they are loaded.

use rustls_pki_types::{CertificateDer, TrustAnchor};
use webpki::{EndEntityCert, anchor_from_trusted_cert, aws_lc_rs::ECDSA_P256_SHA256};
use x509_parser::{
    certificate::X509Certificate, oid_registry::OID_SIG_ECDSA_WITH_SHA256, prelude::FromDer as _,
    x509::AlgorithmIdentifier,
};

use super::{Validity, profile::p256_point};
use crate::time::Timestamp;

/// What is wrong with a configured CA certificate or CRL. CAs are named by their subjects.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not a certificate that can be read.
    #[error("the {which} certificate can't be read ({reason}); configure one X.509 certificate")]
    Certificate {
        /// Which of the configured certificates.
        which: String,
        /// What the parser says.
        reason: String,
    },
    /// Not a CA of the form that the protocol has.
    #[error("\"{ca}\" can't be used as a CA: {reason}; configure the certificate of a CA")]
    NotACa {
        /// Its subject.
        ca: String,
        /// What is missing.
        reason: &'static str,
    },
    /// Not signed by the root.
    #[error("\"{ca}\" was not issued by the root \"{root}\"; configure the CA's own root")]
    NotIssuedByRoot {
        /// Its subject.
        ca: String,
        /// The root's subject.
        root: String,
    },
    /// Not valid today.
    #[error(
        "\"{ca}\" is valid from {not_before} to {not_after}, and it is {now}; \
         replace it, or set the clock"
    )]
    OutsideDates {
        /// Its subject.
        ca: String,
        /// Its first second.
        not_before: Timestamp,
        /// Its last second.
        not_after: Timestamp,
        /// The time it was judged at.
        now: Timestamp,
    },
    /// A CRL of a form that can't be used.
    #[error("the CRL of \"{issuing_ca}\" can't be used ({reason}); get a new one from the CA")]
    Crl {
        /// The subject of the CA in it.
        issuing_ca: String,
        /// What is wrong.
        reason: String,
    },
    /// A CRL that is older than the one in use, or none where there was one.
    #[error(
        "the CRL of \"{issuing_ca}\" is older than the one in use, another one of the same number, or missing; get its \
         newest one from the CA"
    )]
    OlderCrl {
        /// The CA's subject.
        issuing_ca: String,
    },
    /// A CRL that no configured CA signed.
    #[error(
        "the CRL of \"{issuing_ca}\" was not signed by a configured CA of that name; \
         configure that CA too, or take the CRL out of the configuration"
    )]
    ForeignCrl {
        /// The subject of the CA in it.
        issuing_ca: String,
    },
}

/// A certificate that may sign certificates and CRLs.
pub(super) struct CaCertificate {
    der: CertificateDer<'static>,
    pub(super) subject: String,
    raw_subject: Vec<u8>,
    raw_issuer: Vec<u8>,
    pub(super) public_key: [u8; 65],
    pub(super) validity: Validity,
    pub(super) path_length: Option<u32>,
}

/// The signature is not this CA's.
pub(super) struct NotSigned;

impl CaCertificate {
    /// Reads a CA certificate: basic constraints, key usage and P-256 are checked. `which` names it for a
    /// person.
    pub(super) fn read(der: CertificateDer<'static>, which: &str) -> Result<Self, TrustError> {
        let unreadable = |reason: String| TrustError::Certificate {
            which: which.to_owned(),
            reason,
        };
        // The library refuses unknown critical extensions and two algorithms that differ.
        EndEntityCert::try_from(&der).map_err(|error| unreadable(error.to_string()))?;
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|error| unreadable(error.to_string()))?;
        let subject = certificate.subject().to_string();
        let not_a_ca = |reason: &'static str| TrustError::NotACa {
            ca: subject.clone(),
            reason,
        };
        let basic_constraints = certificate
            .basic_constraints()
            .ok()
            .flatten()
            .filter(|extension| extension.value.ca)
            .ok_or_else(|| not_a_ca("its basic constraints don't say so"))?;
        certificate
            .key_usage()
            .ok()
            .flatten()
            .filter(|extension| extension.value.key_cert_sign() && extension.value.crl_sign())
            .ok_or_else(|| not_a_ca("its key usage lacks keyCertSign or cRLSign"))?;
        let public_key = p256_point(certificate.public_key())
            .map_err(|_| not_a_ca("its key is not of P-256"))?;
        if !signature_is_es256(&certificate.signature_algorithm) {
            return Err(not_a_ca("its signature is not ecdsa-with-SHA256"));
        }
        Ok(Self {
            public_key,
            raw_subject: certificate.subject().as_raw().to_vec(),
            raw_issuer: certificate.issuer().as_raw().to_vec(),
            path_length: basic_constraints.value.path_len_constraint,
            validity: Validity::of(&certificate),
            subject,
            der,
        })
    }

    /// Checks that it is valid today.
    pub(super) fn check_dates(&self, now: Timestamp) -> Result<(), TrustError> {
        if self.validity.contains(now) {
            return Ok(());
        }
        Err(TrustError::OutsideDates {
            ca: self.subject.clone(),
            not_before: self.validity.not_before,
            not_after: self.validity.not_after,
            now,
        })
    }

    /// The DER form of its subject.
    pub(super) fn raw_subject(&self) -> &[u8] {
        &self.raw_subject
    }

    /// The contents of its serial number's DER form.
    pub(super) fn serial(&self) -> Result<Vec<u8>, TrustError> {
        Ok(self.library_form()?.serial().to_vec())
    }

    /// What paths end at.
    pub(super) fn anchor(&self) -> Result<TrustAnchor<'static>, TrustError> {
        anchor_from_trusted_cert(&self.der)
            .map(|anchor| anchor.to_owned())
            .map_err(|error| self.unreadable(error))
    }

    /// Verifies a signature of this CA, ecdsa-with-SHA256 over the bytes.
    pub(super) fn check_signature(&self, signed: &[u8], signature: &[u8]) -> Result<(), NotSigned> {
        self.library_form()
            .map_err(|_| NotSigned)?
            .verify_signature(ECDSA_P256_SHA256, signed, signature)
            .map_err(|_| NotSigned)
    }

    /// Checks that the root issued this CA: name, signature, path length (RFC 5280 section 6.1.4).
    pub(super) fn check_issued_by(&self, root: &CaCertificate) -> Result<(), TrustError> {
        let refusal = || TrustError::NotIssuedByRoot {
            ca: self.subject.clone(),
            root: root.subject.clone(),
        };
        let (_, certificate) = X509Certificate::from_der(&self.der).map_err(|_| refusal())?;
        root.check_signature(
            certificate.tbs_certificate.as_ref(),
            &certificate.signature_value.data,
        )
        .map_err(|_| refusal())?;
        if self.raw_issuer != root.raw_subject || self.raw_subject == root.raw_subject {
            return Err(refusal());
        }
        if root.path_length == Some(0) {
            return Err(TrustError::NotACa {
                ca: root.subject.clone(),
                reason: "its path length is 0, which allows no issuing CA",
            });
        }
        Ok(())
    }

    fn library_form(&self) -> Result<EndEntityCert<'_>, TrustError> {
        EndEntityCert::try_from(&self.der).map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, error: webpki::Error) -> TrustError {
        TrustError::Certificate {
            which: self.subject.clone(),
            reason: error.to_string(),
        }
    }
}

/// The one signature algorithm of certificates and CRLs.
pub(super) fn signature_is_es256(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256
}
