//! A certificate that was verified, as a type.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use rustls_pki_types::CertificateDer;

use super::{Term, Usage, Validity, profile::Leaf, untrusted};
use crate::{
    identifiers::Digest,
    names::{PartyName, Role},
    problem::{Problem, Refusal},
    time::Timestamp,
};

/// A certificate whose path, profile, dates and revocation status held when it was verified; only
/// [`Trust::verify`](super::Trust::verify) makes one. A clone is the same certificate.
#[derive(Clone)]
pub struct VerifiedCertificate(Arc<Inner>);

struct Inner {
    der: CertificateDer<'static>,
    thumbprint: Digest,
    leaf: Leaf,
    usage: Usage,
    parsed_key: ParsedPublicKey,
}

impl VerifiedCertificate {
    /// For [`Trust::verify`](super::Trust::verify), once everything else was checked.
    pub(super) fn new(
        der: &CertificateDer<'_>,
        thumbprint: Digest,
        leaf: Leaf,
        usage: Usage,
    ) -> Result<Self, Refusal> {
        let parsed_key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, leaf.public_key)
            .map_err(|_| untrusted("the public key is not a point of P-256"))?;
        Ok(Self(Arc::new(Inner {
            der: der.clone().into_owned(),
            thumbprint,
            leaf,
            usage,
            parsed_key,
        })))
    }

    /// The one party name in it.
    pub fn name(&self) -> &PartyName {
        &self.0.leaf.name
    }

    /// The role in the name; the certificate leads to an issuing CA of that role.
    pub fn role(&self) -> Role {
        self.0.leaf.name.role()
    }

    /// What it was verified for.
    pub fn usage(&self) -> Usage {
        self.0.usage
    }

    /// `x5t`: SHA-256 of its DER form.
    pub fn thumbprint(&self) -> Digest {
        self.0.thumbprint
    }

    /// The P-256 point, uncompressed (SEC 1 section 2.3.3), on the curve.
    pub fn public_key(&self) -> &[u8; 65] {
        &self.0.leaf.public_key
    }

    /// Its DNS names, in lower case, without wildcards.
    pub fn dns_names(&self) -> &[String] {
        &self.0.leaf.dns_names
    }

    /// Its DER form.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The first second of its validity.
    pub fn not_before(&self) -> Timestamp {
        self.validity().not_before
    }

    /// The last second of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.validity().not_after
    }

    /// How long it is good; `of` is what its owner calls it.
    pub fn term(&self, of: &str) -> Term {
        self.validity().term("certificate", of)
    }

    pub(super) fn validity(&self) -> Validity {
        self.0.leaf.validity
    }

    /// Verifies an ES256 signature over the message: r‖s in 64 bytes (RFC 7518 section 3.4). A high
    /// s is as good as a low one; r and s are within 1..n.
    ///
    /// # Errors
    /// `signature-invalid`.
    pub fn verify_signature(&self, message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        self.0
            .parsed_key
            .verify_sig(message, signature)
            .map_err(|_| {
                Refusal::new(
                    Problem::SignatureInvalid,
                    "the signature is not the certificate's",
                )
            })
    }
}

impl fmt::Debug for VerifiedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCertificate")
            .field("name", self.name())
            .field("usage", &self.usage())
            .field("thumbprint", &self.thumbprint())
            .finish_non_exhaustive()
    }
}
