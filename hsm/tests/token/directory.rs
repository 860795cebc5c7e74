//! A token directory of a test's own. SoftHSM reads its configuration once per process, so a test runs
//! itself again in a process whose environment names the directory.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    object::{Attribute, ObjectClass, ObjectHandle},
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
    waiver::Waivers,
};
use tempfile::TempDir;

/// Tells a process that it is the second one, and where its directory is.
const DIRECTORY: &str = "TWINSEAL_TEST_TOKEN_DIRECTORY";

/// The token's label.
pub(crate) const LABEL: &str = "tested";

/// The token's user PIN.
pub(crate) const PIN: &str = "correct-1234";

/// Holds the PIN in the environment of the second process.
pub(crate) const PIN_VARIABLE: &str = "TWINSEAL_TEST_PIN";

/// The PIN of its security officer.
pub(crate) const SO_PIN: &str = "officer-1234";

/// The gateway's keys, as `softhsm-setup init` makes them.
pub(crate) const GATEWAY_KEYS: [(&str, KeyUse); 5] = [
    ("tls", KeyUse::Sign),
    ("signing", KeyUse::Sign),
    ("encryption", KeyUse::Derive),
    ("data", KeyUse::Encrypt),
    ("index", KeyUse::Mac),
];

/// Where the tokens of the running test are.
pub(crate) struct TokenDirectory(PathBuf);

/// Runs a test in a process of its own, with a new token directory.
pub(crate) fn in_a_new_directory<F: FnOnce(&TokenDirectory)>(test: F) {
    if let Some(path) = env::var_os(DIRECTORY) {
        let directory = TokenDirectory(path.into());
        test(&directory);
        fs::write(directory.path("passed"), "").unwrap();
        return;
    }
    let directory = TempDir::new().unwrap();
    let tokens = directory.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let configuration = directory.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(&configuration, text).unwrap();
    let name = name_of(&test);
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", configuration)
        .env(DIRECTORY, directory.path())
        .env(PIN_VARIABLE, PIN)
        .output()
        .unwrap();
    // Without the file, no test of that name was run.
    assert!(
        output.status.success() && directory.path().join("passed").exists(),
        "{name}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The name of the test function that a closure stands in: `token::topic::test::{{closure}}` is its
/// type's name.
fn name_of<F>(_: &F) -> &'static str {
    std::any::type_name::<F>()
        .strip_prefix("token::")
        .and_then(|name| name.strip_suffix("::{{closure}}"))
        .unwrap()
}

/// Runs a future of a test.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

impl TokenDirectory {
    /// A path in it.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    /// SoftHSM.
    pub(crate) fn module(&self) -> &'static Path {
        twinseal_misbehaving_module::softhsm().unwrap()
    }

    /// Makes a token and logs in.
    pub(crate) fn new_token(&self) -> TokenAdmin {
        self.init_token(LABEL);
        TokenAdmin::open(self.module(), &Pkcs11Uri::for_token(LABEL), &Pin::new(PIN)).unwrap()
    }

    /// Makes a token with this label.
    pub(crate) fn init_token(&self, label: &str) {
        let (so_pin, pin) = (Pin::new(SO_PIN), Pin::new(PIN));
        provision::init_token(self.module(), label, &so_pin, &pin).unwrap();
    }

    /// Makes a token that nobody but its security officer can log in to.
    pub(crate) fn init_token_without_user_pin(&self, label: &str) {
        // Our crate loads the module first, as it does not take one that somebody else loaded.
        provision::tokens(self.module()).unwrap();
        let module = self.bare_module();
        let free = module
            .get_slots_with_token()
            .unwrap()
            .into_iter()
            .find(|slot| !module.get_token_info(*slot).unwrap().token_initialized())
            .unwrap();
        let so_pin = AuthPin::from(SO_PIN.to_owned());
        module.init_token(free, &so_pin, label).unwrap();
    }

    /// Makes a token with the gateway's keys.
    pub(crate) fn gateway_token(&self) -> TokenAdmin {
        let admin = self.new_token();
        for (label, usage) in GATEWAY_KEYS {
            match usage {
                KeyUse::Sign | KeyUse::Derive => {
                    admin.generate_p256(label, usage).unwrap();
                }
                KeyUse::Encrypt => admin.generate_aes256(label).unwrap(),
                KeyUse::Mac => admin.generate_hmac(label).unwrap(),
            }
        }
        admin
    }

    /// How a program that serves would open the token.
    pub(crate) fn config(&self) -> TokenConfig {
        let pin_file = self.path("user.pin");
        write_pin(&pin_file, PIN, 0o600);
        TokenConfig {
            module: self.module().to_owned(),
            uri: Pkcs11Uri::for_token(LABEL),
            pin: PinSource::File(pin_file),
            sessions: 2,
            queue_max: 64,
            waivers: Waivers::default(),
        }
    }

    /// Opens the token that must not open.
    pub(crate) fn refused(&self, config: &TokenConfig) -> StartError {
        match open(config) {
            Ok(_) => panic!("the token was opened"),
            Err(error) => error,
        }
    }

    /// The module without our crate around it.
    pub(crate) fn bare_module(&self) -> Pkcs11 {
        let module = Pkcs11::new(self.module()).unwrap();
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Our crate did it first: there is one C_Initialize per process.
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

    /// A session without our crate around it, with all that the PIN allows.
    pub(crate) fn bare_session(&self) -> Session {
        let module = self.bare_module();
        let session = module.open_rw_session(self.slot(&module)).unwrap();
        match session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Opens one token.
pub(crate) fn open(config: &TokenConfig) -> Result<Tokens, StartError> {
    Tokens::open(std::slice::from_ref(config), Duration::from_secs(60))
}

/// The private or secret key with this label.
pub(crate) fn secret_part(session: &Session, label: &str) -> ObjectHandle {
    let mut found = Vec::new();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY] {
        let template = [Attribute::Class(class), Attribute::Label(label.into())];
        found.extend(session.find_objects(&template).unwrap());
    }
    assert_eq!(found.len(), 1, "{label}");
    found[0]
}

/// Writes a PIN file.
pub(crate) fn write_pin(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
