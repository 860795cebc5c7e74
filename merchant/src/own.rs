//! The merchant's own keys and certificates, and whom it trusts: held against one another before anything is
//! done with them, and replaced while it runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use mtls::{
    SharedTrust,
    identity::{Identity, IdentityError},
    pem::{self, PemFileError},
    trust::TrustFilesError,
};
use protocol::{
    identifiers::Digest,
    names::{MerchantName, PartyName, Role},
    pki::{Term, Trust, Usage, VerifiedCertificate},
    problem::Refusal,
    signing::{NotTheKey, SoftwareKey},
    time::{LIFETIME_SECONDS_MAX, Timestamp},
};
use rustls_pki_types::CertificateDer;

use crate::config::Config;

/// How long a replaced signing key is kept: longer than any client session that it opened.
const FORMER_SECONDS: u64 = 2 * LIFETIME_SECONDS_MAX;

/// What the files of one merchant hold.
pub(crate) struct Own {
    pub(crate) trust: SharedTrust,
    pub(crate) keys: OwnKeys,
}

/// Keys with their certificates.
pub(crate) struct OwnKeys {
    /// For TLS.
    pub(crate) identity: Identity,
    pub(crate) signing: Signing,
    /// How long the certificates are good.
    pub(crate) terms: Vec<Term>,
}

/// A key that signs messages.
pub(crate) struct Signing {
    pub(crate) key: SoftwareKey,
    /// SHA-256 of its certificate.
    pub(crate) x5t: Digest,
}

/// The signing key in use, and those that it replaced, for the client sessions that were opened with them.
pub(crate) struct SigningKeys(ArcSwap<Generations>);

struct Generations {
    active: Arc<Signing>,
    /// Until when each is needed.
    former: Vec<(Arc<Signing>, Timestamp)>,
}

/// The merchant can't work with these files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnError {
    #[error(transparent)]
    Trust(#[from] TrustFilesError),
    #[error(transparent)]
    File(#[from] PemFileError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{}: {reason}; configure the PKCS#8 key of {}", key.display(), certificate.display())]
    Key {
        key: PathBuf,
        certificate: PathBuf,
        reason: NotTheKey,
    },
    #[error("{} is not the key of {}; configure the two that belong together", key.display(), certificate.display())]
    Mismatch { key: PathBuf, certificate: PathBuf },
    #[error("{} would be refused ({refusal}); renew it, or its CA's files under [trust]", path.display())]
    Refused { path: PathBuf, refusal: Refusal },
    #[error(
        "{} is the certificate of {found}, and the configuration names {configured}; correct one of the two",
        path.display()
    )]
    OtherName {
        path: PathBuf,
        found: PartyName,
        configured: MerchantName,
    },
}

impl Own {
    /// Reads them.
    pub(crate) fn read(config: &Config) -> Result<Self, OwnError> {
        let trust = config.trust.load_shared(config.directory(), mtls::now())?;
        let keys = OwnKeys::read(config, &trust.load())?;
        Ok(Self { trust, keys })
    }
}

impl OwnKeys {
    /// Reads them, and judges their certificates as the others will: better now than at the first purchase.
    pub(crate) fn read(config: &Config, trust: &Trust) -> Result<Self, OwnError> {
        let tls_path = config.path(&config.tls.certificate);
        let identity = Identity::from_files(&tls_path, &config.path(&config.tls.key))?;
        // Payers meet it as a server's, the gateway as a client's.
        let tls_chain = pem::certificates(&tls_path)?;
        own_certificate(config, trust, &tls_path, &tls_chain, Usage::TlsServer)?;
        let tls = own_certificate(config, trust, &tls_path, &tls_chain, Usage::TlsClient)?;
        let (signing, certificate) = signing_key(config, trust)?;
        Ok(Self {
            identity,
            signing,
            terms: vec![tls.term("TLS"), certificate.term("signing")],
        })
    }
}

impl SigningKeys {
    pub(crate) fn new(active: Signing) -> Self {
        Self(ArcSwap::from_pointee(Generations {
            active: Arc::new(active),
            former: Vec::new(),
        }))
    }

    /// The one in use at this moment.
    pub(crate) fn active(&self) -> Arc<Signing> {
        Arc::clone(&self.0.load().active)
    }

    /// The one of a certificate, if it is in use or was a session ago.
    pub(crate) fn of(&self, x5t: Digest) -> Option<Arc<Signing>> {
        let generations = self.0.load();
        std::iter::once(&generations.active)
            .chain(generations.former.iter().map(|(former, _)| former))
            .find(|signing| signing.x5t == x5t)
            .map(Arc::clone)
    }

    /// Uses another one from now on.
    pub(crate) fn replace(&self, active: Signing, now: Timestamp) {
        let before = self.0.load_full();
        if before.active.x5t == active.x5t {
            return;
        }
        let mut former: Vec<_> = before
            .former
            .iter()
            .filter(|(_, until)| now < *until)
            .cloned()
            .collect();
        former.push((Arc::clone(&before.active), now.plus(FORMER_SECONDS)));
        self.0.store(Arc::new(Generations {
            active: Arc::new(active),
            former,
        }));
    }
}

/// The signing key, with the certificate that belongs to it.
fn signing_key(config: &Config, trust: &Trust) -> Result<(Signing, VerifiedCertificate), OwnError> {
    let path = config.path(&config.signing.certificate);
    let chain = pem::certificates(&path)?;
    let certificate = own_certificate(config, trust, &path, &chain, Usage::MessageSigning)?;
    let key_path = config.path(&config.signing.key);
    let der = pem::private_key(&key_path)?;
    let key =
        SoftwareKey::from_pkcs8(der.secret_pkcs8_der(), chain).map_err(|reason| OwnError::Key {
            key: key_path.clone(),
            certificate: path.clone(),
            reason,
        })?;
    if key.public_key() != certificate.public_key() {
        return Err(OwnError::Mismatch {
            key: key_path,
            certificate: path,
        });
    }
    let x5t = certificate.thumbprint();
    Ok((Signing { key, x5t }, certificate))
}

/// A certificate of ours as the others will judge it.
fn own_certificate(
    config: &Config,
    trust: &Trust,
    path: &Path,
    chain: &[CertificateDer<'_>],
    usage: Usage,
) -> Result<VerifiedCertificate, OwnError> {
    let certificate = trust
        .verify(chain, Role::Merchant, usage, mtls::now())
        .map_err(|refusal| OwnError::Refused {
            path: path.to_owned(),
            refusal,
        })?;
    if certificate.name() != config.name.party() {
        return Err(OwnError::OtherName {
            path: path.to_owned(),
            found: certificate.name().clone(),
            configured: config.name.clone(),
        });
    }
    Ok(certificate)
}
