//! What a CA says of one certificate at this moment: OCSP (RFC 6960), for a TLS server that staples it to its own. Here
//! is all of OCSP that is ASN.1: where a responder is, what it is asked, and the checks of its answer.
//!
//! The profile is that of RFC 5019: one certificate in a question, named by SHA-1, and no extensions. So there is no
//! nonce either: an answer is made for everybody who is shown it, and `nextUpdate` says how long it is good.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls_pki_types::{CertificateDer, alg_id::ECDSA_SHA256};
use webpki::{EndEntityCert, aws_lc_rs::ECDSA_P256_SHA256};
use x509_parser::{
    asn1_rs::Any,
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{OID_PKIX_ACCESS_DESCRIPTOR_OCSP, OID_PKIX_AUTHORITY_INFO_ACCESS},
    prelude::FromDer as _,
};

use super::{
    Trust, Validity,
    ca::{CaCertificate, signature_is_es256},
    crl::Crl,
};
use crate::time::Timestamp;

/// Why an answer is not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// Nobody can be asked.
    #[error(
        "the certificate can't be asked about, it is of no CA that is trusted; configure its CA under [trust]"
    )]
    NoCa,
    /// Not an answer, or one with critical extensions, of which none are known here.
    #[error("it is not an OCSP answer that can be read; see what serves at this address")]
    Unreadable,
    /// The responder did not say anything of the certificate.
    #[error("the responder answered {0}; see to the responder")]
    NotSuccessful(&'static str),
    /// Another signature algorithm.
    #[error("it is not signed with ecdsa-with-SHA256; give the responder a P-256 key")]
    Algorithm,
    /// Nobody signed it who may.
    #[error(
        "it is signed by nobody who may: {0}; give the responder a certificate that the issuing CA made for OCSP signing"
    )]
    Signer(&'static str),
    /// It speaks of another certificate, or of this one several times.
    #[error("it speaks of this certificate {0} times, not once; see to the responder")]
    NotOfThis(usize),
    /// It is not of today.
    #[error("it is of {this_update}, and it is {now}; set the clocks")]
    FromTheFuture {
        /// From when it is.
        this_update: Timestamp,
        /// The time it was judged at.
        now: Timestamp,
    },
    /// It could be shown for ever.
    #[error("it does not say until when it is good; have the responder set nextUpdate")]
    Endless,
    /// There should be a newer one.
    #[error(
        "a newer one was due by {next_update}, and it is {now}; see to the responder, or set the clocks"
    )]
    Ended {
        /// When a newer one was due.
        next_update: Timestamp,
        /// The time it was judged at.
        now: Timestamp,
    },
    /// The responder knows nothing of the certificate.
    #[error("the responder does not know the certificate; tell it what the CA issued")]
    Unknown,
    /// The certificate is bad.
    #[error("the CA revoked this certificate at {at}; renew it at once")]
    Revoked {
        /// Since when.
        at: Timestamp,
    },
}

/// A question for the responder of a certificate, and who may answer it.
pub struct OcspQuestion<'a> {
    ca: &'a CaCertificate,
    crl: Option<&'a Crl>,
    /// The members of a CertID, but the hash algorithm.
    certificate: Vec<u8>,
}

/// An answer that was checked: its CA says that the certificate is good. [`OcspQuestion::check`] alone makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoodAnswer {
    der: Vec<u8>,
    end: Timestamp,
}

impl GoodAnswer {
    /// As it came, to be passed on.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// From this second on it is not good any more.
    pub fn end(&self) -> Timestamp {
        self.end
    }
}

/// The addresses of the OCSP responders that a certificate names (RFC 5280 section 4.2.2.1), in its order.
pub fn ocsp_responders(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let extension = certificate.get_extension_unique(&OID_PKIX_AUTHORITY_INFO_ACCESS);
    let Ok(Some(ParsedExtension::AuthorityInfoAccess(access))) =
        extension.map(|found| found.map(|extension| extension.parsed_extension()))
    else {
        return Vec::new();
    };
    let descriptions = access.accessdescs.iter();
    descriptions
        .filter(|description| description.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP)
        .filter_map(|description| match description.access_location {
            GeneralName::URI(uri) => Some(uri.to_owned()),
            _ => None,
        })
        .collect()
}

/// id-pe-authorityInfoAccess.
pub const AUTHORITY_INFORMATION_ACCESS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 1];

/// The value of an extension [`AUTHORITY_INFORMATION_ACCESS`] that names one OCSP responder, for whoever issues
/// certificates. The address is ASCII.
pub fn access_to_responder(url: &str) -> Vec<u8> {
    // [6] of GeneralName.
    let description = [ID_AD_OCSP, &element(0x86, url.as_bytes())].concat();
    element(SEQUENCE, &element(SEQUENCE, &description))
}

