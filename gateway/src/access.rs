//! Who may do what: a peer and an operation make a permit, which the operation asks for.
//!
//! The one place where that is decided. A permit has no other constructor.

use std::collections::HashMap;

use mtls::server::Peer;
use protocol::{
    identifiers::Xid,
    inquiry::{self, Inquiry},
    jws::Received,
    names::{ClientName, GatewayName, MerchantName},
    pki::Trust,
    problem::{Problem, Refusal},
    time::{Skew, Timestamp},
};

/// The merchants that the gateway knows, and whether they are active.
pub(crate) struct MerchantDirectory(HashMap<MerchantName, bool>);

impl MerchantDirectory {
    pub(crate) fn new(merchants: impl IntoIterator<Item = (MerchantName, bool)>) -> Self {
        Self(merchants.into_iter().collect())
    }
}

/// A known, active merchant at the other end of the connection.
pub(crate) struct MerchantPermit {
    merchant: MerchantName,
}

impl MerchantPermit {
    /// Judges the peer of a request. Its certificate was judged for this very request by the
    /// listener, which asks for one of a merchant.
    pub(crate) fn check(peer: &Peer, directory: &MerchantDirectory) -> Result<Self, Refusal> {
        let certificate = peer.certificate.as_ref().ok_or_else(|| {
            Refusal::new(Problem::CertificateUntrusted, "a peer without certificate")
        })?;
        let merchant = MerchantName::try_from(certificate.name().clone())
            .map_err(|error| Refusal::new(Problem::RoleMismatch, error.to_string()))?;
        match directory.0.get(&merchant) {
            Some(true) => Ok(Self { merchant }),
            Some(false) => Err(Refusal::new(
                Problem::MerchantMismatch,
                format!("{merchant} is not active"),
            )),
            None => Err(Refusal::new(
                Problem::MerchantMismatch,
                format!("{merchant} is not among the configured merchants"),
            )),
        }
    }

    /// Who it is.
    pub(crate) fn merchant(&self) -> &MerchantName {
        &self.merchant
    }
}

/// A client that proved who it is, for one transaction. Whether the transaction is its own is known
/// only once it is found.
pub(crate) struct PayerPermit {
    client: ClientName,
    xid: Xid,
}

impl PayerPermit {
    /// Judges the proof in a payer's request.
    pub(crate) fn check(
        proof: &str,
        xid: Xid,
        gateway: &GatewayName,
        trust: &Trust,
        skew: Skew,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let proof = Received::<Inquiry>::read(proof)?.verify(trust, now)?;
        inquiry::check_proof(&proof, gateway.party(), xid, skew, now)?;
        let client = ClientName::try_from(proof.signer().name().clone())
            .map_err(|error| Refusal::new(Problem::RoleMismatch, error.to_string()))?;
        Ok(Self { client, xid })
    }

    /// The transaction asked about.
    pub(crate) fn xid(&self) -> Xid {
        self.xid
    }

    /// Who asks.
    pub(crate) fn client(&self) -> &ClientName {
        &self.client
    }
}
