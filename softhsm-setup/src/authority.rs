//! The certificate authorities: their keys are in the CA token, and every certificate and CRL is signed
//! there.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use protocol::{identifiers::Digest, names::Role};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, RevokedCertParams, SerialNumber, SignatureAlgorithm,
    SigningKey,
};
use time::{Duration, OffsetDateTime};

use crate::{
    Failure,
    init::cas,
    issue::hex,
    journal::{Asked, Event, How, Issued, Journal},
    layout::{LockedLayout, Readers},
    leaf::Leaf,
    profiles,
    revocation::{Crl, NothingIssued},
    token_process::TokenProcess,
};

/// How long a CRL is good.
const CRL_DAYS: i64 = 30;

/// A public key that is in a token, or was in a request.
pub(crate) struct PublicPoint(pub(crate) Vec<u8>);

impl PublicKeyData for PublicPoint {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// A signing key in a token, as rcgen wants it.
struct TokenKey<'a> {
    token: &'a TokenProcess,
    label: String,
    public: PublicPoint,
}

impl PublicKeyData for TokenKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.public.algorithm()
    }
}

impl SigningKey for TokenKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.token
            .sign(&self.label, *Digest::of(message).as_bytes())
            .map(|signature| hsm::signature::der(&signature))
            // rcgen has no room for a reason; the token's process wrote it to the log.
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// One of the four CAs; `role` is `None` for the root.
pub(crate) struct Authority<'a> {
    role: Option<Role>,
    layout: &'a LockedLayout,
    issuer: Issuer<'static, TokenKey<'a>>,
}

/// The label of a CA's key.
pub(crate) fn key_label(role: Option<Role>) -> String {
    role.map_or_else(|| "root-ca".to_owned(), |role| format!("{role}-ca"))
}

impl<'a> Authority<'a> {
    /// A CA that has its certificate.
    pub(crate) fn open(
        layout: &'a LockedLayout,
        token: &'a TokenProcess,
        role: Option<Role>,
    ) -> Result<Self, Failure> {
        let path = layout.ca_certificate(role);
        let pem = fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        Self::with_certificate(layout, token, role, &pem)
    }

    fn with_certificate(
        layout: &'a LockedLayout,
        token: &'a TokenProcess,
        role: Option<Role>,
        pem: &str,
    ) -> Result<Self, Failure> {
        let key = token_key(token, role)?;
        let path = layout.ca_certificate(role);
        let unusable = |reason: &str| {
            let path = path.display();
            Failure::new(format!(
                "{path} can't be used: {reason}; put the CA's certificate there"
            ))
        };
        let certificate =
            Leaf::read(pem.as_bytes()).ok_or_else(|| unusable("it is no certificate"))?;
        if certificate.public_point != key.der_bytes() {
            // What it signed nobody would take.
            return Err(Failure::new(format!(
                "{} is not the certificate of the key {} in the CA token; bring the CA's own token back into \
                 ca/, which may have been carried away",
                path.display(),
                key_label(role)
            )));
        }
        let issuer =
            Issuer::from_ca_cert_pem(pem, key).map_err(|error| unusable(&error.to_string()))?;
        Ok(Self {
            role,
            layout,
            issuer,
        })
    }

    /// Issues a certificate, in PEM. It is in the journal when this returns.
    pub(crate) fn issue(
        &self,
        journal: &mut Journal,
        origin: Origin,
        params: &CertificateParams,
        public: &PublicPoint,
    ) -> Result<String, Failure> {
        let certificate = params.signed_by(public, &self.issuer).map_err(|error| {
            Failure::new(format!(
                "the {} did not sign: {error}",
                key_label(self.role)
            ))
        })?;
        enter(self.layout, journal, self.role, origin, certificate.der())?;
        Ok(certificate.pem())
    }

    /// Signs the first CRL, which is empty, of a CA whose certificate is not in its file yet.
    pub(crate) fn sign_first_crl(
        layout: &LockedLayout,
        token: &TokenProcess,
        nothing: &NothingIssued,
        certificate: &str,
    ) -> Result<(), Failure> {
        Authority::with_certificate(layout, token, nothing.role(), certificate)?.write_crl(1, &[])
    }

    /// Signs a CRL with the next number: the certificates revoked so far, and these serials. Returns when
    /// they are in the file.
    pub(crate) fn sign_crl(&self, also: &[Vec<u8>]) -> Result<(), Failure> {
        let former = Crl::of(self.layout, self.role)?;
        let now = OffsetDateTime::now_utc();
        let mut revoked = former.revoked;
        for serial in also {
            if !revoked.iter().any(|(known, _)| known == serial) {
                revoked.push((serial.clone(), now));
            }
        }
        self.write_crl(former.number + 1, &revoked)
    }

