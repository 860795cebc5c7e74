//! What can go wrong: at the start, for a person who configures; and later, for a caller in a hurry.

use std::path::PathBuf;

use secret_file::SecretFileError;

use crate::policy::AttributeFinding;

/// A token or key can't be used; nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The module could not be loaded.
    #[error("can't load the PKCS#11 module {}: {reason}; check the path, and that its package is installed", path.display())]
    Module {
        /// The shared library.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The module could not be initialised (C_Initialize).
    #[error(
        "the PKCS#11 module {} can't be initialised: {reason}; check its configuration, for SoftHSM the environment variable SOFTHSM2_CONF",
        path.display()
    )]
    Initialize {
        /// The shared library.
        path: PathBuf,
        /// What the module said.
        reason: String,
    },
    /// No token, or more than one, is what the URI describes.
    #[error(
        "{found} tokens match {uri}, the module has: {present}; check the URI, and for SoftHSM the environment variable SOFTHSM2_CONF"
    )]
    NotOneToken {
        /// How many match.
        found: usize,
        /// The configured URI.
        uri: String,
        /// The labels that are there.
        present: String,
    },
    /// The PIN's file can't be used.
    #[error("can't read the PIN: {0}")]
    PinFile(#[from] SecretFileError),
    /// The PIN could not be had.
    #[error("can't read the PIN from {place}: {reason}")]
    NoPin {
        /// Where it should be.
        place: String,
        /// What went wrong.
        reason: String,
    },
    /// The token says that one more wrong PIN locks it, or that it is locked (CKF_USER_PIN_FINAL_TRY,
    /// CKF_USER_PIN_LOCKED).
    #[error(
        "the PIN of token {token} {state}; nothing was tried: have the security officer reset it"
    )]
    PinAtRisk {
        /// The token's label.
        token: String,
        /// "is locked" or "has one try left".
        state: &'static str,
    },
    /// The token refused the PIN (CKR_PIN_INCORRECT). It is not tried again.
    #[error(
        "token {token} refused the PIN: {reason}; it was tried once and is not tried again, because tokens lock; correct it first"
    )]
    PinRefused {
        /// The token's label.
        token: String,
        /// The return code.
        reason: String,
    },
    /// No key, or more than one, is what the URI describes.
    #[error(
        "{found} {class} keys match {uri}; exactly one is wanted: `softhsm-setup status` shows what is there"
    )]
    NotOneKey {
        /// How many match.
        found: usize,
        /// "private", "public" or "secret".
        class: &'static str,
        /// The configured URI.
        uri: String,
    },
    /// An attribute is not what the key's use allows.
    #[error(
        "key {key}: {finding}; make a new key with `softhsm-setup init`, an attribute of an existing one can't be trusted after the fact"
    )]
    Policy {
        /// The key's label.
        key: String,
        /// The first attribute that is wrong.
        finding: AttributeFinding,
    },
    /// The key in the token is not the certificate's.
    #[error(
        "key {key} is not the key of its certificate; issue a certificate for the key that is in the token"
    )]
    OtherPublicKey {
        /// The key's label.
        key: String,
    },
    /// A first operation with the key failed or gave a wrong result.
    #[error(
        "key {key} does not work: {reason}; check the token's mechanisms and the key's attributes"
    )]
    Canary {
        /// The key's label.
        key: String,
        /// What failed.
        reason: String,
    },
    /// A call that should not fail failed.
    #[error("token: {0}")]
    Token(#[from] cryptoki::error::Error),
    /// The session went away while it was used.
    #[error("the PKCS#11 session went away; try again")]
    SessionGone,
    /// None of the tokens works.
    #[error("no token works: {0}")]
    NoToken(String),
    /// No worker thread could be started.
    #[error("can't start a worker thread: {0}")]
    Thread(std::io::Error),
}

/// An operation was not done, or it is not known whether it was; none of them changes a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HsmError {
    /// The queue is full: nothing was tried.
    #[error("too many operations wait for the token")]
    Overloaded,
    /// The caller's deadline passed first.
    #[error("the token did not answer in time")]
    DeadlinePassed,
    /// The caller's input is not what the operation takes: found before a token saw it, or because the token does
    /// everything else.
    #[error("the input is not what the operation takes")]
    InvalidInput,
    /// No token did it. The text is for the log.
    #[error("no token did it: {0}")]
    Unavailable(String),
}
