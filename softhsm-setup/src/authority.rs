//! The certificate authorities: their keys are in the CA token, and every certificate and CRL is signed
//! there.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use protocol::{identifiers::Digest, names::Role};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, RevokedCertParams, SerialNumber, SignatureAlgorithm,
    SigningKey,
};
use time::{Duration, OffsetDateTime};

use crate::{
    Failure,
    ca::Ca,
    issue::hex,
    journal::{Asked, Event, How, Issued, Journal},
    layout::{Layout, LockedLayout, Readers},
    leaf::Leaf,
    profiles,
    revocation::{Crl, NothingIssued},
    token_process::{FoundKey, TokenProcess},
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

/// A CA whose key is at hand.
pub(crate) struct Authority<'a> {
    ca: Ca,
    layout: &'a LockedLayout,
    issuer: Issuer<'static, TokenKey<'a>>,
}

/// The label of a CA's key in the CA token: that of the key that its certificate has, whatever it was called; without one,
/// what it will be called.
pub(crate) fn key_label(layout: &Layout, ca: Ca, keys: &[FoundKey]) -> String {
    let certificate = Leaf::open(&layout.certificate_of(ca)).ok();
    certificate
        .and_then(|certificate| label_of(keys, &certificate.public_point))
        .unwrap_or_else(|| ca.label())
}

/// The label of the key pair with this public point.
fn label_of(keys: &[FoundKey], public: &[u8]) -> Option<String> {
    keys.iter()
        .find(|key| key.public.as_deref() == Some(public))
        .map(|key| key.label.clone())
}

impl<'a> Authority<'a> {
    /// The CA that issues now: the newest of a role, or the root.
    pub(crate) fn open(
        layout: &'a LockedLayout,
        token: &'a TokenProcess,
        role: Option<Role>,
    ) -> Result<Self, Failure> {
        Self::open_ca(layout, token, layout.issuing_ca(role))
    }

    /// A CA that has its certificate.
    pub(crate) fn open_ca(
        layout: &'a LockedLayout,
        token: &'a TokenProcess,
        ca: Ca,
    ) -> Result<Self, Failure> {
        let path = layout.certificate_of(ca);
        let pem = fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        Self::with_certificate(layout, token, ca, &pem)
    }

    fn with_certificate(
        layout: &'a LockedLayout,
        token: &'a TokenProcess,
        ca: Ca,
        pem: &str,
    ) -> Result<Self, Failure> {
        let path = layout.certificate_of(ca);
        let unusable = |reason: &str| {
            let path = path.display();
            Failure::new(format!(
                "{path} can't be used: {reason}; put the CA's certificate there"
            ))
        };
        let certificate =
            Leaf::read(pem.as_bytes()).ok_or_else(|| unusable("it is no certificate"))?;
        // What another key signed nobody would take.
        let label = label_of(&token.keys(Vec::new())?, &certificate.public_point);
        let label = label.ok_or_else(|| {
            Failure::new(format!(
                "{} is not the certificate of the key {} in the CA token; bring the CA's own token back into \
                 ca/, which may have been carried away",
                path.display(),
                ca.label()
            ))
        })?;
        let key = TokenKey {
            token,
            label,
            public: PublicPoint(certificate.public_point),
        };
        let issuer =
            Issuer::from_ca_cert_pem(pem, key).map_err(|error| unusable(&error.to_string()))?;
        Ok(Self { ca, layout, issuer })
    }

    /// Issues a certificate, in PEM: the root to issuing CAs, an issuing CA to parties. It is in the journal when this
    /// returns.
    pub(crate) fn issue(
        &self,
        journal: &mut Journal,
        origin: Origin,
        params: &CertificateParams,
        public: &PublicPoint,
    ) -> Result<String, Failure> {
        if self.ca.role.is_none() != matches!(params.is_ca, IsCa::Ca(_)) {
            return Err(Failure::new(format!(
                "the {} is not for such a certificate; the root certifies issuing CAs, and they certify parties",
                self.ca.label()
            )));
        }
        let certificate = params.signed_by(public, &self.issuer).map_err(|error| {
            Failure::new(format!("the {} did not sign: {error}", self.ca.label()))
        })?;
        enter(self.layout, journal, self.ca, origin, certificate.der())?;
        Ok(certificate.pem())
    }

