//! The payer of this terminal: whom it trusts, what it signs with, what it bought.

use std::path::Path;

use mtls::{SharedTrust, pem};
use protocol::{names::Role, pki::Usage, signing::SoftwareKey, time::Timestamp};

use crate::{
    config::Config,
    failure::Failure,
    instruments::Instruments,
    output,
    purchases::{Purchase, Purchases},
};

/// A configured payer.
pub(crate) struct Payer {
    pub(crate) config: Config,
    pub(crate) trust: SharedTrust,
    pub(crate) purchases: Purchases,
}

impl Payer {
    /// Reads the configuration and the files that say whom to trust.
    pub(crate) fn load(config: &Path) -> Result<Self, Failure> {
        let config = Config::read(config)?;
        Ok(Self {
            trust: config.trust.load_shared(config.directory(), mtls::now())?,
            purchases: Purchases::in_directory(config.path(&config.purchases)),
            config,
        })
    }

    /// Keeps what the gateway told of a purchase. It is so all the same when it can't be kept, and the gateway
    /// can be asked again.
    pub(crate) fn keep_told(&self, purchase: &Purchase) {
        if let Err(error) = self.purchases.keep(purchase) {
            output::say(&format!(
                "the receipt was not kept ({error}); get it later: twinseal-client show {} --refresh",
                purchase.xid()
            ));
        }
    }

    /// What can be paid with.
    pub(crate) fn instruments(&self) -> Result<Instruments, Failure> {
        Ok(Instruments::read(
            &self.config.path(&self.config.instruments),
        )?)
    }

    /// The signing key, held against the certificate as everybody else will do.
    pub(crate) fn signing_key(&self, now: Timestamp) -> Result<SoftwareKey, Failure> {
        let signing = &self.config.signing;
        let path = self.config.path(&signing.key);
        let chain = pem::certificates(&self.config.path(&signing.certificate))?;
        let key = SoftwareKey::from_pkcs8(pem::private_key(&path)?.secret_pkcs8_der(), chain)
            .map_err(|reason| Failure::SigningKey {
                path: path.clone(),
                reason,
            })?;
        let certificate = self
            .trust
            .load()
            .verify(key.chain(), Role::Client, Usage::MessageSigning, now)
            .map_err(Failure::OwnCertificate)?;
        if certificate.public_key() != key.public_key() {
            return Err(Failure::OtherKey { path });
        }
        if certificate.name() != self.config.name.party() {
            return Err(Failure::OtherName {
                found: certificate.name().clone(),
                configured: self.config.name.clone(),
            });
        }
        Ok(key)
    }
}
