//! Our own certificate in TLS, with its key in software or elsewhere.

use std::{fmt, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use protocol::{pki::GoodAnswer, time::Timestamp};
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
use tokio::{sync::watch, task::block_in_place};
use webpki::{EndEntityCert, aws_lc_rs::ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use crate::{
    now,
    pem::{self, PemFileError},
};

/// Signs a message elsewhere, in a token for example: ECDSA on P-256 over its SHA-256, in the DER
/// form of TLS (RFC 8446 section 4.2.3). The text of a failure goes to the log.
///
/// It may block: it is called inside [`block_in_place`], which needs a runtime of several threads.
pub type RemoteSign = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// A certificate chain and what signs for it. Its clones are one, so that all that show it show another one once it is
/// replaced.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    shown: ArcSwap<Showing>,
    /// Told when another certificate is shown.
    replaced: watch::Sender<()>,
}

/// What is shown, to servers as it is, to clients with an answer of OCSP stapled while that is good.
#[derive(Clone)]
struct Showing {
    certified: Arc<CertifiedKey>,
    stapled: Option<Stapled>,
}

#[derive(Clone)]
struct Stapled {
    certified: Arc<CertifiedKey>,
    end: Timestamp,
}

impl Showing {
    fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.certified.cert.first()
    }

    fn to_clients(&self, now: Timestamp) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some(stapled) if now < stapled.end => &stapled.certified,
            _ => &self.certified,
        }
    }
}

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
        Self(Arc::new(Inner {
            shown: ArcSwap::from_pointee(Showing {
                certified: Arc::new(certified),
                stapled: None,
            }),
            replaced: watch::Sender::new(()),
        }))
    }

    /// Shows another one in every handshake from now on. What is stapled stays with its certificate.
    pub fn replace(&self, other: &Self) {
        let other = other.0.shown.load();
        let former = self.0.shown.rcu(|former| {
            let answer = former
                .stapled
                .as_ref()
                .filter(|_| former.leaf() == other.leaf());
            Showing {
                certified: Arc::clone(&other.certified),
                stapled: answer.map(|stapled| Stapled {
                    certified: with_answer(&other.certified, stapled.certified.ocsp.clone()),
                    end: stapled.end,
                }),
            }
        });
        if former.leaf() != other.leaf() {
            self.0.replaced.send_replace(());
        }
    }

    /// Staples an answer to a certificate from now on, or none any more. If another one is shown meanwhile, nothing
    /// happens.
    pub(crate) fn staple(&self, leaf: &CertificateDer<'_>, answer: Option<&GoodAnswer>) {
        self.staple_until(leaf, answer.map(|answer| (answer.der(), answer.end())));
    }

    fn staple_until(&self, leaf: &CertificateDer<'_>, answer: Option<(&[u8], Timestamp)>) {
        self.0.shown.rcu(|shown| {
            if shown.leaf() != Some(leaf) {
                return Arc::clone(shown);
            }
            Arc::new(Showing {
                certified: Arc::clone(&shown.certified),
                stapled: answer.map(|(der, end)| Stapled {
                    certified: with_answer(&shown.certified, Some(der.to_vec())),
                    end,
                }),
            })
        });
    }

    /// Until when what is stapled is good, if anything is.
    pub(crate) fn stapled_until(&self, now: Timestamp) -> Option<Timestamp> {
        let end = self.0.shown.load().stapled.as_ref()?.end;
        (now < end).then_some(end)
    }

    /// The certificate that is shown at this moment.
    pub(crate) fn leaf(&self) -> Option<CertificateDer<'static>> {
        self.0.shown.load().leaf().cloned()
    }

    /// Hears of every other certificate from now on.
    pub(crate) fn replacements(&self) -> watch::Receiver<()> {
        self.0.replaced.subscribe()
    }

    /// What is shown to servers at this moment.
    pub(crate) fn shown(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.shown.load().certified)
    }

    pub(crate) fn resolver(&self) -> Arc<Shown> {
        Arc::new(Shown(self.clone()))
    }
}

fn with_answer(certified: &CertifiedKey, answer: Option<Vec<u8>>) -> Arc<CertifiedKey> {
    Arc::new(CertifiedKey {
        ocsp: answer,
        ..certified.clone()
    })
}

/// Shows one identity to everybody.
#[derive(Debug)]
pub(crate) struct Shown(Identity);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let showing = self.0.0.shown.load();
        Some(Arc::clone(showing.to_clients(now())))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.shown())
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

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Certified, generate_simple_self_signed};

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn identity() -> Identity {
        let Certified { cert, signing_key } = generate_simple_self_signed(["a".into()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        Identity::software(vec![cert.der().clone()], Zeroizing::new(key)).unwrap()
    }

    fn again(identity: &Identity) -> Identity {
        Identity::of(CertifiedKey::clone(&identity.shown()))
    }

    fn stapled(identity: &Identity, now: Timestamp) -> Option<Vec<u8>> {
        identity.0.shown.load().to_clients(now).ocsp.clone()
    }

    #[test]
    fn an_answer_is_stapled_until_its_end_and_to_clients_alone() {
        let identity = identity();
        let leaf = identity.leaf().unwrap();
        assert_eq!(stapled(&identity, NOW), None);
        identity.staple_until(&leaf, Some((b"one", NOW.plus(10))));
        assert_eq!(stapled(&identity, NOW.plus(9)), Some(b"one".to_vec()));
        assert_eq!(stapled(&identity, NOW.plus(10)), None);
        assert_eq!(identity.shown().ocsp, None);
        identity.staple_until(&leaf, Some((b"two", NOW.plus(20))));
        assert_eq!(stapled(&identity, NOW.plus(10)), Some(b"two".to_vec()));
        identity.staple_until(&leaf, None);
        assert_eq!(stapled(&identity, NOW), None);
    }

    #[test]
    fn an_answer_is_never_stapled_to_another_certificate() {
        let (identity, other) = (identity(), identity());
        let leaf = identity.leaf().unwrap();
        let mut replacements = identity.replacements();
        identity.staple_until(&leaf, Some((b"one", NOW.plus(10))));
        identity.replace(&other);
        assert_eq!(stapled(&identity, NOW), None);
        assert!(replacements.has_changed().unwrap());
        replacements.mark_unchanged();
        // One that was asked for before.
        identity.staple_until(&leaf, Some((b"one", NOW.plus(10))));
        assert_eq!(stapled(&identity, NOW), None);
        assert!(!replacements.has_changed().unwrap());
    }

    #[test]
    fn an_answer_stays_when_the_same_certificate_is_read_anew() {
        let identity = identity();
        let leaf = identity.leaf().unwrap();
        let replacements = identity.replacements();
        identity.staple_until(&leaf, Some((b"one", NOW.plus(10))));
        identity.replace(&again(&identity));
        assert_eq!(stapled(&identity, NOW), Some(b"one".to_vec()));
        assert_eq!(stapled(&identity, NOW.plus(10)), None);
        assert!(!replacements.has_changed().unwrap());
    }
}
