//! Who takes part in a test: client, merchant and gateway with certificates of one PKI, and a second
//! one of each.

pub mod keys;
pub mod pki;

use protocol::{
    identifiers::Digest,
    names::{GatewayName, Role},
    pki::{Trust, Usage},
    signing::SoftwareKey,
    time::Timestamp,
};
use rustls_pki_types::CertificateDer;

use self::{
    keys::Key,
    pki::{Pki, issue, profile, serial},
};

/// When everything takes place.
pub const NOW: Timestamp = Timestamp(1_800_000_000);

pub const CLIENT: &str = "urn:twinseal:client:7f3a9c21";
pub const OTHER_CLIENT: &str = "urn:twinseal:client:c04d5e88";
pub const MERCHANT: &str = "urn:twinseal:merchant:bookshop";
pub const OTHER_MERCHANT: &str = "urn:twinseal:merchant:record-store";
pub const GATEWAY: &str = "urn:twinseal:gateway:main";
pub const OTHER_GATEWAY: &str = "urn:twinseal:gateway:second";

/// A key with its certificate.
#[derive(Clone)]
pub struct Party {
    pub urn: &'static str,
    pub key: Key,
    pub certificate: CertificateDer<'static>,
}

impl Party {
    fn new(pki: &Pki, role: Role, urn: &'static str, usage: Usage) -> Self {
        let label = format!("{urn} {usage:?}");
        let key = Key::named(&label);
        let certificate = issue(pki.ca(role), &key, serial(&label), profile(urn, usage));
        Self {
            urn,
            key,
            certificate,
        }
    }

    pub fn x5t(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// The key as the crate under test holds it.
    pub fn software_key(&self) -> SoftwareKey {
        SoftwareKey::from_pkcs8(&self.key.pkcs8(), vec![self.certificate.clone()]).unwrap()
    }
}

/// Everybody.
pub struct Parties {
    pub pki: Pki,
    pub client: Party,
    pub other_client: Party,
    pub merchant: Party,
    pub other_merchant: Party,
    pub gateway: Party,
    pub gateway_encryption: Party,
    pub other_gateway: Party,
    pub other_gateway_encryption: Party,
}

impl Parties {
    pub fn new() -> Self {
        let pki = Pki::new();
        let signing = |role, urn| Party::new(&pki, role, urn, Usage::MessageSigning);
        let encryption = |urn| Party::new(&pki, Role::Gateway, urn, Usage::Encryption);
        Self {
            client: signing(Role::Client, CLIENT),
            other_client: signing(Role::Client, OTHER_CLIENT),
            merchant: signing(Role::Merchant, MERCHANT),
            other_merchant: signing(Role::Merchant, OTHER_MERCHANT),
            gateway: signing(Role::Gateway, GATEWAY),
            gateway_encryption: encryption(GATEWAY),
            other_gateway: signing(Role::Gateway, OTHER_GATEWAY),
            other_gateway_encryption: encryption(OTHER_GATEWAY),
            pki,
        }
    }

    pub fn trust(&self) -> Trust {
        Trust::load(self.pki.trust_source(), NOW).unwrap()
    }

    pub fn gateway_name(&self) -> GatewayName {
        GATEWAY.parse().unwrap()
    }
}
