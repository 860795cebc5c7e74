//! The `[trust]` table of a configuration, and the trust that its files make.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use protocol::{
    names::Role,
    pki::{Term, Trust, TrustError, TrustSource},
    time::Timestamp,
};
use serde::Deserialize;

use crate::{
    SharedTrust,
    crl_fetch::CrlSource,
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
    /// Where CRLs are fetched from, into some of these files.
    #[serde(default)]
    pub fetch: Vec<CrlSource>,
}

/// Logs what a person should look after: in what is trusted, and of certificates of our own those that end soon.
pub fn look_ahead(trust: &Trust, own: &[Term], now: Timestamp) {
    for warning in trust.warnings(now) {
        tracing::warn!("{warning}");
    }
    for term in own.iter().filter(|term| term.ends_soon(now)) {
        tracing::warn!("{term}; renew it");
    }
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
        look_ahead(&trust, &[], now);
        Ok(trust)
    }

    /// Every file, as it is found.
    pub fn paths(&self, base: &Path) -> Vec<PathBuf> {
        let lists = [
            &self.client_ca,
            &self.client_crl,
            &self.merchant_ca,
            &self.merchant_crl,
            &self.gateway_ca,
            &self.gateway_crl,
        ];
        [&self.root, &self.root_crl]
            .into_iter()
            .chain(lists.into_iter().flatten())
            .map(|file| base.join(file))
            .collect()
    }

    /// Reads them anew. What is trusted is replaced only if all of them can be used, and no CRL is older than the one in
    /// use.
    ///
    /// # Errors
    /// As [`TrustFiles::load`], and for an older CRL; then nothing is replaced.
    pub fn reload(
        &self,
        base: &Path,
        shared: &SharedTrust,
        now: Timestamp,
    ) -> Result<(), TrustFilesError> {
        let fresh = self.load(base, now)?;
        fresh.check_follows(&shared.load())?;
        shared.store(Arc::new(fresh));
        Ok(())
    }

    /// As [`TrustFiles::load`], to be shared by servers and clients.
    ///
    /// # Errors
    /// As [`TrustFiles::load`].
    pub fn load_shared(&self, base: &Path, now: Timestamp) -> Result<SharedTrust, TrustFilesError> {
        self.load(base, now)
            .map(|trust| SharedTrust::new(ArcSwap::from_pointee(trust)))
    }
}