impl Trust {
    /// A question about a certificate that an issuing CA of any role has issued.
    ///
    /// # Errors
    /// [`OcspError::NoCa`].
    pub fn ocsp_question(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<OcspQuestion<'_>, OcspError> {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| OcspError::NoCa)?;
        let (ca, crl) = self.issuer_of(&certificate).ok_or(OcspError::NoCa)?;
        let certificate = [
            element(OCTET_STRING, &sha1(ca.raw_subject())),
            element(OCTET_STRING, &sha1(&ca.public_key)),
            element(INTEGER, certificate.raw_serial()),
        ];
        Ok(OcspQuestion {
            ca,
            crl,
            certificate: certificate.concat(),
        })
    }
}

impl OcspQuestion<'_> {
    /// The DER form of an OCSPRequest (RFC 6960 section 4.1.1).
    pub fn to_der(&self) -> Vec<u8> {
        let algorithm = element(SEQUENCE, SHA1);
        let certificate_id = element(SEQUENCE, &[algorithm, self.certificate.clone()].concat());
        let request_list = element(SEQUENCE, &element(SEQUENCE, &certificate_id));
        element(SEQUENCE, &element(SEQUENCE, &request_list))
    }

    /// Checks an OCSPResponse (RFC 6960 sections 3.2 and 4.2): who signed it, that it speaks of this certificate, its
    /// dates, and that the certificate is good.
    ///
    /// # Errors
    /// The first thing that is wrong. [`OcspError::Revoked`] is as well proven as a good answer.
    pub fn check(&self, answer: &[u8], now: Timestamp) -> Result<GoodAnswer, OcspError> {
        let read = Answer::read(answer)?;
        self.check_signer(&read, now)?;
        let singles: Vec<_> = read
            .singles
            .iter()
            .filter(|single| single.certificate == self.certificate)
            .collect();
        let [single] = singles[..] else {
            return Err(OcspError::NotOfThis(singles.len()));
        };
        if single.this_update > now {
            return Err(OcspError::FromTheFuture {
                this_update: single.this_update,
                now,
            });
        }
        let end = single.next_update.ok_or(OcspError::Endless)?;
        if end <= now {
            return Err(OcspError::Ended {
                next_update: end,
                now,
            });
        }
        match single.status {
            Status::Good => Ok(GoodAnswer {
                der: answer.to_vec(),
                end,
            }),
            Status::Revoked(at) => Err(OcspError::Revoked { at }),
            Status::Unknown => Err(OcspError::Unknown),
        }
    }

    /// The CA itself, or a responder that it certified for that (RFC 6960 section 4.2.2.2).
    fn check_signer(&self, answer: &Answer<'_>, now: Timestamp) -> Result<(), OcspError> {
        if answer.algorithm != ECDSA_SHA256.as_ref() {
            return Err(OcspError::Algorithm);
        }
        if answer.is_of(self.ca.raw_subject(), &self.ca.public_key) {
            let checked = self.ca.check_signature(answer.signed, answer.signature);
            return checked.map_err(|_| OcspError::Signer("the signature is not the CA's"));
        }
        let mut failure = "the certificate of the signer is not in it";
        for certificate in &answer.certificates {
            match self.check_responder(certificate, answer, now) {
                Ok(()) => return Ok(()),
                Err(Some(reason)) => failure = reason,
                Err(None) => {}
            }
        }
        Err(OcspError::Signer(failure))
    }

    /// Whether the holder of this certificate may answer, and did; no reason, if it is not the one that the answer names.
    fn check_responder(
        &self,
        der: &CertificateDer<'_>,
        answer: &Answer<'_>,
        now: Timestamp,
    ) -> Result<(), Option<&'static str>> {
        let unreadable = Some("a certificate in it can't be read");
        // The library refuses unknown critical extensions and two algorithms that differ.
        let library_form = EndEntityCert::try_from(der).map_err(|_| unreadable)?;
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| unreadable)?;
        let key = &certificate.public_key().subject_public_key.data;
        if !answer.is_of(certificate.subject().as_raw(), key) {
            return Err(None);
        }
        let signed_by_ca = self.ca.check_signature(
            certificate.tbs_certificate.as_ref(),
            &certificate.signature_value.data,
        );
        if certificate.issuer().as_raw() != self.ca.raw_subject()
            || !signature_is_es256(&certificate.signature_algorithm)
            || signed_by_ca.is_err()
        {
            return Err(Some("the signer's certificate is not the issuing CA's"));
        }
        // Both look-ups refuse an extension that is there twice or can't be read.
        let purposes = certificate.extended_key_usage().ok().flatten();
        let key_usage = certificate.key_usage().ok().flatten();
        if !purposes.is_some_and(|extension| extension.value.ocsp_signing)
            || !key_usage.is_some_and(|extension| extension.value.digital_signature())
        {
            return Err(Some("the signer's certificate is not for OCSP signing"));
        }
        if !Validity::of(&certificate).contains(now) {
            return Err(Some("the signer's certificate is outside its dates"));
        }
        if self.crl.is_some_and(|crl| crl.names(library_form.serial())) {
            return Err(Some("the signer's certificate was revoked"));
        }
        library_form
            .verify_signature(ECDSA_P256_SHA256, answer.signed, answer.signature)
            .map_err(|_| Some("the signature is not the responder's"))
    }
}