    /// Signs the first CRL, which is empty, of a CA whose certificate is not in its file yet.
    pub(crate) fn sign_first_crl(
        layout: &LockedLayout,
        token: &TokenProcess,
        nothing: &NothingIssued,
        certificate: &str,
    ) -> Result<(), Failure> {
        Authority::with_certificate(layout, token, nothing.ca(), certificate)?.write_crl(1, &[])
    }

    /// Signs a CRL with the next number: the certificates revoked so far, by the former CRL and by the journal, so that none
    /// is forgotten when an old CRL was put back; and these serials. Returns when they are in the file.
    pub(crate) fn sign_crl(&self, also: &[Vec<u8>]) -> Result<(), Failure> {
        let former = Crl::of_ca(self.layout, self.ca)?;
        let now = OffsetDateTime::now_utc();
        let mut revoked = former.revoked;
        let journal = Journal::open(self.layout)?;
        let entered = journal.revoked_by(&self.ca.label());
        for serial in entered.iter().chain(also) {
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
                Failure::new(format!("the {} did not sign: {error}", self.ca.label()))
            })?;
        let path = self.layout.crl_of(self.ca);
        self.layout.replace(&path, pem.as_bytes(), Readers::All)?;
        // Nobody is told that a certificate is revoked unless the file says so.
        let written = Crl::of_ca(self.layout, self.ca)?;
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

/// Makes the certificate of a CA that takes nobody's place, in PEM: the root's by itself, an issuing CA's by the root.
pub(crate) fn ca_certificate(
    layout: &LockedLayout,
    token: &TokenProcess,
    role: Option<Role>,
) -> Result<String, Failure> {
    let params = profiles::ca(role)?;
    certify_ca(
        layout,
        token,
        role,
        &Ca::first(role).label(),
        &params,
        How::Init,
    )
}

/// Certifies the key with this label as a CA, in PEM.
pub(crate) fn certify_ca(
    layout: &LockedLayout,
    token: &TokenProcess,
    role: Option<Role>,
    label: &str,
    params: &CertificateParams,
    how: How,
) -> Result<String, Failure> {
    let public = PublicPoint(token.public(label)?);
    let mut journal = Journal::open(layout)?;
    let origin = Origin::of(how);
    if role.is_some() {
        let root = Authority::open(layout, token, None)?;
        return root.issue(&mut journal, origin, params, &public);
    }
    let key = TokenKey {
        token,
        label: label.to_owned(),
        public,
    };
    let certificate = params
        .self_signed(&key)
        .map_err(|error| Failure::new(format!("the root CA did not sign: {error}")))?;
    let root = Ca::first(None);
    enter(layout, &mut journal, root, origin, certificate.der())?;
    Ok(certificate.pem())
}

/// Writes into the journal what a CA signed.
fn enter(
    layout: &LockedLayout,
    journal: &mut Journal,
    ca: Ca,
    origin: Origin,
    der: &[u8],
) -> Result<(), Failure> {
    let leaf = Leaf::of(der).ok_or_else(|| {
        Failure::new(format!(
            "the {} signed something that is no certificate; this is an error of the program: report it",
            ca.label()
        ))
    })?;
    let issued = Issued {
        how: origin.how,
        ca: ca.label(),
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
    for file in layout.certificates()? {
        // What is none was looked at where it belongs.
        let Ok(leaf) = Leaf::open(&file) else {
            continue;
        };
        let Some(ca) = layout.issuer_of(&leaf) else {
            continue;
        };
        let digest = Digest::of(&leaf.der);
        if !journal
            .issued()
            .any(|issued| issued.certificate_sha256 == digest)
        {
            enter(layout, &mut journal, ca, Origin::of(How::Found), &leaf.der)?;
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
