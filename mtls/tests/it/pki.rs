//! A root with an issuing CA of each role, whose certificates are good today.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use mtls::{SharedTrust, identity::Identity};
use protocol::{
    names::Role,
    pki::{Trust, TrustSource},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList,
    CertificateRevocationListParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

pub(crate) type Ca = CertifiedIssuer<'static, KeyPair>;

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) struct Pki {
    pub(crate) root: Ca,
    pub(crate) issuing_cas: [(Role, Ca); 3],
}

/// A TLS certificate with its key.
pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let root = Ca::self_signed(ca("Root"), key()).unwrap();
        let issuing_cas = Role::ALL.map(|role| {
            let params = ca(&format!("{role} CA"));
            (role, Ca::signed_by(params, key(), &root).unwrap())
        });
        Self { root, issuing_cas }
    }

    pub(crate) fn ca(&self, role: Role) -> &Ca {
        let found = self
            .issuing_cas
            .iter()
            .find(|(candidate, _)| *candidate == role);
        &found.unwrap().1
    }

    pub(crate) fn trust(&self) -> SharedTrust {
        Arc::new(ArcSwap::from_pointee(self.trust_without(&[])))
    }

    /// The trust once the certificates with these serial numbers, of any CA, are revoked.
    pub(crate) fn trust_without(&self, revoked: &[u64]) -> Trust {
        let source = TrustSource {
            root: self.root.der().clone(),
            root_crl: crl(&self.root, &[]).der().clone(),
            anchors: self
                .issuing_cas
                .iter()
                .map(|(role, ca)| (*role, ca.der().clone()))
                .collect(),
            crls: self
                .issuing_cas
                .iter()
                .map(|(_, ca)| crl(ca, revoked).der().clone())
                .collect(),
        };
        Trust::load(source, mtls::now()).unwrap()
    }

    /// A certificate for both sides of TLS, for localhost, with the serial number 7.
    pub(crate) fn leaf(&self, role: Role) -> Leaf {
        self.leaf_with(role, |_| {})
    }

    pub(crate) fn leaf_with(
        &self,
        role: Role,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let mut params = dated("Leaf");
        params.serial_number = Some(SerialNumber::from(7));
        params.subject_alt_names = vec![
            SanType::URI(format!("urn:twinseal:{role}:test").try_into().unwrap()),
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, self.ca(role)).unwrap();
        Leaf {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        }
    }

    pub(crate) fn identity(&self, role: Role) -> Identity {
        self.leaf(role).identity()
    }
}

impl Leaf {
    pub(crate) fn identity(self) -> Identity {
        Identity::software(vec![self.der], pkcs8(&self.key)).unwrap()
    }
}

pub(crate) fn pkcs8(key: &KeyPair) -> zeroize::Zeroizing<PrivatePkcs8KeyDer<'static>> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

pub(crate) fn crl(ca: &Ca, revoked: &[u64]) -> CertificateRevocationList {
    let now = OffsetDateTime::now_utc();
    CertificateRevocationListParams {
        this_update: now - DAY,
        next_update: now + DAY,
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|&serial| RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: now - DAY,
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(ca)
    .unwrap()
}

/// Valid until yesterday.
pub(crate) fn expired(params: &mut CertificateParams) {
    params.not_before = OffsetDateTime::now_utc() - 10 * DAY;
    params.not_after = OffsetDateTime::now_utc() - DAY;
}

/// For signing messages, and nothing else.
pub(crate) fn for_signing(params: &mut CertificateParams) {
    const DOCUMENT_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 36];
    params.subject_alt_names.truncate(1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING.to_vec())];
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn dated(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::now_utc() - DAY;
    params.not_after = OffsetDateTime::now_utc() + 10 * DAY;
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = dated(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
