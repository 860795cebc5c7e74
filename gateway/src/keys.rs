//! The gateway's five keys, opened in the token and held against their certificates.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use hsm::{AgreementKey, DataKey, HsmError, IndexKey, SigningKey, TokenConfig, Tokens, WorkClass};
use mtls::identity::{Identity, IdentityError};
use protocol::{
    identifiers::Digest,
    names::{GatewayName, Role},
    pki::{Term, Trust, Usage, VerifiedCertificate},
    problem::Refusal,
    time::Timestamp,
};
use rustls_pki_types::CertificateDer;

use crate::{
    config::Config,
    key_table::{KeyEntry, KeyState, Purpose},
};

/// A certificate chain, leaf first, with what was verified of the leaf.
pub(crate) struct Certified {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) certificate: VerifiedCertificate,
}

/// The keys, each usable for one thing only.
pub(crate) struct GatewayKeys {
    /// Where they are.
    pub(crate) tokens: Tokens,
    pub(crate) tls: SigningKey,
    pub(crate) signing: SigningKey,
    pub(crate) data: DataKey,
    pub(crate) index: IndexKey,
    pub(crate) tls_certificate: Certified,
    pub(crate) signing_certificate: Certified,
    /// The active one first.
    encryption: Vec<Arc<EncryptionKey>>,
    /// Certificates of these keys that others took the place of, and until when purchases may be sealed to them.
    replaced: Vec<(Arc<EncryptionKey>, Timestamp)>,
    /// Data keys that were replaced.
    former_data: Vec<DataKey>,
}

/// A key that purchases are sealed to, or were.
struct EncryptionKey {
    key: AgreementKey,
    certified: Certified,
}

/// For how long a purchase that is sealed to a replaced certificate may come, in seconds: a merchant may offer it for
/// some minutes more, and a session lasts fifteen.
const REPLACED_SECONDS: u64 = 3600;

/// The gateway can't start with these keys or certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("{0}")]
    Token(#[from] hsm::StartError),
    #[error(transparent)]
    File(#[from] mtls::pem::PemFileError),
    #[error("there is no active key for {0}, or it has no certificate; correct [[key]]")]
    Missing(&'static str),
    #[error(
        "the certificate in {} is refused: {refusal}; issue one with `softhsm-setup issue`, or renew its CA's files under [trust]",
        path.display()
    )]
    Refused { path: PathBuf, refusal: Refusal },
    #[error(
        "the certificate in {} is {found}'s, the configuration names {configured}; correct one of the two",
        path.display()
    )]
    OtherName {
        path: PathBuf,
        found: String,
        configured: GatewayName,
    },
}

/// Opens the configured tokens: logs in, starts their workers.
pub(crate) fn open_tokens(config: &Config) -> Result<Tokens, KeysError> {
    let configs: Vec<TokenConfig> = config
        .tokens
        .iter()
        .map(|token| TokenConfig {
            module: token.module.clone(),
            uri: token.uri.clone(),
            pin: token.pin.clone(),
            sessions: token.sessions,
            queue_max: token.queue_max,
            waivers: token.waivers.clone(),
        })
        .collect();
    let call_max = Duration::from_secs(config.limits.token_call_seconds);
    Ok(Tokens::open(&configs, call_max)?)
}

