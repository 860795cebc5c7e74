//! A certificate in a file: what it says, and whether it is what it should be.

use std::{fs, net::IpAddr, path::Path};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use protocol::{identifiers::Digest, names::PartyName, pki::ocsp_responders};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer as _,
};

use crate::{
    Failure,
    profiles::{DOCUMENT_SIGNING, Hosts, Purpose},
};

/// What matters of a certificate in a file.
pub(crate) struct Leaf {
    pub(crate) subject: String,
    pub(crate) issuing_ca: String,
    pub(crate) serial: Vec<u8>,
    pub(crate) public_point: Vec<u8>,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub(crate) spki_sha256: Digest,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    pub(crate) der: Vec<u8>,
    /// The party that it names, if it names one.
    pub(crate) name: Option<PartyName>,
    /// Which of the profiles it has, if it has one.
    pub(crate) purpose: Option<Purpose>,
    /// Which names it has beside that.
    pub(crate) hosts: Hosts,
    pub(crate) is_ca: bool,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Leaf {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let pem = fs::read(path).map_err(|error| Failure::file(path, &error))?;
        Self::read(&pem).ok_or_else(|| {
            Failure::new(format!(
                "{} is not a certificate; name one in PEM, or put one there",
                path.display()
            ))
        })
    }

    pub(crate) fn read(pem: &[u8]) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
        Self::of(&pem.contents)
    }

    /// What a certificate in DER says.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let common_name = |name: &x509_parser::x509::X509Name<'_>| {
            name.iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned)
        };
        Some(Self {
            subject: common_name(certificate.subject())?,
            issuing_ca: common_name(certificate.issuer())?,
            serial: certificate.raw_serial().to_vec(),
            public_point: certificate.public_key().subject_public_key.data.to_vec(),
            spki_sha256: Digest::of(certificate.public_key().raw),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            signed: certificate.tbs_certificate.as_ref().to_vec(),
            signature: certificate.signature_value.data.to_vec(),
            name: name(&certificate),
            purpose: purpose(&certificate),
            hosts: Hosts {
                ocsp: ocsp_responders(&CertificateDer::from(der))
                    .into_iter()
                    .next(),
                ..hosts(&certificate)
            },
            is_ca: certificate.is_ca(),
            der: der.to_vec(),
        })
    }

    /// The party that it names, or its common name.
    pub(crate) fn whose(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => self.subject.clone(),
        }
    }

    /// Whether this CA issued a certificate. Its name alone says little: the CAs of every provisioned
    /// directory have the same.
    pub(crate) fn has_signed(&self, leaf: &Leaf) -> bool {
        self.subject == leaf.issuing_ca
            && UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.public_point)
                .verify(&leaf.signed, &leaf.signature)
                .is_ok()
    }
}

fn name(certificate: &X509Certificate<'_>) -> Option<PartyName> {
    let names = certificate.subject_alternative_name().ok()??;
    let mut names = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => uri.parse().ok(),
            _ => None,
        });
    let name = names.next()?;
    names.next().is_none().then_some(name)
}

fn hosts(certificate: &X509Certificate<'_>) -> Hosts {
    let mut hosts = Hosts::default();
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(dns) => hosts.dns.push((*dns).to_owned()),
            GeneralName::IPAddress(bytes) => hosts.ip.extend(address(bytes)),
            _ => {}
        }
    }
    hosts
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn purpose(certificate: &X509Certificate<'_>) -> Option<Purpose> {
    let usage = certificate.key_usage().ok()??.value;
    let extended =
        certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::ExtendedKeyUsage(extended) => Some(extended),
                _ => None,
            });
    match extended {
        None => usage.key_agreement().then_some(Purpose::Encryption),
        Some(_) if !usage.digital_signature() => None,
        Some(extended) if extended.server_auth && extended.client_auth => Some(Purpose::Tls),
        Some(extended) if extended.ocsp_signing => Some(Purpose::Ocsp),
        Some(extended) => {
            let signs = |oid: &x509_parser::der_parser::Oid<'_>| {
                oid.iter()
                    .is_some_and(|arcs| arcs.eq(DOCUMENT_SIGNING.iter().copied()))
            };
            extended.other.iter().any(signs).then_some(Purpose::Signing)
        }
    }
}

/// Refuses a certificate that is not of a key: one of the two was replaced behind our back.
pub(crate) fn check_is_of(path: &Path, public: &[u8]) -> Result<(), Failure> {
    let found = Leaf::open(path)?;
    if found.public_point == public {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is not the certificate of the key in the token; move the file away and run init again to have \
         one issued, if the token is the right one",
        path.display()
    )))
}
