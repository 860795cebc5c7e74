//! CAs whose keys the test has, for certificates that no tool of ours would sign. Every program of a place trusts them
//! beside the provisioned ones.

use std::fs;

use protocol::names::Role;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use twinseal_tests::place::Place;

pub(crate) type Ca = CertifiedIssuer<'static, KeyPair>;

/// The serial number that every CRL names.
pub(crate) const REVOKED: u64 = 0x7e0c;

/// A root, and an issuing CA of each role.
pub(crate) struct Pki {
    pub(crate) root: Ca,
    issuing_cas: [Ca; 3],
}

/// The party that is looked for at the other end of a connection.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) role: Role,
    /// Its URN.
    pub(crate) name: String,
    /// serverAuth or clientAuth.
    pub(crate) purpose: ExtendedKeyUsagePurpose,
}

/// What is shown in a handshake: the chain, leaf first, and the key that signs.
pub(crate) struct Shown {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = ca("Matrix root CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        let root = Ca::self_signed(params, key()).unwrap();
        let issuing_cas = Role::ALL.map(|role| {
            let mut params = ca(&Self::ca_name(role));
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            Ca::signed_by(params, key(), &root).unwrap()
        });
        Self { root, issuing_cas }
    }

    /// The name of a role's issuing CA.
    pub(crate) fn ca_name(role: Role) -> String {
        format!("Matrix {role} CA")
    }

    pub(crate) fn ca(&self, role: Role) -> &Ca {
        &self.issuing_cas[role as usize]
    }

    /// Has every program of a place trust these CAs too. The provisioned ones are certified by this root from now on,
    /// so what they issued stays good.
    pub(crate) fn install(&self, place: &Place) {
        fs::write(place.path("pki/root.pem"), self.root.pem()).unwrap();
        fs::write(place.path("pki/root.crl"), crl(&self.root)).unwrap();
        for role in Role::ALL {
            let provisioned = place.path(&format!("pki/{role}-ca.pem"));
            fs::write(&provisioned, self.certified_anew(place, role)).unwrap();
            let ours = self.ca(role);
            fs::write(place.path(&format!("pki/matrix-{role}-ca.pem")), ours.pem()).unwrap();
            fs::write(place.path(&format!("pki/matrix-{role}-ca.crl")), crl(ours)).unwrap();
        }
        for config in [
            "gateway/gateway.toml",
            "merchant/merchant.toml",
            "client/client.toml",
        ] {
            place.edit(config, |config| {
                for role in Role::ALL {
                    for (list, ending) in [("ca", "pem"), ("crl", "crl")] {
                        let file = format!("../pki/matrix-{role}-ca.{ending}");
                        let files = config["trust"][format!("{role}_{list}")].as_array_mut();
                        files.unwrap().push(file.into());
                    }
                }
            });
        }
    }

    /// The certificate of a provisioned issuing CA, with this root as its issuer.
    fn certified_anew(&self, place: &Place, role: Role) -> String {
        let file = place.text(&format!("pki/{role}-ca.pem"));
        let public = crate::openssl::run(&["x509", "-noout", "-pubkey", "-in", &file]);
        let public = SubjectPublicKeyInfo::from_pem(&public).unwrap();
        let params = ca(&format!("Twinseal {role} CA"));
        params.signed_by(&public, &self.root).unwrap().pem()
    }
}

impl Wanted {
    /// A certificate that is as it should be.
    pub(crate) fn params(&self) -> CertificateParams {
        let mut params = dated("Anybody");
        params.subject_alt_names = vec![
            uri(&self.name),
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.purpose.clone()];
        params.use_authority_key_identifier_extension = true;
        params
    }
}

impl Shown {
    pub(crate) fn signed(params: CertificateParams, key: KeyPair, by: &Ca) -> Self {
        let certificate = params.signed_by(&key, by).unwrap();
        Self {
            chain: vec![certificate.der().clone()],
            key,
        }
    }

    /// With a CA's certificate at the end of the chain.
    pub(crate) fn with(mut self, ca: &Ca) -> Self {
        self.chain.push(ca.der().clone());
        self
    }

    pub(crate) fn pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der())
    }
}

/// Another role than this one.
pub(crate) fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Merchant,
        Role::Merchant => Role::Gateway,
        Role::Gateway => Role::Client,
    }
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(crate) fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

/// A CA that allows any path below it.
pub(crate) fn ca(name: &str) -> CertificateParams {
    let mut params = dated(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn dated(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::now_utc() - Duration::DAY;
    params.not_after = OffsetDateTime::now_utc() + 10 * Duration::DAY;
    params
}

fn crl(ca: &Ca) -> String {
    let now = OffsetDateTime::now_utc();
    let params = CertificateRevocationListParams {
        this_update: now - Duration::HOUR,
        next_update: now + Duration::DAY,
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: REVOKED.into(),
            revocation_time: now - Duration::HOUR,
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca).unwrap().pem().unwrap()
}