impl GatewayKeys {
    /// Finds every key, holds it against its policy and its certificate, and runs a canary on it.
    pub(crate) fn open(
        config: &Config,
        tokens: Tokens,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Self, KeysError> {
        let one = |purpose| {
            config
                .keys
                .of(purpose, KeyState::Active)
                .next()
                .ok_or(KeysError::Missing(purpose.name()))
        };
        let certified = |entry: &KeyEntry, usage| {
            let path = entry.certificate.as_deref();
            let path = path.ok_or(KeysError::Missing(entry.purpose.name()))?;
            read_certificate(config.path(path), usage, &config.name, trust, now)
        };
        let public = |certified: &Certified| *certified.certificate.public_key();
        let signing = |purpose, usage, class| {
            let entry = one(purpose)?;
            let certified = certified(entry, usage)?;
            let key = tokens.signing_key(&entry.uri, public(&certified), class)?;
            Ok::<_, KeysError>((key, certified))
        };
        let (tls, tls_certificate) = signing(Purpose::Tls, Usage::TlsServer, WorkClass::Handshake)?;
        let (signing, signing_certificate) =
            signing(Purpose::Signing, Usage::MessageSigning, WorkClass::Receipts)?;
        let mut encryption = Vec::new();
        for state in [KeyState::Active, KeyState::DecryptOnly] {
            for entry in config.keys.of(Purpose::Encryption, state) {
                let certified = match certified(entry, Usage::Encryption) {
                    Err(refused @ KeysError::Refused { .. }) if state == KeyState::DecryptOnly => {
                        tracing::warn!("{refused}; nothing that is sealed to it opens any more");
                        continue;
                    }
                    certified => certified?,
                };
                encryption.push(Arc::new(EncryptionKey {
                    key: tokens.agreement_key(&entry.uri, public(&certified))?,
                    certified,
                }));
            }
        }
        let former_data = config
            .keys
            .of(Purpose::Data, KeyState::DecryptOnly)
            .map(|entry| tokens.data_key(&entry.uri))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            tls,
            signing,
            former_data,
            data: tokens.data_key(&one(Purpose::Data)?.uri)?,
            index: tokens.index_key(&one(Purpose::Index)?.uri)?,
            tls_certificate,
            signing_certificate,
            encryption,
            replaced: Vec::new(),
            tokens,
        })
    }

    /// Where a key stays and its certificate was replaced, keeps opening for a while what is sealed to the former one.
    pub(crate) fn keep_for_a_while(&mut self, former: &Self, now: Timestamp) {
        let until = now.plus(REPLACED_SECONDS);
        let in_use = former.encryption.iter().map(|key| (key, until));
        let replaced = former.replaced.iter().map(|(key, until)| (key, *until));
        for (key, until) in in_use.chain(replaced).filter(|(_, until)| now < *until) {
            let is_configured = self.encryption.iter().any(|other| key.key.is(&other.key));
            let thumbprint = key.certified.certificate.thumbprint();
            if is_configured && self.encryption_key(thumbprint).is_none() {
                self.replaced.push((Arc::clone(key), until));
            }
        }
    }

    /// How long the certificates are good.
    pub(crate) fn terms(&self) -> Vec<Term> {
        let signing = [
            (&self.tls, &self.tls_certificate),
            (&self.signing, &self.signing_certificate),
        ];
        let encryption = self
            .encryption
            .iter()
            .map(|encryption| (encryption.key.label(), &encryption.certified));
        signing
            .map(|(key, certified)| (key.label(), certified))
            .into_iter()
            .chain(encryption)
            .map(|(label, certified)| certified.certificate.term(label))
            .collect()
    }

    /// Those that may be sealed to at this moment.
    fn openers(&self) -> impl Iterator<Item = &EncryptionKey> {
        let now = mtls::now();
        let replaced = self
            .replaced
            .iter()
            .filter(move |(_, until)| now < *until)
            .map(|(key, _)| &**key);
        self.encryption.iter().map(|key| &**key).chain(replaced)
    }

    /// The digests of the encryption certificates that purchases may be sealed to.
    pub(crate) fn live_encryption_x5ts(&self) -> Vec<Digest> {
        self.openers()
            .map(|encryption| encryption.certified.certificate.thumbprint())
            .collect()
    }

    /// The key of an encryption certificate.
    pub(crate) fn encryption_key(&self, x5t: Digest) -> Option<&AgreementKey> {
        self.openers()
            .find(|encryption| encryption.certified.certificate.thumbprint() == x5t)
            .map(|encryption| &encryption.key)
    }

    /// A data key that was replaced.
    pub(crate) fn former_data_key(&self, label: &str) -> Option<&DataKey> {
        self.former_data.iter().find(|key| key.label() == label)
    }

    /// The certificate that purchases are to be sealed to.
    pub(crate) fn active_encryption_certificate(&self) -> Option<&Certified> {
        self.encryption
            .first()
            .map(|encryption| &encryption.certified)
    }

    /// What the TLS listeners show: the certificate here, the key in the token.
    pub(crate) fn tls_identity(&self, handshake: Duration) -> Result<Identity, IdentityError> {
        let key = self.tls.clone();
        Identity::remote(
            self.tls_certificate.chain.clone(),
            Arc::new(move |message| {
                let digest = *Digest::of(message).as_bytes();
                key.sign_blocking(digest, Instant::now() + handshake)
                    .map(|signature| hsm::signature::der(&signature))
                    .map_err(|error| error.to_string())
            }),
        )
    }

    /// Uses every key once, and says which could not be used.
    pub(crate) async fn canary(&self, deadline: Instant) -> Vec<(String, Result<(), HsmError>)> {
        let (tls, signing, data, index) = tokio::join!(
            self.tls.canary(deadline),
            self.signing.canary(deadline),
            self.data.canary(deadline),
            self.index.canary(deadline),
        );
        let mut outcomes = vec![
            (self.tls.label().to_owned(), tls),
            (self.signing.label().to_owned(), signing),
            (self.data.label().to_owned(), data),
            (self.index.label().to_owned(), index),
        ];
        for encryption in &self.encryption {
            let key = &encryption.key;
            outcomes.push((key.label().to_owned(), key.canary(deadline).await));
        }
        outcomes
    }
}

/// A certificate of the gateway's, as others will judge it.
pub(crate) fn read_certificate(
    path: PathBuf,
    usage: Usage,
    name: &GatewayName,
    trust: &Trust,
    now: Timestamp,
) -> Result<Certified, KeysError> {
    let chain = mtls::pem::certificates(&path)?;
    let certificate = trust
        .verify(&chain, Role::Gateway, usage, now)
        .map_err(|refusal| KeysError::Refused {
            path: path.clone(),
            refusal,
        })?;
    if certificate.name() != name.party() {
        return Err(KeysError::OtherName {
            path,
            found: certificate.name().to_string(),
            configured: name.clone(),
        });
    }
    Ok(Certified { chain, certificate })
}
