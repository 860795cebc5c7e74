//! Our own certificate in TLS, with its key in software or elsewhere.

use std::{fmt, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    server::{ClientHello, ResolvesServerCert},
    sign::{CertifiedKey, Signer, SigningKey},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer,
};
use tokio::task::block_in_place;
use webpki::{EndEntityCert, aws_lc_rs::ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use crate::pem::{self, PemFileError};

/// Signs a message elsewhere, in a token for example: ECDSA on P-256 over its SHA-256, in the DER
/// form of TLS (RFC 8446 section 4.2.3). The text of a failure goes to the log.
///
/// It may block: it is called inside [`block_in_place`], which needs a runtime of several threads.
pub type RemoteSign = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// A certificate chain and what signs for it. Its clones are one, so that all that show it show another one once it is
/// replaced.
#[derive(Clone)]
pub struct Identity(Arc<ArcSwap<CertifiedKey>>);

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file that does not hold what it should.
    #[error(transparent)]
    File(#[from] PemFileError),
    /// No certificate, or one that can't be read.
    #[error("the TLS certificate can't be used: {0}; issue a new one")]
    Certificate(rustls::Error),
    /// The key is of another form.
    #[error("the TLS key can't be used: {0}; it must be a P-256 key in PKCS#8 form")]
    Key(rustls::Error),
    /// Certificate and key don't belong together.
    #[error("the TLS certificate is not of the TLS key; configure the certificate of this key")]
    Mismatch,
    /// The remote key gave no signature.
    #[error("the TLS key made no signature: {0}; check the token and the key's use")]
    RemoteKey(String),
}

impl Identity {
    /// An identity from two PEM files: the chain, leaf first, and the key in PKCS#8 form.
    ///
    /// # Errors
    /// When a file can't be used, or key and certificate don't belong together.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, IdentityError> {
        Self::software(pem::certificates(chain)?, pem::private_key(key)?)
    }

    /// An identity with its key in this process.
    ///
    /// # Errors
    /// When the key is not of P-256, or not the certificate's.
    pub fn software(
        chain: Vec<CertificateDer<'static>>,
        key: Zeroizing<PrivatePkcs8KeyDer<'static>>,
    ) -> Result<Self, IdentityError> {
        let borrowed = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.secret_pkcs8_der()));
        let key = any_ecdsa_type(&borrowed).map_err(IdentityError::Key)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch,
            other => IdentityError::Certificate(other),
        })?;
        Ok(Self::of(certified))
    }

    /// An identity whose key only signs, elsewhere. It signs once here, so that a key which is not
    /// the certificate's is found at the start and not at the first handshake.
    ///
    /// # Errors
    /// When no signature is made, or it is not the certificate's.
    pub fn remote(
        chain: Vec<CertificateDer<'static>>,
        sign: RemoteSign,
    ) -> Result<Self, IdentityError> {
        const PROOF: &[u8] = b"twinseal: the key of this certificate";
        let unusable = |reason: String| IdentityError::Certificate(rustls::Error::General(reason));
        let leaf = chain
            .first()
            .ok_or_else(|| unusable("there is none".to_owned()))?;
        let parsed = EndEntityCert::try_from(leaf).map_err(|error| unusable(error.to_string()))?;
        let key = RemoteKey {
            sign,
            spki: parsed.subject_public_key_info(),
        };
        let proof = key.sign(PROOF).map_err(IdentityError::RemoteKey)?;
        parsed
            .verify_signature(ECDSA_P256_SHA256, PROOF, &proof)
            .map_err(|_| IdentityError::Mismatch)?;
        Ok(Self::of(CertifiedKey::new(chain, Arc::new(key))))
    }

    fn of(certified: CertifiedKey) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(certified)))
    }

    /// Shows another one in every handshake from now on.
    pub fn replace(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// What is shown at this moment.
    pub(crate) fn shown(&self) -> Arc<CertifiedKey> {
        self.0.load_full()
    }

    pub(crate) fn resolver(&self) -> Arc<Shown> {
        Arc::new(Shown(self.clone()))
    }
}

/// Shows one identity to everybody.
#[derive(Debug)]
pub(crate) struct Shown(Identity);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.0.load_full())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// A key that is not in this process, as rustls wants it.
#[derive(Clone)]
struct RemoteKey {
    sign: RemoteSign,
    spki: SubjectPublicKeyInfoDer<'static>,
}

impl RemoteKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        // rustls signs synchronously; the other tasks of this thread move to another one meanwhile.
        block_in_place(|| (self.sign)(message))
    }
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        // The certificate's, which the proof in `Identity::remote` showed to be the key's.
        Some(self.spki.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for RemoteKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        RemoteKey::sign(self, message).map_err(|reason| {
            tracing::warn!(reason, "the remote TLS key made no signature");
            rustls::Error::General("the remote key made no signature".to_owned())
        })
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

impl fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteKey")
    }
}
