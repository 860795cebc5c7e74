//! The token that is looked at: its module without our crate around it, a session, and keys made for it.

use std::{error::Error, path::Path};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::RvError,
    object::{Attribute, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use hsm::{
    pin::Pin,
    policy::KeyUse,
    provision::{self, TokenAdmin},
    uri::Pkcs11Uri,
};

/// What every part of the observation gives.
pub(crate) type Observed<T> = Result<T, Box<dyn Error>>;

/// The keys that are made in the token and destroyed in the end, in the order in which they are made.
pub(crate) const KEYS: [(&str, KeyUse); 4] = [
    ("quirks-sign", KeyUse::Sign),
    ("quirks-derive", KeyUse::Derive),
    ("quirks-encrypt", KeyUse::Encrypt),
    ("quirks-mac", KeyUse::Mac),
];

/// A token with keys.
pub(crate) struct Subject<'a> {
    pub(crate) path: &'a Path,
    pub(crate) label: &'a str,
    pub(crate) pin: &'a str,
    pub(crate) module: Pkcs11,
    pub(crate) slot: Slot,
}

impl<'a> Subject<'a> {
    /// Makes the keys.
    pub(crate) fn new(path: &'a Path, label: &'a str, pin: &'a str) -> Observed<Self> {
        // Our crate loads the module first, as it does not take one that somebody else initialised.
        provision::tokens(path)?;
        let module = Pkcs11::new(path)?;
        match module.initialize(arguments()) {
            // Most modules are one per process. p11-kit's client is another one for each that loads it.
            Ok(())
            | Err(cryptoki::error::Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        let slot = slot(&module, label)?;
        let mut subject = Self {
            path,
            label,
            pin,
            module,
            slot,
        };
        // If the token was initialised in this process, it may be in another slot than it will have ever after.
        subject.restart()?;
        let admin = subject.admin()?;
        for (label, usage) in KEYS {
            match usage {
                KeyUse::Sign | KeyUse::Derive => admin.generate_p256(label, usage).map(drop)?,
                KeyUse::Encrypt => admin.generate_aes256(label)?,
                KeyUse::Mac => admin.generate_hmac(label)?,
            }
        }
        Ok(subject)
    }

    /// C_Finalize and C_Initialize. No session may be open: closed afterwards, it would close another.
    pub(crate) fn restart(&mut self) -> Observed<()> {
        self.module.clone().finalize()?;
        self.start()
    }

    /// C_Initialize.
    pub(crate) fn start(&mut self) -> Observed<()> {
        self.module.initialize(arguments())?;
        self.slot = slot(&self.module, self.label)?;
        Ok(())
    }

    /// The token as our crate provisions it.
    pub(crate) fn admin(&self) -> Observed<TokenAdmin> {
        let uri = Pkcs11Uri::for_token(self.label);
        Ok(TokenAdmin::open(self.path, &uri, &Pin::new(self.pin))?)
    }

    /// A new session that is logged in.
    pub(crate) fn session(&self) -> Observed<Session> {
        let session = self.module.open_rw_session(self.slot)?;
        self.log_in(&session)?;
        Ok(session)
    }

    /// Logs a session in, unless another one of this process did.
    pub(crate) fn log_in(&self, session: &Session) -> Observed<()> {
        match session.login(UserType::User, Some(&AuthPin::from(self.pin.to_owned()))) {
            Ok(()) | Err(cryptoki::error::Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Destroys the keys.
    pub(crate) fn clean_up(&self) -> Observed<()> {
        let session = self.session()?;
        for (label, _) in KEYS {
            for object in session.find_objects(&[Attribute::Label(label.into())])? {
                session.destroy_object(object)?;
            }
        }
        Ok(())
    }
}

fn arguments() -> CInitializeArgs {
    CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)
}

/// The slot of a token.
fn slot(module: &Pkcs11, label: &str) -> Observed<Slot> {
    for slot in module.get_slots_with_initialized_token()? {
        if module.get_token_info(slot)?.label() == label {
            return Ok(slot);
        }
    }
    Err(format!("the module has no token {label}").into())
}

/// The private or secret half of one of the keys.
pub(crate) fn key(session: &Session, usage: KeyUse) -> Observed<ObjectHandle> {
    let class = match usage {
        KeyUse::Sign | KeyUse::Derive => ObjectClass::PRIVATE_KEY,
        KeyUse::Encrypt | KeyUse::Mac => ObjectClass::SECRET_KEY,
    };
    object(session, usage, class)
}

/// An object of a class, of one of the keys.
pub(crate) fn object(
    session: &Session,
    usage: KeyUse,
    class: ObjectClass,
) -> Observed<ObjectHandle> {
    let (label, _) = KEYS
        .into_iter()
        .find(|(_, other)| *other == usage)
        .ok_or("no such key")?;
    let template = [Attribute::Class(class), Attribute::Label(label.into())];
    match session.find_objects(&template)?[..] {
        [one] => Ok(one),
        ref others => Err(format!("{} objects are called {label}", others.len()).into()),
    }
}

/// What came of a call, as the standard calls it: `done`, or the return code.
pub(crate) fn code<T>(outcome: Result<T, cryptoki::error::Error>) -> String {
    match outcome {
        Ok(_) => "done".to_owned(),
        Err(cryptoki::error::Error::Pkcs11(code, _)) => standard_name(&format!("{code:?}")),
        Err(error) => error.to_string(),
    }
}

/// `KeyHandleInvalid` is `CKR_KEY_HANDLE_INVALID`.
fn standard_name(name: &str) -> String {
    let mut standard = "CKR".to_owned();
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            standard.push('_');
        }
        standard.push(character.to_ascii_uppercase());
    }
    standard
}
