//! The certificate authorities: their keys are in the CA token, and every certificate and CRL is signed
//! there.

use std::{fs, path::Path};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use protocol::{identifiers::Digest, names::Role};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, RevokedCertParams, SerialNumber, SignatureAlgorithm,
    SigningKey,
};
use time::{Duration, OffsetDateTime};
use x509_parser::{
    prelude::{CertificateRevocationList, FromDer as _},
    revocation_list::RevokedCertificate,
};

use crate::{
    Failure,
    layout::{Layout, Readers, replace},
    profiles,
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
    layout: &'a Layout,
    issuer: Issuer<'static, TokenKey<'a>>,
}

/// The label of a CA's key.
pub(crate) fn key_label(role: Option<Role>) -> String {
    role.map_or_else(|| "root-ca".to_owned(), |role| format!("{role}-ca"))
}

impl<'a> Authority<'a> {
    /// A CA that has its certificate.
    pub(crate) fn open(
        layout: &'a Layout,
        token: &'a TokenProcess,
        role: Option<Role>,
    ) -> Result<Self, Failure> {
        let path = layout.ca_certificate(role);
        let pem = fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, token_key(token, role)?)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        Ok(Self {
            role,
            layout,
            issuer,
        })
    }

    /// Issues a certificate, in PEM.
    pub(crate) fn issue(
        &self,
        params: &CertificateParams,
        public: &PublicPoint,
    ) -> Result<String, Failure> {
        params
            .signed_by(public, &self.issuer)
            .map(|certificate| certificate.pem())
            .map_err(|error| {
                Failure::new(format!(
                    "the {} did not sign: {error}",
                    key_label(self.role)
                ))
            })
    }

    /// Signs a CRL with the next number: the certificates revoked so far, and these serials.
    pub(crate) fn sign_crl(&self, also: &[Vec<u8>]) -> Result<(), Failure> {
        let path = self.layout.ca_crl(self.role);
        let former = match fs::read(&path) {
            Ok(pem) => Crl::read(&pem)
                .ok_or_else(|| Failure::new(format!("{} is not a CRL", path.display())))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Crl::default(),
            Err(error) => return Err(Failure::file(&path, &error)),
        };
        let now = OffsetDateTime::now_utc();
        let mut revoked = former.revoked;
        for serial in also {
            if !revoked.iter().any(|(known, _)| known == serial) {
                revoked.push((serial.clone(), now));
            }
        }
        let params = CertificateRevocationListParams {
            this_update: now - Duration::minutes(5),
            next_update: now + Duration::days(CRL_DAYS),
            crl_number: SerialNumber::from(former.number + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .into_iter()
                .map(|(serial, time)| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&serial),
                    revocation_time: time,
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
        replace(&path, pem.as_bytes(), Readers::All)
    }
}

/// Makes a CA's certificate, in PEM: the root's by itself, an issuing CA's by the root.
pub(crate) fn ca_certificate(
    layout: &Layout,
    token: &TokenProcess,
    role: Option<Role>,
) -> Result<String, Failure> {
    let params = profiles::ca(role)?;
    if role.is_some() {
        let public = PublicPoint(token.public(&key_label(role))?);
        return Authority::open(layout, token, None)?.issue(&params, &public);
    }
    params
        .self_signed(&token_key(token, role)?)
        .map(|certificate| certificate.pem())
        .map_err(|error| Failure::new(format!("the root CA did not sign: {error}")))
}

fn token_key(token: &TokenProcess, role: Option<Role>) -> Result<TokenKey<'_>, Failure> {
    let label = key_label(role);
    Ok(TokenKey {
        token,
        public: PublicPoint(token.public(&label)?),
        label,
    })
}

/// What matters of a CRL.
pub(crate) struct Crl {
    pub(crate) number: u64,
    pub(crate) next_update: OffsetDateTime,
    pub(crate) revoked: Vec<(Vec<u8>, OffsetDateTime)>,
}

impl Default for Crl {
    fn default() -> Self {
        Self {
            number: 0,
            next_update: OffsetDateTime::UNIX_EPOCH,
            revoked: Vec::new(),
        }
    }
}

impl Crl {
    pub(crate) fn read(pem: &[u8]) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
        let (_, crl) = CertificateRevocationList::from_der(&pem.contents).ok()?;
        let digits = crl.crl_number()?.to_u64_digits();
        let revoked = |entry: &RevokedCertificate<'_>| {
            (
                entry.raw_serial().to_vec(),
                entry.revocation_date.to_datetime(),
            )
        };
        Some(Self {
            number: digits.first().copied().unwrap_or(0),
            next_update: crl.next_update()?.to_datetime(),
            revoked: crl.iter_revoked_certificates().map(revoked).collect(),
        })
    }
}

/// Refuses a certificate that is not of a key: one of the two was replaced behind our back.
pub(crate) fn check_is_of(path: &Path, public: &[u8]) -> Result<(), Failure> {
    let pem = fs::read(path).map_err(|error| Failure::file(path, &error))?;
    let found = Leaf::read(&pem)
        .ok_or_else(|| Failure::new(format!("{} is not a certificate", path.display())))?;
    if found.public_point == public {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is not the certificate of the key in the token; move the file away and run init again to have \
         one issued, if the token is the right one",
        path.display()
    )))
}

/// What matters of a certificate in a file.
pub(crate) struct Leaf {
    pub(crate) subject: String,
    pub(crate) issuing_ca: String,
    pub(crate) serial: Vec<u8>,
    pub(crate) public_point: Vec<u8>,
    pub(crate) not_after: OffsetDateTime,
    pub(crate) der: Vec<u8>,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Leaf {
    pub(crate) fn read(pem: &[u8]) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
        let certificate = pem.parse_x509().ok()?;
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
            not_after: certificate.validity().not_after.to_datetime(),
            signed: certificate.tbs_certificate.as_ref().to_vec(),
            signature: certificate.signature_value.data.to_vec(),
            der: pem.contents.clone(),
        })
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
