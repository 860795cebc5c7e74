//! The merchant's own keys and certificates, and whom it trusts: held against one another before anything is
//! done with them.

use std::{error::Error, path::Path};

use mtls::{SharedTrust, identity::Identity, pem};
use protocol::{
    identifiers::Digest,
    names::Role,
    pki::{Usage, VerifiedCertificate},
    signing::SoftwareKey,
};
use rustls_pki_types::CertificateDer;

use crate::config::Config;

/// What the files of one merchant hold.
pub(crate) struct Own {
    pub(crate) trust: SharedTrust,
    /// For TLS.
    pub(crate) identity: Identity,
    pub(crate) signing: SoftwareKey,
    /// SHA-256 of the signing certificate.
    pub(crate) signing_x5t: Digest,
}

impl Own {
    /// Reads them.
    pub(crate) fn read(config: &Config) -> Result<Self, Box<dyn Error>> {
        let trust = config.trust.load_shared(config.directory(), mtls::now())?;
        let tls_path = config.path(&config.tls.certificate);
        let identity = Identity::from_files(&tls_path, &config.path(&config.tls.key))?;
        // Payers meet it as a server's, the gateway as a client's.
        let tls_chain = pem::certificates(&tls_path)?;
        for usage in [Usage::TlsServer, Usage::TlsClient] {
            own_certificate(config, &trust, &tls_path, &tls_chain, usage)?;
        }
        let (signing, signing_x5t) = signing_key(config, &trust)?;
        Ok(Self {
            trust,
            identity,
            signing,
            signing_x5t,
        })
    }
}

/// The signing key, with the thumbprint of the certificate that belongs to it.
fn signing_key(
    config: &Config,
    trust: &SharedTrust,
) -> Result<(SoftwareKey, Digest), Box<dyn Error>> {
    let path = config.path(&config.signing.certificate);
    let chain = pem::certificates(&path)?;
    let certificate = own_certificate(config, trust, &path, &chain, Usage::MessageSigning)?;
    let key_path = config.path(&config.signing.key);
    let der = pem::private_key(&key_path)?;
    let key = SoftwareKey::from_pkcs8(der.secret_pkcs8_der(), chain).map_err(|error| {
        format!(
            "{}: {error}; configure the PKCS#8 key of {}",
            key_path.display(),
            path.display()
        )
    })?;
    if key.public_key() != certificate.public_key() {
        return Err(format!(
            "{} is not the key of {}; configure the two that belong together",
            key_path.display(),
            path.display()
        )
        .into());
    }
    Ok((key, certificate.thumbprint()))
}

/// A certificate of ours as the others will judge it: better now than at the first purchase.
fn own_certificate(
    config: &Config,
    trust: &SharedTrust,
    path: &Path,
    chain: &[CertificateDer<'_>],
    usage: Usage,
) -> Result<VerifiedCertificate, String> {
    let certificate = trust
        .load()
        .verify(chain, Role::Merchant, usage, mtls::now())
        .map_err(|refusal| {
            format!(
                "{} would be refused ({refusal}); renew it, or its CA's files under [trust]",
                path.display()
            )
        })?;
    if certificate.name() != config.name.party() {
        return Err(format!(
            "{} is the certificate of {}, and the configuration names {}; correct one of the two",
            path.display(),
            certificate.name(),
            config.name
        ));
    }
    Ok(certificate)
}
