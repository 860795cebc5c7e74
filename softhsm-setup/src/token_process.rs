//! A child process per token: SoftHSM reads one configuration per process, and there are two tokens.
//!
//! The child is this program with the hidden command `token-process`; `SOFTHSM2_CONF` in its
//! environment says which token directory it sees. One JSON object per line goes in, one comes out. PINs
//! go by the path of their file.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use hsm::{
    StartError,
    pin::PinSource,
    policy::KeyUse,
    provision::{self, ProvisionError, TokenAdmin},
    uri::Pkcs11Uri,
};
use serde::{Deserialize, Serialize};

use crate::{
    Failure,
    layout::{self, Layout, LockedLayout, TokenPlace},
};

/// The hidden command.
pub(crate) const COMMAND: &str = "token-process";

/// A key that is to be there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WantedKey {
    pub(crate) label: String,
    pub(crate) usage: Usage,
}

/// What a key is for, as it travels between the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Usage {
    Sign,
    Derive,
    Encrypt,
    Mac,
}

impl From<Usage> for KeyUse {
    fn from(usage: Usage) -> Self {
        match usage {
            Usage::Sign => KeyUse::Sign,
            Usage::Derive => KeyUse::Derive,
            Usage::Encrypt => KeyUse::Encrypt,
            Usage::Mac => KeyUse::Mac,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Request {
    /// Whether the token is there.
    HasToken,
    /// What the token says of itself.
    Describe,
    /// Initialise the token, unless it is there.
    InitToken {
        so_pin: PathBuf,
    },
    /// Make a key, unless it is there.
    MakeKey(WantedKey),
    /// Every key, with what its policy says.
    Keys(Vec<WantedKey>),
    Sign {
        label: String,
        digest: Vec<u8>,
    },
}

impl Request {
    /// Whether it changes what is in the token.
    const fn changes(&self) -> bool {
        matches!(self, Request::InitToken { .. } | Request::MakeKey(_))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Response {
    Done { made: bool },
    HasToken(bool),
    Described(Option<TokenDescription>),
    Keys(Vec<FoundKey>),
    Signature(Vec<u8>),
    Failed(String),
}

/// What a token says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenDescription {
    pub(crate) serial: String,
    pub(crate) manufacturer: String,
    pub(crate) model: String,
}

/// A key in a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FoundKey {
    pub(crate) label: String,
    /// "private" or "secret".
    pub(crate) class: String,
    /// The public point of a pair, uncompressed.
    pub(crate) public: Option<Vec<u8>>,
    /// What is not as the policy wants; empty when all is well.
    pub(crate) violations: Vec<String>,
    /// Whether a policy is known for it.
    pub(crate) wanted: bool,
}

/// The parent's end.
pub(crate) struct TokenProcess {
    pipes: Mutex<Pipes>,
    child: Child,
    place: TokenPlace,
}

struct Pipes {
    requests: ChildStdin,
    responses: BufReader<ChildStdout>,
}

impl TokenProcess {
    /// Starts a child that sees this token.
    pub(crate) fn start(
        layout: &Layout,
        place: TokenPlace,
        module: &Path,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::new(format!("can't start myself: {error}"));
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg(COMMAND)
            .arg(module)
            .arg(place.label())
            .arg(layout.user_pin(place))
            .env("SOFTHSM2_CONF", layout.softhsm_conf(place))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(requests), Some(responses)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("can't speak to my own child"));
        };
        Ok(Self {
            pipes: Mutex::new(Pipes {
                requests,
                responses: BufReader::new(responses),
            }),
            child,
            place,
        })
    }

    /// Whether the token is there, with or without keys.
    pub(crate) fn has_token(&self) -> Result<bool, Failure> {
        match self.ask(&Request::HasToken)? {
            Response::HasToken(is_there) => Ok(is_there),
            _ => Err(self.unexpected()),
        }
    }

    /// What the token says of itself, if it is there.
    pub(crate) fn describe(&self) -> Result<Option<TokenDescription>, Failure> {
        match self.ask(&Request::Describe)? {
            Response::Described(description) => Ok(description),
            _ => Err(self.unexpected()),
        }
    }

    /// Initialises the token, unless it is there. Tells whether it did.
    pub(crate) fn init_token(&self, layout: &LockedLayout) -> Result<bool, Failure> {
        self.made(&Request::InitToken {
            so_pin: layout.so_pin(self.place),
        })
    }

    /// Makes a key, unless its label is there. Tells whether it did.
    pub(crate) fn make_key(
        &self,
        _: &LockedLayout,
        label: &str,
        usage: Usage,
    ) -> Result<bool, Failure> {
        self.made(&Request::MakeKey(WantedKey {
            label: label.to_owned(),
            usage,
        }))
    }

    /// Every key in the token; those that are wanted are held against their policy.
    pub(crate) fn keys(&self, wanted: Vec<WantedKey>) -> Result<Vec<FoundKey>, Failure> {
        match self.ask(&Request::Keys(wanted))? {
            Response::Keys(keys) => Ok(keys),
            _ => Err(self.unexpected()),
        }
    }

    /// The public point of a key pair, uncompressed.
    pub(crate) fn public(&self, label: &str) -> Result<Vec<u8>, Failure> {
        self.keys(Vec::new())?
            .into_iter()
            .find(|key| key.label == label)
            .and_then(|key| key.public)
            .ok_or_else(|| {
                Failure::new(format!(
                    "token {} has no key pair {label}; `softhsm-setup init` makes it",
                    self.place.label()
                ))
            })
    }

    /// Signs a SHA-256 digest: r‖s.
    pub(crate) fn sign(&self, label: &str, digest: [u8; 32]) -> Result<[u8; 64], Failure> {
        match self.ask(&Request::Sign {
            label: label.to_owned(),
            digest: digest.to_vec(),
        })? {
            Response::Signature(signature) => signature.try_into().map_err(|_| self.unexpected()),
            _ => Err(self.unexpected()),
        }
    }

    fn made(&self, request: &Request) -> Result<bool, Failure> {
        match self.ask(request)? {
            Response::Done { made } => Ok(made),
            _ => Err(self.unexpected()),
        }
    }

    fn ask(&self, request: &Request) -> Result<Response, Failure> {
        let failed = |error: io::Error| {
            Failure::new(format!(
                "token {}: its process ended: {error}",
                self.place.label()
            ))
        };
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = serde_json::to_string(request).map_err(|error| failed(error.into()))?;
        line.push('\n');
        pipes.requests.write_all(line.as_bytes()).map_err(failed)?;
        let mut answer = String::new();
        pipes.responses.read_line(&mut answer).map_err(failed)?;
        match serde_json::from_str(&answer).map_err(|error| failed(error.into()))? {
            Response::Failed(reason) => Err(Failure::new(format!(
                "token {}: {reason}",
                self.place.label()
            ))),
            response => Ok(response),
        }
    }

    fn unexpected(&self) -> Failure {
        Failure::new(format!(
            "token {}: an answer to another question",
            self.place.label()
        ))
    }
}

impl Drop for TokenProcess {
    fn drop(&mut self) {
        // It ends by itself when its input does; there is nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's end: answers until its input ends.
pub(crate) fn serve(module: &Path, label: &str, user_pin: &Path) -> Result<(), Failure> {
    // Held until this process ends: when the parent is killed its lock is gone, but what it asked for may still
    // go on here.
    let mut lock = None;
    let mut token = ServedToken {
        module,
        label,
        user_pin,
        admin: None,
    };
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let failed = |error: io::Error| Failure::new(format!("the parent is gone: {error}"));
        let line = line.map_err(failed)?;
        let response = serde_json::from_str(&line)
            .map_err(|error| error.to_string())
            .and_then(|request: Request| {
                if lock.is_none() && request.changes() {
                    let directory = user_pin.parent().unwrap_or(user_pin);
                    let locked = layout::lock(directory, || ());
                    lock = Some(locked.map_err(|error| error.to_string())?);
                }
                token.answer(request).map_err(|error| error.to_string())
            })
            .unwrap_or_else(Response::Failed);
        let mut answer =
            serde_json::to_string(&response).map_err(|error| Failure::new(error.to_string()))?;
        answer.push('\n');
        output.write_all(answer.as_bytes()).map_err(failed)?;
        output.flush().map_err(failed)?;
    }
    Ok(())
}

struct ServedToken<'a> {
    module: &'a Path,
    label: &'a str,
    user_pin: &'a Path,
    admin: Option<TokenAdmin>,
}

impl ServedToken<'_> {
    fn answer(&mut self, request: Request) -> Result<Response, ProvisionError> {
        match request {
            Request::HasToken => {
                let tokens = provision::tokens(self.module)?;
                let is_there = tokens.iter().any(|token| token.label == self.label);
                Ok(Response::HasToken(is_there))
            }
            Request::Describe => {
                let tokens = provision::tokens(self.module)?;
                let found = tokens.into_iter().find(|token| token.label == self.label);
                Ok(Response::Described(found.map(|token| TokenDescription {
                    serial: token.serial,
                    manufacturer: token.manufacturer,
                    model: token.model,
                })))
            }
            Request::InitToken { so_pin } => {
                let so_pin = PinSource::File(so_pin).read()?;
                let user_pin = PinSource::File(self.user_pin.to_owned()).read()?;
                let made = match provision::init_token(self.module, self.label, &so_pin, &user_pin)
                {
                    Ok(()) => true,
                    Err(ProvisionError::TokenExists(_)) => false,
                    Err(error) => return Err(error),
                };
                Ok(Response::Done { made })
            }
            Request::MakeKey(wanted) => {
                let admin = self.admin()?;
                let made = admin.find(&wanted.label)?.is_none();
                if made {
                    match wanted.usage {
                        Usage::Sign | Usage::Derive => {
                            admin.generate_p256(&wanted.label, wanted.usage.into())?;
                        }
                        Usage::Encrypt => admin.generate_aes256(&wanted.label)?,
                        Usage::Mac => admin.generate_hmac(&wanted.label)?,
                    }
                }
                Ok(Response::Done { made })
            }
            Request::Keys(wanted) => {
                let admin = self.admin()?;
                let mut found = Vec::new();
                for key in admin.list()? {
                    let policy = wanted.iter().find(|wanted| wanted.label == key.label);
                    let violations = match policy {
                        Some(policy) => match admin.check(&key.label, policy.usage.into()) {
                            Ok(findings) => findings
                                .into_iter()
                                .filter(|finding| !finding.ok)
                                .map(|finding| finding.to_string())
                                .collect(),
                            Err(ProvisionError::Start(StartError::NotOneKey {
                                found,
                                class,
                                ..
                            })) => {
                                vec![format!(
                                    "{found} {class} keys have this label, one is wanted; remove what nobody \
                                     needs with the vendor's tools"
                                )]
                            }
                            Err(error) => return Err(error),
                        },
                        None => Vec::new(),
                    };
                    found.push(FoundKey {
                        label: key.label,
                        class: key.class.to_owned(),
                        public: key.public.map(|point| point.to_vec()),
                        violations,
                        wanted: policy.is_some(),
                    });
                }
                Ok(Response::Keys(found))
            }
            Request::Sign { label, digest } => {
                let digest: [u8; 32] = digest
                    .try_into()
                    .map_err(|_| ProvisionError::WrongResult("a digest has not 32 bytes"))?;
                let signature = self.admin()?.sign(&label, &digest)?;
                Ok(Response::Signature(signature.to_vec()))
            }
        }
    }

    /// Logs in at the first need: before that the token may not be there.
    fn admin(&mut self) -> Result<&TokenAdmin, ProvisionError> {
        if self.admin.is_none() {
            let pin = PinSource::File(self.user_pin.to_owned()).read()?;
            let uri = Pkcs11Uri::for_token(self.label);
            self.admin = Some(TokenAdmin::open(self.module, &uri, &pin)?);
        }
        self.admin
            .as_ref()
            .ok_or(ProvisionError::WrongResult("it is not open"))
    }
}
