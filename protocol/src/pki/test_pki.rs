//! For tests: a root, an issuing CA of each role, and certificates of every profile.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;

use super::{Trust, TrustError, TrustSource, Usage};
use crate::{names::Role, time::Timestamp};

/// When the tests take place.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000);
const DAY: u64 = 86_400;

/// A CA with its key.
pub(crate) struct TestCa(CertifiedIssuer<'static, KeyPair>);

/// A leaf certificate with its key.
pub(crate) struct Issued {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

/// Each part can be changed before [`TestPki::trust`] is made of it.
pub(crate) struct TestPki {
    pub(crate) root: TestCa,
    pub(crate) issuing_cas: Vec<(Role, TestCa)>,
    pub(crate) root_crl: CertificateRevocationListDer<'static>,
    pub(crate) crls: Vec<CertificateRevocationListDer<'static>>,
}

impl TestPki {
    pub(crate) fn new() -> Self {
        let root = TestCa::root("Test root");
        let issuing_cas: Vec<_> = Role::ALL
            .map(|role| (role, root.issuing_ca(&format!("Test {role} CA"), |_| {})))
            .into();
        Self {
            root_crl: root.crl(1, &[]),
            crls: issuing_cas.iter().map(|(_, ca)| ca.crl(1, &[])).collect(),
            root,
            issuing_cas,
        }
    }

    pub(crate) fn ca(&self, role: Role) -> &TestCa {
        let (_, ca) = self
            .issuing_cas
            .iter()
            .find(|(candidate, _)| *candidate == role)
            .unwrap();
        ca
    }

    pub(crate) fn load(&self, now: Timestamp) -> Result<Trust, TrustError> {
        let source = TrustSource {
            root: self.root.der(),
            root_crl: self.root_crl.clone(),
            anchors: self
                .issuing_cas
                .iter()
                .map(|(role, ca)| (*role, ca.der()))
                .collect(),
            crls: self.crls.clone(),
        };
        Trust::load(source, now)
    }

    pub(crate) fn trust(&self) -> Trust {
        self.load(NOW).unwrap()
    }

    /// A certificate of the role's own CA, of the right profile.
    pub(crate) fn issue(&self, role: Role, usage: Usage) -> Issued {
        self.ca(role).issue(profile(role, usage), |_| {})
    }
}

impl TestCa {
    pub(crate) fn root(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(ca_params(name), key()).unwrap())
    }

    pub(crate) fn issuing_ca(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        Self(CertifiedIssuer::signed_by(params, key(), &self.0).unwrap())
    }

    pub(crate) fn key(&self) -> &KeyPair {
        self.0.key()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn issue(
        &self,
        params: CertificateParams,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        self.issue_to(key(), params, change)
    }

    pub(crate) fn issue_to(
        &self,
        key: KeyPair,
        mut params: CertificateParams,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        change(&mut params);
        let der = params.signed_by(&key, &self.0).unwrap().der().clone();
        Issued { der, key }
    }

    /// A CRL of yesterday that is good for a week.
    pub(crate) fn crl(
        &self,
        number: u64,
        revoked: &[u64],
    ) -> CertificateRevocationListDer<'static> {
        self.crl_with(number, revoked, |_| {})
    }

    pub(crate) fn crl_with(
        &self,
        number: u64,
        revoked: &[u64],
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> CertificateRevocationListDer<'static> {
        let mut params = CertificateRevocationListParams {
            this_update: at(NOW.minus(DAY)),
            next_update: at(NOW.plus(7 * DAY)),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|&serial| RevokedCertParams {
                    serial_number: SerialNumber::from(serial),
                    revocation_time: at(NOW.minus(2 * DAY)),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        params.signed_by(&self.0).unwrap().der().clone()
    }
}

/// What a certificate of this role has, for this use.
pub(crate) fn profile(role: Role, usage: Usage) -> CertificateParams {
    let mut params = dated(&format!("Test {role}"));
    params.subject_alt_names = vec![uri(&format!("urn:twinseal:{role}:test"))];
    params.key_usages = vec![match usage {
        Usage::Encryption => KeyUsagePurpose::KeyAgreement,
        _ => KeyUsagePurpose::DigitalSignature,
    }];
    params.extended_key_usages = match usage {
        Usage::MessageSigning => vec![document_signing()],
        Usage::Encryption => vec![],
        Usage::TlsServer => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::TlsClient => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params
}

/// id-kp-documentSigning (RFC 9336).
pub(crate) fn document_signing() -> ExtendedKeyUsagePurpose {
    ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 36])
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// A moment in the form that rcgen takes.
pub(crate) fn at(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(time.0)
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn dated(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = at(NOW.minus(DAY));
    params.not_after = at(NOW.plus(30 * DAY));
    params.use_authority_key_identifier_extension = true;
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = dated(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
