//! The `[trust]` table of a configuration, and the trust that its files make.

use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use protocol::{
    names::Role,
    pki::{Trust, TrustError, TrustSource},
    time::Timestamp,
};
use serde::Deserialize;

use crate::{
    SharedTrust,
    pem::{self, PemFileError},
};

/// The files that say whom to trust. Each list may be empty: then nobody of that role is trusted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFiles {
    /// The root CA's certificate.
    pub root: PathBuf,
    /// The root's CRL.
    pub root_crl: PathBuf,
    /// Certificates of the issuing CAs of clients.
    #[serde(default)]
    pub client_ca: Vec<PathBuf>,
    /// Their CRLs.
    #[serde(default)]
    pub client_crl: Vec<PathBuf>,
    /// Certificates of the issuing CAs of merchants.
    #[serde(default)]
    pub merchant_ca: Vec<PathBuf>,
    /// Their CRLs.
    #[serde(default)]
    pub merchant_crl: Vec<PathBuf>,
    /// Certificates of the issuing CAs of gateways.
    #[serde(default)]
    pub gateway_ca: Vec<PathBuf>,
    /// Their CRLs.
    #[serde(default)]
    pub gateway_crl: Vec<PathBuf>,
}

/// Why there is no trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustFilesError {
    /// A file that does not hold what it should.
    #[error(transparent)]
    File(#[from] PemFileError),
    /// A certificate or CRL that can't be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl TrustFiles {
    /// Reads the files and checks them against one another at `now`. Relative paths start at
    /// `base`, the directory of the configuration. What a person should look after, a CRL that is
    /// too old for example, is logged.
    ///
    /// # Errors
    /// The first file, certificate or CRL that can't be used.
    pub fn load(&self, base: &Path, now: Timestamp) -> Result<Trust, TrustFilesError> {
        let anchors = [
            (Role::Client, &self.client_ca),
            (Role::Merchant, &self.merchant_ca),
            (Role::Gateway, &self.gateway_ca),
        ]
        .into_iter()
        .flat_map(|(role, files)| files.iter().map(move |file| (role, file)))
        .map(|(role, file)| Ok((role, pem::certificate(&base.join(file))?)))
        .collect::<Result<_, PemFileError>>()?;
        let crls = [&self.client_crl, &self.merchant_crl, &self.gateway_crl]
            .into_iter()
            .flatten()
            .map(|file| pem::crl(&base.join(file)))
            .collect::<Result<_, _>>()?;
        let source = TrustSource {
            root: pem::certificate(&base.join(&self.root))?,
            root_crl: pem::crl(&base.join(&self.root_crl))?,
            anchors,
            crls,
        };
        let trust = Trust::load(source, now)?;
        for warning in trust.warnings(now) {
            tracing::warn!("{warning}");
        }
        Ok(trust)
    }

    /// The same, to be shared by servers and clients.
    ///
    /// # Errors
    /// As [`TrustFiles::load`].
    pub fn load_shared(&self, base: &Path, now: Timestamp) -> Result<SharedTrust, TrustFilesError> {
        self.load(base, now)
            .map(|trust| SharedTrust::new(ArcSwap::from_pointee(trust)))
    }
}
