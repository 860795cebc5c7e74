//! A whole PKI in memory: the root, an issuing CA for each role, their CRLs, and certificates of
//! every profile, or of none.

use std::time::Duration;

use protocol::{
    names::Role,
    pki::{TrustSource, Usage},
    time::Timestamp,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::{
    NOW,
    keys::{Key, bytes},
};

const DAY: u64 = 86_400;

pub type Ca = CertifiedIssuer<'static, Key>;

/// The CAs. What they issued is the parties'.
pub struct Pki {
    pub root: Ca,
    pub issuing_cas: [(Role, Ca); 3],
}

impl Pki {
    pub fn new() -> Self {
        let root = CertifiedIssuer::self_signed(ca_params("Vector root CA"), Key::named("root CA"))
            .unwrap();
        let issuing_cas = Role::ALL.map(|role| {
            let params = ca_params(&format!("Vector {role} CA"));
            let key = Key::named(&format!("{role} CA"));
            (
                role,
                CertifiedIssuer::signed_by(params, key, &root).unwrap(),
            )
        });
        Self { root, issuing_cas }
    }

    pub fn ca(&self, role: Role) -> &Ca {
        let (_, ca) = self
            .issuing_cas
            .iter()
            .find(|(candidate, _)| *candidate == role)
            .unwrap();
        ca
    }

    /// What everybody trusts, with current and empty CRLs.
    pub fn trust_source(&self) -> TrustSource {
        self.trust_source_with_crls(
            Role::ALL
                .map(|role| crl(self.ca(role), &Crl::default()))
                .to_vec(),
        )
    }

    pub fn trust_source_with_crls(
        &self,
        crls: Vec<CertificateRevocationListDer<'static>>,
    ) -> TrustSource {
        TrustSource {
            root: self.root.der().clone(),
            root_crl: crl(&self.root, &Crl::default()),
            anchors: self
                .issuing_cas
                .iter()
                .map(|(role, ca)| (*role, ca.der().clone()))
                .collect(),
            crls,
        }
    }
}

/// What a CRL says.
pub struct Crl {
    pub number: u64,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
    pub revoked: Vec<u64>,
}

impl Default for Crl {
    fn default() -> Self {
        Self {
            number: 1,
            this_update: NOW.minus(DAY),
            next_update: NOW.plus(7 * DAY),
            revoked: Vec::new(),
        }
    }
}

pub fn crl(ca: &Ca, content: &Crl) -> CertificateRevocationListDer<'static> {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(1970, 1, 1) + Duration::from_secs(content.this_update.0),
        next_update: date_time_ymd(1970, 1, 1) + Duration::from_secs(content.next_update.0),
        crl_number: SerialNumber::from(content.number),
        issuing_distribution_point: None,
        revoked_certs: content
            .revoked
            .iter()
            .map(|&serial| RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW.0 - 2 * DAY),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca).unwrap().der().clone()
}

/// What a certificate of this name has, for this use.
pub fn profile(urn: &str, usage: Usage) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, urn);
    params.subject_alt_names = vec![uri(urn)];
    if usage == Usage::MessageSigning && urn.contains(":merchant:") {
        let id = urn.rsplit(':').next().unwrap();
        params.subject_alt_names.push(SanType::DnsName(
            format!("{id}.example").try_into().unwrap(),
        ));
    }
    params.key_usages = vec![match usage {
        Usage::Encryption => KeyUsagePurpose::KeyAgreement,
        _ => KeyUsagePurpose::DigitalSignature,
    }];
    params.extended_key_usages = match usage {
        // id-kp-documentSigning (RFC 9336).
        Usage::MessageSigning => vec![ExtendedKeyUsagePurpose::Other(vec![
            1, 3, 6, 1, 5, 5, 7, 3, 36,
        ])],
        Usage::Encryption => vec![],
        Usage::TlsServer => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::TlsClient => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    set_dates(&mut params, NOW.minus(DAY), NOW.plus(30 * DAY));
    params.use_authority_key_identifier_extension = true;
    params
}

pub fn issue(
    issuer: &Issuer<'_, Key>,
    key: &Key,
    serial: u64,
    mut params: CertificateParams,
) -> CertificateDer<'static> {
    params.serial_number = Some(SerialNumber::from(serial));
    params.signed_by(key, issuer).unwrap().der().clone()
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// Both dates are inclusive.
pub fn set_dates(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(not_before.0);
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(not_after.0);
}

/// A serial number that follows from a label.
pub fn serial(label: &str) -> u64 {
    u64::from_be_bytes(bytes(label)) >> 1
}

pub fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(serial(name)));
    set_dates(&mut params, NOW.minus(DAY), NOW.plus(365 * DAY));
    params
}
