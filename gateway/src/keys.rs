//! The gateway's five keys, opened in the token and held against their certificates.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hsm::{AgreementKey, DataKey, HsmError, IndexKey, SigningKey, TokenConfig, Tokens, WorkClass};
use mtls::identity::{Identity, IdentityError};
use protocol::{
    identifiers::Digest,
    names::{GatewayName, Role},
    pki::{Trust, Usage, VerifiedCertificate},
    problem::Refusal,
    time::Timestamp,
};
use rustls_pki_types::CertificateDer;

use crate::config::Config;

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
    pub(crate) encryption: AgreementKey,
    pub(crate) data: DataKey,
    pub(crate) index: IndexKey,
    pub(crate) tls_certificate: Certified,
    pub(crate) signing_certificate: Certified,
    pub(crate) encryption_certificate: Certified,
}

/// The gateway can't start with these keys or certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("{0}")]
    Token(#[from] hsm::StartError),
    #[error(transparent)]
    File(#[from] mtls::pem::PemFileError),
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
        let certified = |path: &Path, usage| {
            read_certificate(config.path(path), usage, &config.name, trust, now)
        };
        let tls_certificate = certified(&config.certificates.tls, Usage::TlsServer)?;
        let signing_certificate = certified(&config.certificates.signing, Usage::MessageSigning)?;
        let encryption_certificate = certified(&config.certificates.encryption, Usage::Encryption)?;
        let public = |certified: &Certified| *certified.certificate.public_key();
        Ok(Self {
            tls: tokens.signing_key(
                &config.keys.tls,
                public(&tls_certificate),
                WorkClass::Handshake,
            )?,
            signing: tokens.signing_key(
                &config.keys.signing,
                public(&signing_certificate),
                WorkClass::Receipts,
            )?,
            encryption: tokens
                .agreement_key(&config.keys.encryption, public(&encryption_certificate))?,
            data: tokens.data_key(&config.keys.data)?,
            index: tokens.index_key(&config.keys.index)?,
            tls_certificate,
            signing_certificate,
            encryption_certificate,
            tokens,
        })
    }

    /// The digests of the encryption certificates that purchases may be sealed to.
    pub(crate) fn live_encryption_x5ts(&self) -> [Digest; 1] {
        [self.encryption_certificate.certificate.thumbprint()]
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
        let (tls, signing, encryption, data, index) = tokio::join!(
            self.tls.canary(deadline),
            self.signing.canary(deadline),
            self.encryption.canary(deadline),
            self.data.canary(deadline),
            self.index.canary(deadline),
        );
        vec![
            (self.tls.label().to_owned(), tls),
            (self.signing.label().to_owned(), signing),
            (self.encryption.label().to_owned(), encryption),
            (self.data.label().to_owned(), data),
            (self.index.label().to_owned(), index),
        ]
    }
}

fn read_certificate(
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