/// A BasicOCSPResponse that was read. Nothing says yet who signed it.
struct Answer<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<CertificateDer<'a>>,
    responder: Responder<'a>,
    singles: Vec<Single<'a>>,
}

/// Who says to have signed it.
enum Responder<'a> {
    /// By its subject.
    Name(&'a [u8]),
    /// By the SHA-1 hash of its key.
    Key(&'a [u8]),
}

/// What it says of one certificate.
struct Single<'a> {
    /// The members of its CertID, but the hash algorithm, if that is SHA-1; else nothing that is asked for.
    certificate: &'a [u8],
    status: Status,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
}

#[derive(Clone, Copy)]
enum Status {
    Good,
    Revoked(Timestamp),
    Unknown,
}

impl<'a> Answer<'a> {
    fn read(der: &'a [u8]) -> Result<Self, OcspError> {
        let (status, bytes) = Reader::whole(der, |outer| {
            outer.inside(SEQUENCE, |response| {
                let status = response.take(ENUMERATED)?.content;
                Some((status, response.optional(explicit(0))?))
            })
        })
        .ok_or(OcspError::Unreadable)?;
        match *status {
            [0] => {}
            [1] => return Err(OcspError::NotSuccessful("malformedRequest")),
            [2] => return Err(OcspError::NotSuccessful("internalError")),
            [3] => return Err(OcspError::NotSuccessful("tryLater")),
            [5] => return Err(OcspError::NotSuccessful("sigRequired")),
            [6] => return Err(OcspError::NotSuccessful("unauthorized")),
            _ => return Err(OcspError::Unreadable),
        }
        bytes
            .and_then(|bytes| Reader::whole(bytes.content, Self::read_bytes))
            .ok_or(OcspError::Unreadable)
    }

    /// ResponseBytes, and what they hold.
    fn read_bytes(outer: &mut Reader<'a>) -> Option<Self> {
        let basic = outer.inside(SEQUENCE, |bytes| {
            let is_basic = bytes.take(OBJECT_IDENTIFIER)?.content == ID_PKIX_OCSP_BASIC;
            let basic = bytes.take(OCTET_STRING)?.content;
            is_basic.then_some(basic)
        })?;
        Reader::whole(basic, |outer| {
            outer.inside(SEQUENCE, |basic| {
                let signed = basic.take(SEQUENCE)?;
                let algorithm = basic.take(SEQUENCE)?.content;
                let (unused_bits, signature) = basic.take(BIT_STRING)?.content.split_first()?;
                let certificates = match basic.optional(explicit(0))? {
                    Some(outer) => Reader::whole(outer.content, |outer| {
                        outer.inside(SEQUENCE, |list| list.each_of(SEQUENCE))
                    })?,
                    None => Vec::new(),
                };
                let (responder, singles) = Reader::whole(signed.content, read_data)?;
                (*unused_bits == 0).then_some(Self {
                    signed: signed.whole,
                    algorithm,
                    signature,
                    certificates: certificates
                        .iter()
                        .map(|certificate| CertificateDer::from(certificate.whole))
                        .collect(),
                    responder,
                    singles,
                })
            })
        })
    }

    fn is_of(&self, subject: &[u8], key: &[u8]) -> bool {
        match self.responder {
            Responder::Name(name) => name == subject,
            Responder::Key(hash) => hash == sha1(key),
        }
    }
}

/// The members of a ResponseData.
fn read_data<'a>(data: &mut Reader<'a>) -> Option<(Responder<'a>, Vec<Single<'a>>)> {
    // The version's default is not written in DER, and there is no other.
    let responder = match data.optional(explicit(1))? {
        Some(name) => Responder::Name(name.content),
        None => {
            Responder::Key(data.inside(explicit(2), |key| Some(key.take(OCTET_STRING)?.content))?)
        }
    };
    // When it was signed.
    data.take(GENERALIZED_TIME)?;
    let singles = data.inside(SEQUENCE, |list| list.each_of(SEQUENCE))?;
    let singles = singles
        .iter()
        .map(|single| Reader::whole(single.content, Single::read))
        .collect::<Option<_>>()?;
    no_critical_extensions(data)?;
    Some((responder, singles))
}

