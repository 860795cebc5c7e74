//! The process that a check runs in. Where a module keeps its tokens stands in the environment, once per
//! process: a check runs itself again in one that has a new directory.

use std::{env, fs, path::PathBuf, process::Command, time::Duration};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use hsm::{
    StartError, TokenConfig, Tokens,
    pin::{Pin, PinSource},
    policy::KeyUse,
    provision::{self, TokenAdmin},
    uri::Pkcs11Uri,
};
use tempfile::TempDir;

use crate::modules::Module;

/// Tells a process that it is the second one, and where its directory is.
const DIRECTORY: &str = "TWINSEAL_TEST_MODULE_DIRECTORY";

/// The token's label.
pub(crate) const LABEL: &str = "tested";

/// The token's user PIN.
pub(crate) const PIN: &str = "correct-1234";

/// A key of each use.
pub(crate) const KEYS: [(&str, KeyUse); 4] = [
    ("signing", KeyUse::Sign),
    ("encryption", KeyUse::Derive),
    ("data", KeyUse::Encrypt),
    ("index", KeyUse::Mac),
];

/// A module, in a process that may load it.
pub(crate) struct Bench {
    pub(crate) module: Module,
    pub(crate) directory: PathBuf,
}

/// Runs a check in a process of its own.
pub(crate) fn run(module: Module, test: &str, check: fn(&Bench)) {
    if let Some(directory) = env::var_os(DIRECTORY) {
        let directory = PathBuf::from(directory);
        let passed = directory.join("passed");
        check(&Bench { module, directory });
        fs::write(passed, "").unwrap();
        return;
    }
    let directory = TempDir::new().unwrap();
    let (environment, _server) = module.prepare(directory.path());
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs(environment)
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    // Without the file, no test of that name was run.
    assert!(
        output.status.success() && directory.path().join("passed").exists(),
        "{test}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Bench {
    /// The module's library.
    pub(crate) fn library(&self) -> PathBuf {
        self.module.library(&self.directory)
    }

    /// Initialises a token.
    pub(crate) fn init_token(&self) {
        let (so_pin, pin) = (Pin::new(self.module.so_pin()), Pin::new(PIN));
        provision::init_token(&self.library(), LABEL, &so_pin, &pin).unwrap();
    }

    /// Initialises a token and logs in.
    pub(crate) fn new_token(&self) -> TokenAdmin {
        self.init_token();
        TokenAdmin::open(
            &self.library(),
            &Pkcs11Uri::for_token(LABEL),
            &Pin::new(PIN),
        )
        .unwrap()
    }

    /// Initialises a token and makes a key of each use.
    pub(crate) fn token_with_keys(&self) -> TokenAdmin {
        let admin = self.new_token();
        for (label, usage) in KEYS {
            match usage {
                KeyUse::Sign | KeyUse::Derive => admin.generate_p256(label, usage).map(drop),
                KeyUse::Encrypt => admin.generate_aes256(label),
                KeyUse::Mac => admin.generate_hmac(label),
            }
            .unwrap();
        }
        admin
    }

    /// How a program that serves would open the token.
    pub(crate) fn config(&self, pin: &str) -> TokenConfig {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.directory.join("user.pin");
        fs::write(&file, pin).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        TokenConfig {
            module: self.library(),
            uri: Pkcs11Uri::for_token(LABEL),
            pin: PinSource::File(file),
            sessions: 2,
            queue_max: 1024,
            waivers: self.module.waivers(),
        }
    }

    /// The token with its keys, as a program that serves has it.
    pub(crate) fn open(&self) -> Tokens {
        self.open_with(PIN).unwrap()
    }

    /// The same with a PIN that may be wrong.
    pub(crate) fn open_with(&self, pin: &str) -> Result<Tokens, StartError> {
        Tokens::open(&[self.config(pin)], Duration::from_secs(60))
    }

    /// The module without our crate around it, which initialised it.
    pub(crate) fn bare_module(&self) -> Pkcs11 {
        let module = Pkcs11::new(self.library()).unwrap();
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => module,
            Err(error) => panic!("{error}"),
        }
    }

    /// The token's slot.
    pub(crate) fn slot(&self, module: &Pkcs11) -> Slot {
        module
            .get_slots_with_initialized_token()
            .unwrap()
            .into_iter()
            .find(|slot| module.get_token_info(*slot).unwrap().label() == LABEL)
            .unwrap()
    }

    /// A session without our crate around it, logged in.
    pub(crate) fn bare_session(&self) -> Session {
        let module = self.bare_module();
        let session = module.open_rw_session(self.slot(&module)).unwrap();
        match session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Runs a future of a check.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}
