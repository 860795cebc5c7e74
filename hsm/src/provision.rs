//! Provisioning: initialising a token, making keys in it, looking at them. Blocking, on one session, for a
//! program that does one thing after the other.

use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, AttributeType, ObjectClass},
    session::{Session, UserType},
    slot::Slot,
};
use serde::Serialize;

use crate::{
    error::StartError,
    module::Module,
    object::{find_key, public_point},
    pin::Pin,
    policy::{AttributeFinding, KeyUse, P256_PARAMS},
    report::{KeyReport, ReportedFinding},
    sealed::OpeningWay,
    token::log_in,
    uri::Pkcs11Uri,
    waiver::Waivers,
};

/// A token as a module shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenInfo {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Its manufacturer.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
}

impl TokenInfo {
    fn of(module: &Module, slot: Slot) -> Result<Self, cryptoki::error::Error> {
        let token = module.functions().get_token_info(slot)?;
        Ok(Self {
            label: token.label().to_owned(),
            serial: token.serial_number().to_owned(),
            manufacturer: token.manufacturer_id().to_owned(),
            model: token.model().to_owned(),
        })
    }
}

/// A key that is to be made has a label that is taken, or a token has.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// There is a token with this label.
    #[error("there is a token {0} already; it stays as it is")]
    TokenExists(String),
    /// There is no slot with a token that was not initialised.
    #[error("the module has no free slot for a new token; initialise one with the vendor's tools")]
    NoFreeSlot,
    /// There is an object with this label.
    #[error(
        "there is a key {0} already; it stays as it is: remove it with the vendor's tools if nobody needs it"
    )]
    KeyExists(String),
    /// The token could not be opened, or does not have what was asked for.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The token did not do it.
    #[error("token: {0}")]
    Token(#[from] cryptoki::error::Error),
    /// The token gave what it can't have given.
    #[error("token: {0}")]
    WrongResult(&'static str),
}

/// Lists the tokens of a module.
///
/// # Errors
/// When the module can't be loaded.
pub fn tokens(module_path: &Path) -> Result<Vec<TokenInfo>, ProvisionError> {
    let module = Module::load(module_path)?;
    let mut tokens = Vec::new();
    for slot in module.functions().get_slots_with_initialized_token()? {
        tokens.push(TokenInfo::of(&module, slot)?);
    }
    Ok(tokens)
}

/// Initialises a token in a free slot, and its user PIN (C_InitToken, C_InitPIN). A token that was left
/// without a user PIN, because this was interrupted, gets it.
///
/// # Errors
/// When there is a token with this label, which is left as it is, or no free slot.
pub fn init_token(
    module_path: &Path,
    label: &str,
    so_pin: &Pin,
    user_pin: &Pin,
) -> Result<(), ProvisionError> {
    let module = Module::load(module_path)?;
    let uri = Pkcs11Uri::for_token(label);
    let slot = match module.find_token(&uri) {
        Ok(slot)
            if !module
                .functions()
                .get_token_info(slot)?
                .user_pin_initialized() =>
        {
            slot
        }
        Err(StartError::NotOneToken { found: 0, .. }) => {
            let free = free_slot(&module)?.ok_or(ProvisionError::NoFreeSlot)?;
            module.functions().init_token(free, so_pin.auth(), label)?;
            new_token_s_slot(&module, &uri, free)?
        }
        Ok(_) | Err(StartError::NotOneToken { .. }) => {
            return Err(ProvisionError::TokenExists(label.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let session = module.functions().open_rw_session(slot)?;
    session.login(UserType::So, Some(so_pin.auth()))?;
    session.init_pin(user_pin.auth())?;
    session.logout()?;
    Ok(())
}

/// Where a token is after it was initialised. SoftHSM moves it to another slot, so it is found anew by its
/// label. NSS leaves it where it was, and calls it initialised only when it has a user PIN.
fn new_token_s_slot(module: &Module, uri: &Pkcs11Uri, before: Slot) -> Result<Slot, StartError> {
    match module.find_token(uri) {
        Err(StartError::NotOneToken { found: 0, .. }) => Ok(before),
        found => found,
    }
}

/// A slot whose token was not initialised.
fn free_slot(module: &Module) -> Result<Option<Slot>, ProvisionError> {
    for slot in module.functions().get_slots_with_token()? {
        if !module.functions().get_token_info(slot)?.token_initialized() {
            return Ok(Some(slot));
        }
    }
    Ok(None)
}

/// A key, or a key pair, as the token shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// Its label.
    pub label: String,
    /// Its id.
    pub id: Vec<u8>,
    /// "private" or "secret".
    pub class: &'static str,
    /// The public point of a pair, uncompressed.
    pub public: Option<[u8; 65]>,
}

/// A token that was opened to provision it.
pub struct TokenAdmin {
    session: Session,
    module: PathBuf,
    token: TokenInfo,
}

impl TokenAdmin {
    /// Logs in. The PIN is tried once.
    ///
    /// # Errors
    /// When the module, the token or the PIN is not as said.
    pub fn open(module_path: &Path, uri: &Pkcs11Uri, pin: &Pin) -> Result<Self, ProvisionError> {
        let module = Module::load(module_path)?;
        let slot = module.find_token(uri)?;
        Ok(Self {
            session: log_in(&module, slot, pin)?.into_session()?,
            module: module_path.to_owned(),
            token: TokenInfo::of(&module, slot)?,
        })
    }

    /// Every private and secret key in the token.
    ///
    /// # Errors
    /// When the token does not answer.
    pub fn list(&self) -> Result<Vec<KeyDescription>, ProvisionError> {
        let mut keys = Vec::new();
        for (class, name) in [
            (ObjectClass::PRIVATE_KEY, "private"),
            (ObjectClass::SECRET_KEY, "secret"),
        ] {
            let template = [Attribute::Class(class), Attribute::Token(true)];
            for handle in self.session.find_objects(&template)? {
                let mut description = KeyDescription {
                    label: String::new(),
                    id: Vec::new(),
                    class: name,
                    public: None,
                };
                let wanted = [AttributeType::Label, AttributeType::Id];
                for attribute in self.session.get_attributes(handle, &wanted)? {
                    match attribute {
                        Attribute::Label(label) => {
                            description.label = String::from_utf8_lossy(&label).into_owned();
                        }
                        Attribute::Id(id) => description.id = id,
                        _ => {}
                    }
                }
                if class == ObjectClass::PRIVATE_KEY {
                    let uri = Pkcs11Uri::for_key(&description.label);
                    description.public = public_point(&self.session, &uri)
                        .ok()
                        .map(|point| *point.as_bytes());
                }
                keys.push(description);
            }
        }
        keys.sort_by(|one, other| one.label.cmp(&other.label));
        Ok(keys)
    }

    /// The key with this label.
    ///
    /// # Errors
    /// When the token does not answer.
    pub fn find(&self, label: &str) -> Result<Option<KeyDescription>, ProvisionError> {
        Ok(self.list()?.into_iter().find(|key| key.label == label))
    }

    /// Holds a key against the policy of a use: every attribute, the good ones too.
    ///
    /// # Errors
    /// When there is not exactly one such key.
    pub fn check(
        &self,
        label: &str,
        usage: KeyUse,
    ) -> Result<Vec<AttributeFinding>, ProvisionError> {
        let uri = Pkcs11Uri::for_key(label);
        let handle = find_key(&self.session, &uri, usage.class(), usage.class_name())?;
        Ok(usage.findings(&self.session, handle)?)
    }

    /// Holds the key that a URI names against the policy of a use, less what is waived: the whole of what was
    /// found, to be shown to an operator.
    ///
    /// # Errors
    /// When there is not exactly one such key.
    pub fn report(
        &self,
        uri: &Pkcs11Uri,
        usage: KeyUse,
        waivers: &Waivers,
    ) -> Result<KeyReport, ProvisionError> {
        let handle = find_key(&self.session, uri, usage.class(), usage.class_name())?;
        let findings = usage.findings(&self.session, handle)?;
        let opening = match usage {
            KeyUse::Derive => {
                let public = public_point(&self.session, uri)?;
                Some(OpeningWay::probe(&self.session, handle, public.as_bytes()))
            }
            _ => None,
        };
        Ok(KeyReport {
            opening,
            key: uri.key_name().to_owned(),
            usage,
            module: self.module.clone(),
            token: self.token.clone(),
            findings: findings
                .into_iter()
                .map(|finding| ReportedFinding::new(finding, waivers))
                .collect(),
        })
    }

    /// Makes a P-256 key pair in the token (CKM_EC_KEY_PAIR_GEN); gives the public point,
    /// uncompressed.
    ///
    /// # Errors
    /// When the label is taken, or the token does not do it.
    pub fn generate_p256(&self, label: &str, usage: KeyUse) -> Result<[u8; 65], ProvisionError> {
        self.remove_unfinished_pair(label)?;
        self.refuse_taken(label)?;
        let id = random_id()?;
        let public_template = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Label(label.into()),
            Attribute::Id(id.to_vec()),
            Attribute::EcParams(P256_PARAMS.to_vec()),
            Attribute::Verify(matches!(usage, KeyUse::Sign)),
            Attribute::Encrypt(false),
            Attribute::Wrap(false),
        ];
        self.session.generate_key_pair(
            &Mechanism::EccKeyPairGen,
            &public_template,
            &usage.template(label, &id),
        )?;
        let point = public_point(&self.session, &Pkcs11Uri::for_key(label))?;
        Ok(*point.as_bytes())
    }

    /// Makes an AES-256 key in the token (CKM_AES_KEY_GEN).
    ///
    /// # Errors
    /// When the label is taken, or the token does not do it.
    pub fn generate_aes256(&self, label: &str) -> Result<(), ProvisionError> {
        self.generate_secret(label, KeyUse::Encrypt, &Mechanism::AesKeyGen)
    }

    /// Makes a 256-bit HMAC key in the token (CKM_GENERIC_SECRET_KEY_GEN).
    ///
    /// # Errors
    /// When the label is taken, or the token does not do it.
    pub fn generate_hmac(&self, label: &str) -> Result<(), ProvisionError> {
        self.generate_secret(label, KeyUse::Mac, &Mechanism::GenericSecretKeyGen)
    }

    fn generate_secret(
        &self,
        label: &str,
        usage: KeyUse,
        mechanism: &Mechanism<'_>,
    ) -> Result<(), ProvisionError> {
        self.refuse_taken(label)?;
        let template = usage.template(label, &random_id()?);
        self.session.generate_key(mechanism, &template)?;
        Ok(())
    }

    /// Signs a SHA-256 digest: r‖s (CKM_ECDSA).
    ///
    /// # Errors
    /// When there is not exactly one such key, or the token does not do it.
    pub fn sign(&self, label: &str, digest: &[u8; 32]) -> Result<[u8; 64], ProvisionError> {
        let uri = Pkcs11Uri::for_key(label);
        let handle = find_key(
            &self.session,
            &uri,
            KeyUse::Sign.class(),
            KeyUse::Sign.class_name(),
        )?;
        self.session
            .sign(&Mechanism::Ecdsa, handle, digest)?
            .try_into()
            .map_err(|_| ProvisionError::WrongResult("the signature has not 64 bytes"))
    }

    /// Tokens make the public half of a pair first. One that was made in the token and has no private
    /// half was left by a run that was killed; it is nobody's key.
    fn remove_unfinished_pair(&self, label: &str) -> Result<(), ProvisionError> {
        let halves = |class| [Attribute::Label(label.into()), Attribute::Class(class)];
        let private = self
            .session
            .find_objects(&halves(ObjectClass::PRIVATE_KEY))?;
        if private.is_empty() {
            let mut made_here = halves(ObjectClass::PUBLIC_KEY).to_vec();
            made_here.push(Attribute::Local(true));
            for public in self.session.find_objects(&made_here)? {
                self.session.destroy_object(public)?;
            }
        }
        Ok(())
    }

    fn refuse_taken(&self, label: &str) -> Result<(), ProvisionError> {
        let same_label = [Attribute::Label(label.into())];
        if self.session.find_objects(&same_label)?.is_empty() {
            Ok(())
        } else {
            Err(ProvisionError::KeyExists(label.to_owned()))
        }
    }
}

/// An id that ties the two halves of a pair together.
fn random_id() -> Result<[u8; 16], ProvisionError> {
    let mut id = [0; 16];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| ProvisionError::WrongResult("the operating system gave no random bytes"))?;
    Ok(id)
}