impl<'a> Single<'a> {
    fn read(single: &mut Reader<'a>) -> Option<Self> {
        let mut id = Reader(single.take(SEQUENCE)?.content);
        let algorithm = id.take(SEQUENCE)?.content;
        // Its parameters are absent, or NULL.
        let is_sha1 = algorithm == SHA1 || algorithm == SHA1_WITHOUT_PARAMETERS;
        let status = single.any()?;
        let status = match (status.whole, status.content) {
            ([0x80, ..], []) => Status::Good,
            ([0xa1, ..], revoked) => {
                let at = Reader(revoked).take(GENERALIZED_TIME)?;
                Status::Revoked(time(at.content)?)
            }
            ([0x82, ..], []) => Status::Unknown,
            _ => return None,
        };
        let this_update = time(single.take(GENERALIZED_TIME)?.content)?;
        let next_update = match single.optional(explicit(0))? {
            Some(next) => Some(Reader::whole(next.content, |next| {
                time(next.take(GENERALIZED_TIME)?.content)
            })?),
            None => None,
        };
        no_critical_extensions(single)?;
        Some(Self {
            certificate: if is_sha1 { id.0 } else { &[] },
            status,
            this_update,
            next_update,
        })
    }
}

/// `[1] Extensions OPTIONAL`: none may be critical, as none is known here.
fn no_critical_extensions(after: &mut Reader<'_>) -> Option<()> {
    let Some(extensions) = after.optional(explicit(1))? else {
        return Some(());
    };
    let extensions = Reader::whole(extensions.content, |outer| {
        outer.inside(SEQUENCE, |list| list.each_of(SEQUENCE))
    })?;
    extensions.iter().try_for_each(|extension| {
        let mut members = Reader(extension.content);
        members.take(OBJECT_IDENTIFIER)?;
        // The default, false, is not written in DER.
        members.optional(BOOLEAN)?.is_none().then_some(())
    })
}

/// A GeneralizedTime as RFC 5280 section 4.1.2.5.2 has it: in UTC, to the second.
fn time(content: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(content).ok()?;
    let part = |from: usize, to: usize| text.get(from..to);
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}{}",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?,
        text.get(14..)?
    );
    Timestamp::from_rfc3339(&rfc3339)
}

/// An identifier of what is asked about and of a key, nothing that holds by its strength: who answers has signed.
pub(super) fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

// Identifier octets (X.690 section 8.1.2).
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;

const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// An AlgorithmIdentifier of SHA-1 with and without parameters, without its own header.
const SHA1: &[u8] = &[6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0];
const SHA1_WITHOUT_PARAMETERS: &[u8] = &[6, 5, 0x2b, 0x0e, 3, 2, 0x1a];

/// 1.3.6.1.5.5.7.48.1, with its header.
const ID_AD_OCSP: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];

/// 1.3.6.1.5.5.7.48.1.1
const ID_PKIX_OCSP_BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];

/// The DER form of one element.
pub(super) fn element(identifier: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![identifier];
    match length {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        // At most eight octets.
        long => {
            der.push(0x80 | long.len() as u8);
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(content);
    der
}

/// One element as it stands, and what is in it.
struct Element<'a> {
    whole: &'a [u8],
    content: &'a [u8],
}

/// Elements that are read one after the other; nothing is left over.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads bytes to their end.
    fn whole<T>(bytes: &'a [u8], read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut reader = Self(bytes);
        let read = read(&mut reader)?;
        reader.0.is_empty().then_some(read)
    }

    /// Reads the next element to its end.
    fn inside<T>(
        &mut self,
        identifier: u8,
        read: impl FnOnce(&mut Reader<'a>) -> Option<T>,
    ) -> Option<T> {
        Reader::whole(self.take(identifier)?.content, read)
    }

    fn take(&mut self, identifier: u8) -> Option<Element<'a>> {
        self.any().filter(|element| element.whole[0] == identifier)
    }

    /// The next element, if it is this one.
    fn optional(&mut self, identifier: u8) -> Option<Option<Element<'a>>> {
        if self.0.first() == Some(&identifier) {
            self.take(identifier).map(Some)
        } else {
            Some(None)
        }
    }

    fn each_of(&mut self, identifier: u8) -> Option<Vec<Element<'a>>> {
        let mut elements = Vec::new();
        while !self.0.is_empty() {
            elements.push(self.take(identifier)?);
        }
        Some(elements)
    }

    fn any(&mut self) -> Option<Element<'a>> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Element {
            whole,
            content: any.data,
        })
    }
}
