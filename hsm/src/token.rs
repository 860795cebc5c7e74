//! An opened token: logged in once, with workers, and the way to its keys.

use std::{path::PathBuf, sync::Arc};

use cryptoki::{
    context::Pkcs11,
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
};

use crate::{
    error::StartError,
    keys::{AgreementKey, DataKey, IndexKey, SigningKey},
    module,
    pin::{Pin, PinSource},
    point::P256Point,
    policy::KeyUse,
    uri::Pkcs11Uri,
    waiver::{Verdict, Waivers},
    worker::Workers,
};

/// Which token, and how it is worked with.
pub struct TokenConfig {
    /// The PKCS#11 module, a shared library.
    pub module: PathBuf,
    /// Which of its tokens.
    pub uri: Pkcs11Uri,
    /// Where its PIN is.
    pub pin: PinSource,
    /// PKCS#11 sessions that work at once, a thread each.
    pub sessions: usize,
    /// Operations that may wait; more are refused.
    pub queue_max: usize,
}

/// A token that is logged in, with workers that run until the last clone of it and of its keys is gone.
#[derive(Clone)]
pub struct Token {
    workers: Workers,
    waivers: Arc<Waivers>,
}

impl Token {
    /// Loads the module, finds the token, logs in once, starts the workers.
    ///
    /// # Errors
    /// When the module, the token or the PIN is not as configured. A PIN is tried once.
    pub fn open(config: &TokenConfig) -> Result<Self, StartError> {
        let module = module::load(&config.module)?;
        let slot = module::find_token(&module, &config.uri)?;
        let login = log_in(&module, slot, &config.pin.read()?)?;
        Ok(Self {
            workers: Workers::start(&module, slot, login, config.sessions, config.queue_max)?,
            waivers: Arc::default(),
        })
    }

    /// The same token, whose keys may lack what is waived.
    #[must_use]
    pub fn with_waivers(self, waivers: Waivers) -> Self {
        Self {
            waivers: Arc::new(waivers),
            ..self
        }
    }

    /// The key that a URI names, for ECDSA: found once, as its policy says, its certificate's, and used
    /// once.
    ///
    /// # Errors
    /// Whatever of this does not hold, and what to do.
    pub fn signing_key(
        &self,
        uri: &Pkcs11Uri,
        expected_public: [u8; 65],
    ) -> Result<SigningKey, StartError> {
        let handle = self.checked_key(uri, KeyUse::Sign, Some(&expected_public))?;
        let key = SigningKey::new(
            self.workers.clone(),
            uri.key_name(),
            handle,
            expected_public,
        );
        self.workers.with_login(|session| key.check(session))?;
        Ok(key)
    }

    /// The key that a URI names, for ECDH; checked as a signing key is.
    ///
    /// # Errors
    /// Whatever does not hold, and what to do.
    pub fn agreement_key(
        &self,
        uri: &Pkcs11Uri,
        expected_public: [u8; 65],
    ) -> Result<AgreementKey, StartError> {
        let handle = self.checked_key(uri, KeyUse::Derive, Some(&expected_public))?;
        let key = AgreementKey::new(
            self.workers.clone(),
            uri.key_name(),
            handle,
            expected_public,
        );
        self.workers.with_login(|session| key.check(session))?;
        Ok(key)
    }

    /// The key that a URI names, for AES-GCM: found once, as its policy says, and used once.
    ///
    /// # Errors
    /// Whatever does not hold, and what to do.
    pub fn data_key(&self, uri: &Pkcs11Uri) -> Result<DataKey, StartError> {
        let handle = self.checked_key(uri, KeyUse::Encrypt, None)?;
        let key = DataKey::new(self.workers.clone(), uri.key_name(), handle);
        self.workers.with_login(|session| key.check(session))?;
        Ok(key)
    }

    /// The key that a URI names, for HMAC: found once, as its policy says, and used once.
    ///
    /// # Errors
    /// Whatever does not hold, and what to do.
    pub fn index_key(&self, uri: &Pkcs11Uri) -> Result<IndexKey, StartError> {
        let handle = self.checked_key(uri, KeyUse::Mac, None)?;
        let key = IndexKey::new(self.workers.clone(), uri.key_name(), handle);
        self.workers.with_login(|session| key.check(session))?;
        Ok(key)
    }

    fn checked_key(
        &self,
        uri: &Pkcs11Uri,
        usage: KeyUse,
        expected_public: Option<&[u8; 65]>,
    ) -> Result<ObjectHandle, StartError> {
        self.workers.with_login(|session| {
            let handle = find_key(session, uri, usage.class(), usage.class_name())?;
            let finding = usage
                .findings(session, handle)?
                .into_iter()
                .find(|finding| self.waivers.verdict(finding) == Verdict::Wrong);
            if let Some(finding) = finding {
                return Err(StartError::Policy {
                    key: uri.key_name().to_owned(),
                    finding,
                });
            }
            if let Some(expected) = expected_public
                && public_point(session, uri)?.as_bytes() != expected
            {
                return Err(StartError::OtherPublicKey {
                    key: uri.key_name().to_owned(),
                });
            }
            Ok(handle)
        })
    }
}

/// Logs in as the user, after looking whether a wrong PIN would lock the token.
pub(crate) fn log_in(module: &Pkcs11, slot: Slot, pin: &Pin) -> Result<Session, StartError> {
    let info = module.get_token_info(slot)?;
    let token = info.label().to_owned();
    let at_risk = |state| StartError::PinAtRisk {
        token: token.clone(),
        state,
    };
    if info.user_pin_locked() {
        return Err(at_risk("is locked"));
    }
    if info.user_pin_final_try() {
        return Err(at_risk("has one try left"));
    }
    let session = module.open_rw_session(slot)?;
    match session.login(UserType::User, Some(pin.auth())) {
        Ok(()) => Ok(session),
        // Another session of this process did it, with the same PIN or not at all.
        Err(cryptoki::error::Error::Pkcs11(cryptoki::error::RvError::UserAlreadyLoggedIn, _)) => {
            Ok(session)
        }
        Err(error) => Err(StartError::PinRefused {
            token,
            reason: error.to_string(),
        }),
    }
}

/// Finds the one key of a class that a URI names. Labels and ids need not be unique in a token, so more
/// than one is an error.
pub(crate) fn find_key(
    session: &Session,
    uri: &Pkcs11Uri,
    class: ObjectClass,
    class_name: &'static str,
) -> Result<ObjectHandle, StartError> {
    let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
    template.extend(uri.object().map(|label| Attribute::Label(label.into())));
    template.extend(uri.id().map(|id| Attribute::Id(id.to_vec())));
    match session.find_objects(&template)?.as_slice() {
        [one] => Ok(*one),
        others => Err(StartError::NotOneKey {
            found: others.len(),
            class: class_name,
            uri: uri.to_string(),
        }),
    }
}

/// The public point of a key pair, from its public key object.
pub(crate) fn public_point(session: &Session, uri: &Pkcs11Uri) -> Result<P256Point, StartError> {
    let handle = find_key(session, uri, ObjectClass::PUBLIC_KEY, "public")?;
    session
        .get_attributes(handle, &[AttributeType::EcPoint])?
        .into_iter()
        .find_map(|attribute| match attribute {
            Attribute::EcPoint(value) => P256Point::from_attribute(&value).ok(),
            _ => None,
        })
        .ok_or_else(|| StartError::Canary {
            key: uri.key_name().to_owned(),
            reason: "its public key is not a point of P-256".to_owned(),
        })
}
