//! `GET /v1/certificates`: what others need to seal to this gateway and to verify it.

use protocol::{encoding, inquiry::Certificates, json::Version};

use crate::{gateway::Gateway, keys::Certified};

/// The live certificates and the CRLs in use.
pub(crate) fn certificates(gateway: &Gateway) -> Certificates {
    let keys = gateway.keys();
    let chain = |certified: &Certified| {
        certified
            .chain
            .iter()
            .map(|der| encoding::base64(der))
            .collect()
    };
    Certificates {
        version: Version,
        gateway: gateway.name.clone(),
        encryption: keys
            .active_encryption_certificate()
            .map(chain)
            .into_iter()
            .collect(),
        signing: vec![chain(&keys.signing_certificate)],
        crls: gateway
            .trust()
            .crls()
            .map(|der| encoding::base64(der))
            .collect(),
    }
}
