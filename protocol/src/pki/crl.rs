//! Revocation lists (RFC 5280 section 5): read and verified once, then only looked up.

use rustls_pki_types::CertificateRevocationListDer;
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_parser::{
    asn1_rs::{Any, BitString, Tag},
    prelude::FromDer as _,
    revocation_list::CertificateRevocationList,
    x509::X509Name,
};

use super::{
    Term,
    ca::{CaCertificate, TrustError, signature_is_es256},
    timestamp,
};
use crate::{
    problem::{Problem, Refusal},
    time::Timestamp,
};

/// A CRL number has at most 20 octets (RFC 5280 section 5.2.3); big-endian, so that it sorts.
type CrlNumber = [u8; 20];

/// A CRL that its CA signed.
///
/// The path library would verify the signature of a CRL again with every path. Here it is verified
/// once, and what the library read from it answers the look-ups.
pub(super) struct Crl {
    pub(super) number: CrlNumber,
    pub(super) this_update: Timestamp,
    pub(super) next_update: Timestamp,
    revoked: CertRevocationList<'static>,
    /// As it came, to be passed on.
    pub(super) der: CertificateRevocationListDer<'static>,
}

/// A CRL of which no more was read than who says that it is theirs: who is not trusted may send millions of entries.
pub(super) struct UnverifiedCrl<'a> {
    der: &'a CertificateRevocationListDer<'a>,
    issuing_ca: String,
    raw_issuer: &'a [u8],
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> UnverifiedCrl<'a> {
    /// Takes it apart: CertificateList is a sequence of tbsCertList, signatureAlgorithm and signatureValue, and the first
    /// begins with version, signature and issuer.
    pub(super) fn read(der: &'a CertificateRevocationListDer<'a>) -> Result<Self, TrustError> {
        let unreadable = || TrustError::Crl {
            issuing_ca: "an unknown CA".to_owned(),
            reason: "it is no CRL".to_owned(),
        };
        let sequence = |input: &'a [u8]| {
            let (rest, content) = Any::from_der(input).map_err(|_| unreadable())?;
            content
                .header
                .assert_tag(Tag::Sequence)
                .map_err(|_| unreadable())?;
            Ok::<_, TrustError>((rest, content.data))
        };
        let (after, content) = sequence(der)?;
        let (rest, tbs) = sequence(content)?;
        let signed = &content[..content.len() - rest.len()];
        let (rest, _) = sequence(rest)?;
        let (rest, signature) = BitString::from_der(rest).map_err(|_| unreadable())?;
        if !after.is_empty() || !rest.is_empty() {
            return Err(unreadable());
        }
        let (tbs, _version) = Any::from_der(tbs).map_err(|_| unreadable())?;
        let (tbs, _signature) = sequence(tbs)?;
        let (_, name) = X509Name::from_der(tbs).map_err(|_| unreadable())?;
        let (rest, _) = sequence(tbs)?;
        Ok(Self {
            der,
            issuing_ca: name.to_string(),
            raw_issuer: &tbs[..tbs.len() - rest.len()],
            signed,
            signature: signature.data.into_owned(),
        })
    }

    /// Gives it to the one of these CAs that signed it, by its place among them, and reads the rest. Two CAs may have
    /// one name while a key is replaced, so the signature decides.
    pub(super) fn verify<'b>(
        self,
        cas: impl IntoIterator<Item = &'b CaCertificate>,
    ) -> Result<(usize, Crl), TrustError> {
        let signer = cas.into_iter().position(|ca| {
            ca.raw_subject() == self.raw_issuer
                && ca.check_signature(self.signed, &self.signature).is_ok()
        });
        match signer {
            Some(position) => Ok((position, Crl::read(self.der)?)),
            None => Err(TrustError::ForeignCrl {
                issuing_ca: self.issuing_ca,
            }),
        }
    }
}

impl Crl {
    /// Reads a CRL that speaks for all certificates of its CA, who signed it.
    fn read(der: &CertificateRevocationListDer<'_>) -> Result<Self, TrustError> {
        let unreadable = |issuing_ca: &str, reason: String| TrustError::Crl {
            issuing_ca: issuing_ca.to_owned(),
            reason,
        };
        let (_, crl) = CertificateRevocationList::from_der(der)
            .map_err(|error| unreadable("an unknown CA", error.to_string()))?;
        let issuing_ca = crl.issuer().to_string();
        // The library refuses unknown critical extensions, delta CRLs, version 1, and two
        // algorithms that differ; reading all entries, it also refuses indirect ones.
        let revoked = BorrowedCertRevocationList::from_der(der)
            .and_then(|crl| crl.to_owned())
            .map(CertRevocationList::from)
            .map_err(|error| unreadable(&issuing_ca, error.to_string()))?;
        if revoked.issuing_distribution_point().is_some() {
            return Err(unreadable(
                &issuing_ca,
                "it speaks for a part of the certificates only (issuing distribution point)"
                    .to_owned(),
            ));
        }
        if !signature_is_es256(&crl.signature_algorithm) {
            return Err(unreadable(
                &issuing_ca,
                "its signature is not ecdsa-with-SHA256".to_owned(),
            ));
        }
        let number = crl
            .crl_number()
            .and_then(|number| crl_number(&number.to_bytes_be()))
            .ok_or_else(|| unreadable(&issuing_ca, "it has no CRL number".to_owned()))?;
        let next_update = crl
            .next_update()
            .ok_or_else(|| unreadable(&issuing_ca, "it has no next update".to_owned()))?;
        Ok(Self {
            number,
            this_update: timestamp(crl.last_update()),
            next_update: timestamp(next_update),
            revoked,
            der: CertificateRevocationListDer::from(der.as_ref().to_vec()),
        })
    }

    /// How long it is good; `of` is its CA's subject.
    pub(super) fn term(&self, of: &str) -> Term {
        Term {
            kind: "CRL",
            of: of.to_owned(),
            begin: self.this_update,
            end: self.next_update,
        }
    }

    /// Whether it replaces the other one: by number, whatever the dates say.
    pub(super) fn is_newer_than(&self, other: &Crl) -> bool {
        (self.number, self.this_update) > (other.number, other.this_update)
    }

    /// Whether the list names this certificate, by the contents of its serial number's DER form.
    pub(super) fn names(&self, serial: &[u8]) -> bool {
        // Every entry was read at load, so the look-up can't fail; if it did, that would not be
        // a reason to trust the certificate.
        !matches!(self.revoked.find_serial(serial), Ok(None))
    }
}

/// Refuses when nothing current says what is revoked.
pub(super) fn check_fresh(
    crl: Option<&Crl>,
    whose: &'static str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let refuse = |detail: String| Err(Refusal::new(Problem::CertificateRevoked, detail));
    match crl {
        Some(crl) if now < crl.next_update => Ok(()),
        Some(crl) => refuse(format!(
            "the CRL of {whose} should have been replaced by {}, and it is {}",
            crl.next_update, now
        )),
        None => refuse(format!("there is no CRL of {whose}")),
    }
}

fn crl_number(big_endian: &[u8]) -> Option<CrlNumber> {
    let mut number = CrlNumber::default();
    let start = number.len().checked_sub(big_endian.len())?;
    number[start..].copy_from_slice(big_endian);
    Some(number)
}
