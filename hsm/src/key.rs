//! A key as all tokens of a set have it: what it is called, what it may do, and how it is known to be the same one.

use std::sync::OnceLock;

use cryptoki::{object::ObjectHandle, session::Session};

use crate::{
    error::StartError,
    object::{find_key, public_point},
    operations::{self, OperationError},
    policy::KeyUse,
    sealed::OpeningWay,
    uri::Pkcs11Uri,
    waiver::{Verdict, Waivers},
};

/// Identifies a key in this process.
pub(crate) type KeyNumber = u64;

/// A key as one token has it, from a login to the next.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) handle: ObjectHandle,
    /// Of an agreement key: how it opens.
    pub(crate) opening: Option<OpeningWay>,
}

/// Where a key is, and what it must be.
pub(crate) struct Key {
    number: KeyNumber,
    uri: Pkcs11Uri,
    usage: KeyUse,
    /// What it is known by: found again in another token, or in the same one later, it is this one or is not used.
    identity: Identity,
}

enum Identity {
    /// Of a pair: the public point.
    Public([u8; 65]),
    /// Of a secret key for MACs: one of a known text. Empty until it was first used.
    Mac(OnceLock<[u8; 32]>),
    /// Of a secret key for encryption: a ciphertext that it opens. Empty until it was first used.
    Ciphertext(OnceLock<Vec<u8>>),
}

impl Key {
    /// A key pair, known by its public point.
    pub(crate) fn pair(
        number: KeyNumber,
        uri: &Pkcs11Uri,
        usage: KeyUse,
        public: [u8; 65],
    ) -> Self {
        Self {
            number,
            uri: uri.clone(),
            usage,
            identity: Identity::Public(public),
        }
    }

    /// A key for HMAC-SHA-256.
    pub(crate) fn mac(number: KeyNumber, uri: &Pkcs11Uri) -> Self {
        Self {
            number,
            uri: uri.clone(),
            usage: KeyUse::Mac,
            identity: Identity::Mac(OnceLock::new()),
        }
    }

    /// A key for AES-GCM.
    pub(crate) fn encryption(number: KeyNumber, uri: &Pkcs11Uri) -> Self {
        Self {
            number,
            uri: uri.clone(),
            usage: KeyUse::Encrypt,
            identity: Identity::Ciphertext(OnceLock::new()),
        }
    }

    pub(crate) fn number(&self) -> KeyNumber {
        self.number
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        self.uri.key_name()
    }

    /// Whether both are one pair.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.identity, &other.identity) {
            (Identity::Public(one), Identity::Public(other)) => one == other,
            _ => false,
        }
    }

    /// Finds it in a token: exactly one, as its policy says, the one that it is known to be, and in working order.
    pub(crate) fn find(&self, session: &Session, waivers: &Waivers) -> Result<Held, StartError> {
        let handle = find_key(
            session,
            &self.uri,
            self.usage.class(),
            self.usage.class_name(),
        )?;
        let finding = self
            .usage
            .findings(session, handle)?
            .into_iter()
            .find(|finding| waivers.verdict(finding) == Verdict::Wrong);
        if let Some(finding) = finding {
            return Err(StartError::Policy {
                key: self.name().to_owned(),
                finding,
            });
        }
        if let Identity::Public(expected) = &self.identity
            && public_point(session, &self.uri)?.as_bytes() != expected
        {
            return Err(StartError::OtherPublicKey {
                key: self.name().to_owned(),
            });
        }
        let opening = match (&self.identity, self.usage) {
            (Identity::Public(public), KeyUse::Derive) => {
                Some(OpeningWay::probe(session, handle, public))
            }
            _ => None,
        };
        let held = Held { handle, opening };
        self.canary(session, held)
            .map_err(|error| StartError::Canary {
                key: self.name().to_owned(),
                reason: error.to_string(),
            })?;
        Ok(held)
    }

    /// Uses it once, on what only the right key gets right.
    pub(crate) fn canary(&self, session: &Session, held: Held) -> Result<(), OperationError> {
        let handle = held.handle;
        match (&self.identity, held.opening) {
            (Identity::Public(public), Some(OpeningWay::SharedSecret)) => {
                operations::derive_canary(session, handle, public)
            }
            (Identity::Public(public), Some(OpeningWay::InToken)) => {
                operations::open_inside_canary(session, handle, public)
            }
            (Identity::Public(public), None) => operations::sign_canary(session, handle, public),
            (Identity::Mac(known), _) => {
                let mac = operations::mac_canary(session, handle)?;
                if known.get_or_init(|| mac) == &mac {
                    Ok(())
                } else {
                    Err(OperationError::WrongResult("it is another key than before"))
                }
            }
            (Identity::Ciphertext(known), _) => {
                let sealed = operations::encrypt_canary(session, handle)?;
                operations::open_canary(session, handle, known.get_or_init(|| sealed))
            }
        }
    }
}
