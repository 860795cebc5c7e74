//! What a leaf certificate must look like: exact key usage, exact extended key usage, exactly one
//! URI name. The path library looks at none of these.

use rustls_pki_types::{CertificateDer, DnsName};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{ExtendedKeyUsage, GeneralName, KeyUsage},
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY},
    prelude::FromDer as _,
    x509::SubjectPublicKeyInfo,
};

use super::{Usage, Validity, untrusted};
use crate::{
    names::{PartyName, Role},
    problem::{Problem, Refusal},
};

/// id-kp-documentSigning, 1.3.6.1.5.5.7.3.36 (RFC 9336), as the contents of its DER form.
const DOCUMENT_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 36];

/// digitalSignature alone, and keyAgreement alone (RFC 5280 section 4.2.1.3), in the bit order of
/// [`KeyUsage::flags`].
const DIGITAL_SIGNATURE: KeyUsage = KeyUsage { flags: 1 };
const KEY_AGREEMENT: KeyUsage = KeyUsage { flags: 1 << 4 };

/// The three shapes of a leaf. A certificate has one of them or is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    MessageSigning,
    Encryption,
    Tls { server: bool, client: bool },
}

/// A leaf that has the shape of one profile; nothing is said yet of who issued it.
pub(super) struct Leaf {
    profile: Profile,
    pub(super) name: PartyName,
    pub(super) dns_names: Vec<String>,
    pub(super) public_key: [u8; 65],
    pub(super) validity: Validity,
}

impl Leaf {
    /// Reads a leaf whose signature and basic constraints hold.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, Refusal> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| untrusted(format!("the certificate can't be read: {error}")))?;
        let profile = profile(&certificate)?;
        let names = Names::read(&certificate)?;
        names.check_kinds(profile)?;
        Ok(Self {
            profile,
            name: names.party,
            dns_names: names.dns,
            public_key: p256_point(certificate.public_key())?,
            validity: Validity::of(&certificate),
        })
    }

    /// A certificate for one thing is no certificate for another.
    pub(super) fn check_use(&self, role: Role, usage: Usage) -> Result<(), Refusal> {
        let mismatch = |detail: String| Err(Refusal::new(Problem::RoleMismatch, detail));
        if self.name.role() != role {
            return mismatch(format!("{} where a {role}'s name is wanted", self.name));
        }
        let fits = match usage {
            Usage::MessageSigning => self.profile == Profile::MessageSigning,
            Usage::Encryption => self.profile == Profile::Encryption,
            Usage::TlsServer => matches!(self.profile, Profile::Tls { server: true, .. }),
            Usage::TlsClient => matches!(self.profile, Profile::Tls { client: true, .. }),
        };
        if !fits {
            return mismatch(format!(
                "a certificate of {} with the profile {:?}, used for {usage:?}",
                self.name, self.profile
            ));
        }
        Ok(())
    }
}

fn profile(certificate: &X509Certificate<'_>) -> Result<Profile, Refusal> {
    // Both look-ups refuse an extension that is there twice or can't be read.
    let key_usage = certificate
        .key_usage()
        .ok()
        .flatten()
        .ok_or_else(|| untrusted("no key usage"))?
        .value;
    let extended = certificate
        .extended_key_usage()
        .map_err(|_| untrusted("the extended key usage can't be read"))?
        .map(|extension| extension.value);
    match extended {
        None if *key_usage == KEY_AGREEMENT => Ok(Profile::Encryption),
        Some(extended) if *key_usage == DIGITAL_SIGNATURE => {
            let (named, others) = purposes(extended);
            match (named, others.as_slice()) {
                ([false, false], [DOCUMENT_SIGNING]) => Ok(Profile::MessageSigning),
                ([server, client], []) if server || client => Ok(Profile::Tls { server, client }),
                _ => Err(untrusted("the extended key usage is of no profile")),
            }
        }
        _ => Err(untrusted(format!(
            "key usage [{key_usage}] {} extended key usage is of no profile",
            if extended.is_some() {
                "with"
            } else {
                "without"
            }
        ))),
    }
}

/// serverAuth and clientAuth, and the object identifiers of all that is neither.
fn purposes<'a>(extended: &'a ExtendedKeyUsage<'_>) -> ([bool; 2], Vec<&'a [u8]>) {
    // Named here so that a purpose that the parser learns to tell apart does not pass as absent.
    let ExtendedKeyUsage {
        any,
        server_auth,
        client_auth,
        code_signing,
        email_protection,
        time_stamping,
        ocsp_signing,
        other,
    } = extended;
    let mut others: Vec<&[u8]> = other.iter().map(|oid| oid.as_bytes()).collect();
    if [
        any,
        code_signing,
        email_protection,
        time_stamping,
        ocsp_signing,
    ]
    .contains(&&true)
    {
        others.push(&[]);
    }
    ([*server_auth, *client_auth], others)
}

/// The subject alternative names (RFC 5280 section 4.2.1.6).
struct Names {
    party: PartyName,
    dns: Vec<String>,
    ip_addresses: usize,
}

impl Names {
    fn read(certificate: &X509Certificate<'_>) -> Result<Self, Refusal> {
        let names = certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .ok_or_else(|| untrusted("no subject alternative name"))?;
        let mut uris = Vec::new();
        let mut dns = Vec::new();
        let mut ip_addresses = 0;
        for name in &names.value.general_names {
            match name {
                GeneralName::URI(uri) => uris.push(*uri),
                GeneralName::DNSName(name) => {
                    DnsName::try_from(*name)
                        .map_err(|_| untrusted("a DNS name is not a host's name"))?;
                    dns.push(name.to_ascii_lowercase());
                }
                GeneralName::IPAddress(_) => ip_addresses += 1,
                _ => return Err(untrusted("a subject alternative name of another kind")),
            }
        }
        let [uri] = uris[..] else {
            return Err(untrusted(format!("{} URI names, not one", uris.len())));
        };
        let party = uri
            .parse()
            .map_err(|error| untrusted(format!("the URI name is {error}")))?;
        Ok(Self {
            party,
            dns,
            ip_addresses,
        })
    }

    /// Shops have DNS names in their signing certificates, TLS certificates also IP addresses;
    /// nothing else has either.
    fn check_kinds(&self, profile: Profile) -> Result<(), Refusal> {
        let (dns_allowed, ip_allowed) = match profile {
            Profile::MessageSigning => (self.party.role() == Role::Merchant, false),
            Profile::Encryption => (false, false),
            Profile::Tls { .. } => (true, true),
        };
        if (!dns_allowed && !self.dns.is_empty()) || (!ip_allowed && self.ip_addresses > 0) {
            return Err(untrusted(
                "DNS names or IP addresses where the profile has none",
            ));
        }
        Ok(())
    }
}

/// The uncompressed point of an id-ecPublicKey key on prime256v1 (RFC 5480 section 2.1).
pub(super) fn p256_point(key: &SubjectPublicKeyInfo<'_>) -> Result<[u8; 65], Refusal> {
    let curve = key
        .algorithm
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.as_oid().ok());
    if key.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY || curve != Some(OID_EC_P256) {
        return Err(untrusted("the public key is not one of P-256"));
    }
    <[u8; 65]>::try_from(key.subject_public_key.data.as_ref())
        .ok()
        .filter(|point| point[0] == 4)
        .ok_or_else(|| untrusted("the public key is not an uncompressed point"))
}
