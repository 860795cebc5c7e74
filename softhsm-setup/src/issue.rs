//! A CA's daily work: issue, revoke, sign CRLs.

use std::{fs, path::Path};

use protocol::names::{PartyName, Role};
use rcgen::{
    CertificateSigningRequestParams, PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo,
};

use crate::{
    Failure,
    authority::{Authority, Origin, PublicPoint},
    journal::{How, Journal},
    layout::{LockedLayout, Readers, TokenPlace},
    profiles::{self, Hosts, Purpose},
    revocation::Crl,
    say,
    token_process::TokenProcess,
};

/// How a public key begins in PEM (RFC 7468 section 13).
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----";

/// What the operator wants a certificate to say.
pub(crate) struct Wanted {
    pub(crate) role: Role,
    pub(crate) usage: Purpose,
    pub(crate) name: String,
    pub(crate) hosts: Hosts,
    pub(crate) days: i64,
}

/// Issues a certificate for the key of a request; nothing else of the request is taken.
pub(crate) fn issue(
    layout: &LockedLayout,
    module: &Path,
    public: &PublicPoint,
    wanted: &Wanted,
    out: &Path,
) -> Result<(), Failure> {
    let is_there = || {
        Failure::new(format!(
            "{} is there already and stays as it is; name another file with --out",
            out.display()
        ))
    };
    if out.exists() {
        return Err(is_there());
    }
    let name = PartyName::new(wanted.role, &wanted.name)
        .map_err(|error| Failure::new(format!("--name {}: {error}", wanted.name)))?;
    let params = profiles::leaf(&name, wanted.usage, &wanted.hosts, wanted.days)?;
    let token = TokenProcess::start(layout, TokenPlace::Ca, module)?;
    let ca = Authority::open(layout, &token, Some(wanted.role))?;
    let mut journal = Journal::open(layout)?;
    let pem = ca.issue(&mut journal, Origin::of(How::Issue), &params, public)?;
    if !layout.write_new(out, pem.as_bytes(), Readers::All)? {
        return Err(is_there());
    }
    say(&format!(
        "issued {} for {name}, {}, {} days{}{}{}",
        out.display(),
        wanted.usage,
        wanted.days,
        listed(", DNS ", &wanted.hosts.dns),
        listed(", IP ", &wanted.hosts.ip),
        listed(", OCSP ", wanted.hosts.ocsp.as_slice()),
    ));
    Ok(())
}

/// The public key that a request asks a certificate for.
pub(crate) fn requested_key(csr: &Path, usage: Purpose) -> Result<PublicPoint, Failure> {
    let text = fs::read_to_string(csr).map_err(|error| Failure::file(csr, &error))?;
    let unusable = |error: rcgen::Error| {
        Failure::new(format!(
            "{} is not a request that can be used: {error}; make a PKCS#10 request for a P-256 key",
            csr.display()
        ))
    };
    let public = if usage == Purpose::Encryption && text.contains(PUBLIC_KEY) {
        point_of(&SubjectPublicKeyInfo::from_pem(&text).map_err(unusable)?)
    } else {
        point_of(
            &CertificateSigningRequestParams::from_pem(&text)
                .map_err(unusable)?
                .public_key,
        )
    };
    public.ok_or_else(|| {
        Failure::new(format!(
            "the key in {} is not of P-256, or it signed the request with another hash than SHA-256; make \
             one with `openssl ecparam -name prime256v1 -genkey`",
            csr.display()
        ))
    })
}

/// The public key of a request for P-256. What rcgen calls the key's algorithm is that of the request's
/// signature, so the key itself is looked at, too.
pub(crate) fn point_of(key: &impl PublicKeyData) -> Option<PublicPoint> {
    let bytes = key.der_bytes().try_into().ok()?;
    let point = hsm::P256Point::from_uncompressed(bytes).ok()?;
    (key.algorithm() == &PKCS_ECDSA_P256_SHA256).then(|| PublicPoint(point.as_bytes().to_vec()))
}

fn listed<T: ToString>(before: &str, names: &[T]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<String> = names.iter().map(T::to_string).collect();
    format!("{before}{}", names.join(" "))
}

/// Has every CA sign its CRL anew.
pub(crate) fn renew_crls(layout: &LockedLayout, module: &Path) -> Result<(), Failure> {
    // All or none.
    let cas = layout.cas();
    for ca in &cas {
        Crl::of_ca(layout, *ca)?;
    }
    let token = TokenProcess::start(layout, TokenPlace::Ca, module)?;
    for ca in cas {
        Authority::open_ca(layout, &token, ca)?.sign_crl(&[])?;
        say(&format!("signed the CRL of the {}", ca.label()));
    }
    Ok(())
}

/// Bytes as people compare them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