    fn write_crl(&self, number: u64, revoked: &[(Vec<u8>, OffsetDateTime)]) -> Result<(), Failure> {
        let now = OffsetDateTime::now_utc();
        let params = CertificateRevocationListParams {
            this_update: now - Duration::minutes(5),
            next_update: now + Duration::days(CRL_DAYS),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|(serial, time)| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(serial),
                    revocation_time: *time,
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = params
            .signed_by(&self.issuer)
            .and_then(|crl| crl.pem())
            .map_err(|error| {
                Failure::new(format!(
                    "the {} did not sign: {error}",
                    key_label(self.role)
                ))
            })?;
        let path = self.layout.ca_crl(self.role);
        self.layout.replace(&path, pem.as_bytes(), Readers::All)?;
        // Nobody is told that a certificate is revoked unless the file says so.
        let written = Crl::of(self.layout, self.role)?;
        let has_all = revoked
            .iter()
            .all(|(serial, _)| written.revoked.iter().any(|(found, _)| found == serial));
        if written.number == number && has_all {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} is not what was written there; see what else writes it, and run the command again",
            path.display()
        )))
    }
}

/// Makes a CA's certificate, in PEM: the root's by itself, an issuing CA's by the root.
pub(crate) fn ca_certificate(
    layout: &LockedLayout,
    token: &TokenProcess,
    role: Option<Role>,
) -> Result<String, Failure> {
    let params = profiles::ca(role)?;
    let mut journal = Journal::open(layout)?;
    if role.is_some() {
        let public = PublicPoint(token.public(&key_label(role))?);
        let root = Authority::open(layout, token, None)?;
        return root.issue(&mut journal, Origin::of(How::Init), &params, &public);
    }
    let certificate = params
        .self_signed(&token_key(token, role)?)
        .map_err(|error| Failure::new(format!("the root CA did not sign: {error}")))?;
    let origin = Origin::of(How::Init);
    enter(layout, &mut journal, None, origin, certificate.der())?;
    Ok(certificate.pem())
}

/// Writes into the journal what a CA signed.
fn enter(
    layout: &LockedLayout,
    journal: &mut Journal,
    ca: Option<Role>,
    origin: Origin,
    der: &[u8],
) -> Result<(), Failure> {
    let leaf = Leaf::of(der).ok_or_else(|| {
        Failure::new(format!(
            "the {} signed something that is no certificate; this is an error of the program: report it",
            key_label(ca)
        ))
    })?;
    let issued = Issued {
        how: origin.how,
        ca: key_label(ca),
        serial: hex(&leaf.serial),
        subject: leaf.whose(),
        usage: match leaf.purpose {
            Some(purpose) => purpose.as_str(),
            None if leaf.is_ca => "ca",
            // The enrolment service's has no profile of a party.
            None => "tls-server",
        }
        .to_owned(),
        spki_sha256: leaf.spki_sha256,
        certificate_sha256: Digest::of(der),
        not_after: leaf.not_after.unix_timestamp(),
        certificate: STANDARD.encode(der),
        asked: origin.asked,
    };
    journal.append(layout, Event::Issued(issued))
}

/// Writes into the journal what a CA of the directory signed before there was one, as far as it is in a file.
pub(crate) fn enter_found(layout: &LockedLayout) -> Result<(), Failure> {
    let mut journal = Journal::open(layout)?;
    let mut known = Vec::new();
    for role in cas() {
        known.push((role, Leaf::open(&layout.ca_certificate(role))?));
    }
    for file in layout.certificates()? {
        // What is none was looked at where it belongs.
        let Ok(leaf) = Leaf::open(&file) else {
            continue;
        };
        let Some((role, _)) = known.iter().find(|(_, ca)| ca.has_signed(&leaf)) else {
            continue;
        };
        let digest = Digest::of(&leaf.der);
        if !journal
            .issued()
            .any(|issued| issued.certificate_sha256 == digest)
        {
            enter(
                layout,
                &mut journal,
                *role,
                Origin::of(How::Found),
                &leaf.der,
            )?;
        }
    }
    Ok(())
}

/// How a certificate comes to be, and who asked for it.
pub(crate) struct Origin {
    pub(crate) how: How,
    pub(crate) asked: Option<Asked>,
}

impl Origin {
    /// Nobody asked over the network.
    pub(crate) const fn of(how: How) -> Self {
        Self { how, asked: None }
    }
}

fn token_key(token: &TokenProcess, role: Option<Role>) -> Result<TokenKey<'_>, Failure> {
    let label = key_label(role);
    Ok(TokenKey {
        token,
        public: PublicPoint(token.public(&label)?),
        label,
    })
}
