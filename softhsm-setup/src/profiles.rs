//! What a certificate of each kind holds (docs/PROTOCOL.md section 1).

use std::net::IpAddr;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use protocol::{
    names::{PartyName, Role},
    pki::{AUTHORITY_INFORMATION_ACCESS, access_to_responder},
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::Failure;

/// id-kp-documentSigning (RFC 9336).
pub(crate) const DOCUMENT_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 36];

const ROOT_DAYS: i64 = 3650;
pub(crate) const ISSUING_CA_DAYS: i64 = 1825;

/// How long a party's certificate is good, unless said otherwise.
pub(crate) const LEAF_DAYS: i64 = 397;

/// How long one is good that was enrolled, unless said otherwise: it is renewed without a person's work.
pub(crate) const ENROLLED_DAYS: i64 = 90;

/// What a certificate is for that is no CA's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Purpose {
    /// To sign messages.
    Signing,
    /// To be sealed to; gateways only.
    Encryption,
    /// To be a server or client of TLS; merchants and gateways.
    Tls,
    /// To answer for the CA of a role what it revoked (OCSP). A responder is no party, and has no URN.
    Ocsp,
}

impl Purpose {
    /// The word on the command line and in the journal.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Purpose::Signing => "signing",
            Purpose::Encryption => "encryption",
            Purpose::Tls => "tls",
            Purpose::Ocsp => "ocsp",
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Purpose::Signing => "signing",
            Purpose::Encryption => "encryption",
            Purpose::Tls => "TLS",
            Purpose::Ocsp => "OCSP",
        })
    }
}

/// Which names a certificate has beside the party's URN, and where others ask about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    pub(crate) dns: Vec<String>,
    pub(crate) ip: Vec<IpAddr>,
    /// The address of the OCSP responder that it names.
    pub(crate) ocsp: Option<String>,
}

/// A party's certificate, or an OCSP responder's.
pub(crate) fn leaf(
    name: &PartyName,
    purpose: Purpose,
    hosts: &Hosts,
    days: i64,
) -> Result<CertificateParams, Failure> {
    refuse_impossible(name.role(), purpose, hosts)?;
    let mut params = base(&format!("{} {}", name.role(), name.id()), days)?;
    let text = |text: &str| {
        text.try_into()
            .map_err(|_| Failure::new(format!("{text} can't stand in a certificate")))
    };
    params.subject_alt_names = vec![SanType::URI(text(name.as_str())?)];
    for dns in &hosts.dns {
        refuse_no_dns_name(dns)?;
        params.subject_alt_names.push(SanType::DnsName(text(dns)?));
    }
    params
        .subject_alt_names
        .extend(hosts.ip.iter().copied().map(SanType::IpAddress));
    params.use_authority_key_identifier_extension = true;
    match purpose {
        Purpose::Signing => {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING.to_vec())];
        }
        Purpose::Encryption => params.key_usages = vec![KeyUsagePurpose::KeyAgreement],
        Purpose::Tls => {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ];
        }
        Purpose::Ocsp => {
            params.subject_alt_names.clear();
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        }
    }
    if let Some(url) = &hosts.ocsp {
        params.custom_extensions.push(responder(url)?);
    }
    Ok(params)
}

/// The extension that names the responder which tells whether a certificate was revoked.
fn responder(url: &str) -> Result<CustomExtension, Failure> {
    let has_host = url
        .strip_prefix("http://")
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']));
    if !has_host || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(format!(
            "{url} is not the address of an OCSP responder; write http://host[:port]/path"
        )));
    }
    let value = access_to_responder(url);
    Ok(CustomExtension::from_oid_content(
        &AUTHORITY_INFORMATION_ACCESS,
        value,
    ))
}

/// The certificate of the enrolment service: a gateway's for TLS, that is a server's alone. So it opens no listener that
/// wants a gateway's certificate of its clients.
pub(crate) fn enrolment_service(
    name: &PartyName,
    hosts: &Hosts,
) -> Result<CertificateParams, Failure> {
    let mut params = leaf(name, Purpose::Tls, hosts, LEAF_DAYS)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn refuse_no_dns_name(name: &str) -> Result<(), Failure> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{name:?} is no DNS name; give one like shop.example, without a wildcard"
    )))
}

/// The profiles say who has what; a certificate outside them would only be refused later.
fn refuse_impossible(role: Role, purpose: Purpose, hosts: &Hosts) -> Result<(), Failure> {
    match (role, purpose) {
        (_, Purpose::Signing | Purpose::Ocsp)
        | (Role::Gateway, Purpose::Encryption)
        | (Role::Gateway | Role::Merchant, Purpose::Tls) => {}
        _ => {
            return Err(Failure::new(format!(
                "a {role} has no {purpose} certificate; see docs/PROTOCOL.md section 1"
            )));
        }
    }
    let may_have_dns =
        purpose == Purpose::Tls || (role, purpose) == (Role::Merchant, Purpose::Signing);
    if !hosts.dns.is_empty() && !may_have_dns {
        return Err(Failure::new(format!(
            "a {role}'s {purpose} certificate has no DNS names; leave out --dns"
        )));
    }
    if !hosts.ip.is_empty() && purpose != Purpose::Tls {
        return Err(Failure::new(
            "only TLS certificates have IP addresses; leave out --ip",
        ));
    }
    Ok(())
}

/// The common name of a CA: `None` is the root.
pub(crate) fn ca_name(role: Option<Role>) -> String {
    role.map_or_else(
        || "Twinseal root CA".to_owned(),
        |role| format!("Twinseal {role} CA"),
    )
}

/// A CA's certificate: the root's, or the issuing CA's of a role.
pub(crate) fn ca(role: Option<Role>) -> Result<CertificateParams, Failure> {
    let (days, constraint) = match role {
        None => (ROOT_DAYS, 1),
        Some(_) => (ISSUING_CA_DAYS, 0),
    };
    ca_called(role, &ca_name(role), days, constraint)
}

/// A CA's certificate with this common name, and so many CAs below it at most.
pub(crate) fn ca_called(
    role: Option<Role>,
    name: &str,
    days: i64,
    path_length: u8,
) -> Result<CertificateParams, Failure> {
    let mut params = base(name, days)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = role.is_some();
    Ok(params)
}

fn base(common_name: &str, days: i64) -> Result<CertificateParams, Failure> {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    // So that a party whose clock is a little behind takes it at once.
    params.not_before = now - Duration::minutes(5);
    params.not_after = now + Duration::days(days);
    params.serial_number = Some(random_serial()?);
    Ok(params)
}

/// 127 random bits, positive (RFC 5280 section 4.1.2.2).
fn random_serial() -> Result<SerialNumber, Failure> {
    let mut bytes = [0u8; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::new("the operating system gave no random bytes"))?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}
