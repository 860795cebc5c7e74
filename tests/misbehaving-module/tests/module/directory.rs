//! A token directory of a test's own, and copies of the module in it. SoftHSM reads its configuration once per process,
//! so a test runs itself again in a process whose environment names the directory.

use std::{
    cell::{Cell, RefCell},
    env,
    fmt::Debug,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, Result, RvError},
    mechanism::Mechanism,
    object::{Attribute, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use tempfile::TempDir;
use twinseal_misbehaving_module::{softhsm, this_library};

/// Tells a process that it is the second one, and where its directory is.
const DIRECTORY: &str = "TWINSEAL_TEST_MODULE_DIRECTORY";

pub(crate) const LABEL: &str = "tested";

const PIN: &str = "correct-1234";

const SO_PIN: &str = "officer-1234";

/// DER of the curve P-256's object identifier.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// What is signed, in the place of a hash.
pub(crate) const DATA: [u8; 32] = [7; 32];

/// Where the running test has its tokens and modules.
pub(crate) struct Directory(PathBuf);

/// Runs a test in a process of its own, with a new directory.
pub(crate) fn in_a_new_directory<F: FnOnce(&Directory)>(test: F) {
    let name = name_of(&test);
    let Some((output, has_passed)) = run(name, test) else {
        return;
    };
    // Without the file, no test of that name was run.
    assert!(
        output.status.success() && has_passed,
        "{name}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a test that must end its process, and gives what it said last.
pub(crate) fn last_words_of<F: FnOnce(&Directory)>(test: F) -> Option<String> {
    let (output, has_passed) = run(name_of(&test), test)?;
    assert!(!output.status.success() && !has_passed);
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Gives what became of the second process; none in the second process itself.
fn run<F: FnOnce(&Directory)>(name: &str, test: F) -> Option<(Output, bool)> {
    if let Some(path) = env::var_os(DIRECTORY) {
        let directory = Directory(path.into());
        test(&directory);
        fs::write(directory.path("passed"), "").unwrap();
        return None;
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
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", configuration)
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    Some((output, directory.path().join("passed").exists()))
}

/// The name of the test function that a closure stands in: `module::topic::test::{{closure}}` is its type's name.
fn name_of<F>(_: &F) -> &'static str {
    std::any::type_name::<F>()
        .strip_prefix("module::")
        .and_then(|name| name.strip_suffix("::{{closure}}"))
        .unwrap()
}

impl Directory {
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    /// A copy of the module around a copy of SoftHSM.
    pub(crate) fn module(&self, name: &str) -> Misbehaving {
        let path = self.path(&format!("{name}.so"));
        let wrapped = self.path(&format!("{name}-softhsm.so"));
        fs::copy(this_library().unwrap(), &path).unwrap();
        fs::copy(softhsm().unwrap(), &wrapped).unwrap();
        let module = Misbehaving {
            path,
            wrapped,
            lines: RefCell::default(),
            reports: Cell::default(),
        };
        module.control("");
        module
    }
}

/// A copy of the module, and what it was told.
pub(crate) struct Misbehaving {
    pub(crate) path: PathBuf,
    wrapped: PathBuf,
    lines: RefCell<String>,
    reports: Cell<u32>,
}

/// A report of the module.
pub(crate) struct Report(String);

impl Report {
    /// What stands after a name; nothing if its line is not there.
    pub(crate) fn of(&self, name: &str) -> &str {
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .unwrap_or("")
    }
}

impl Misbehaving {
    /// Writes the control file: these lines, and which module it is.
    pub(crate) fn control(&self, lines: &str) {
        self.lines.replace(lines.to_owned());
        self.write(&format!("module {}\n{lines}\n", self.wrapped.display()));
    }

    /// Writes the control file as it is given.
    pub(crate) fn write(&self, text: &str) {
        let beside = |ending: &str| PathBuf::from(format!("{}{ending}", self.path.display()));
        fs::write(beside(".control.new"), text).unwrap();
        fs::rename(beside(".control.new"), beside(".control")).unwrap();
    }

    /// Loads it, as a caller does that knows nothing of it.
    pub(crate) fn load(&self) -> Pkcs11 {
        Pkcs11::new(&self.path).unwrap()
    }

    /// Begins a life of it.
    pub(crate) fn begin(&self) -> Pkcs11 {
        let module = self.load();
        initialize(&module).unwrap();
        module
    }

    /// Begins its first life, with a token.
    pub(crate) fn begin_with_token(&self) -> Pkcs11 {
        let module = self.begin();
        let slot = module.get_slots_with_token().unwrap()[0];
        let so_pin = AuthPin::from(SO_PIN.to_owned());
        module.init_token(slot, &so_pin, LABEL).unwrap();
        let session = module.open_rw_session(tested(&module)).unwrap();
        session.login(UserType::So, Some(&so_pin)).unwrap();
        session.init_pin(&AuthPin::from(PIN.to_owned())).unwrap();
        module
    }

    /// What it counted until now.
    pub(crate) fn report(&self, module: &Pkcs11) -> Report {
        let number = self.reports.get() + 1;
        self.reports.set(number);
        let lines = self.lines.borrow().clone();
        self.write(&format!(
            "module {}\n{lines}\nreport {number}\n",
            self.wrapped.display()
        ));
        // Any call will do, even one that fails.
        let _ = module.get_library_info();
        let text = fs::read_to_string(format!("{}.calls", self.path.display())).unwrap();
        assert!(text.starts_with(&format!("report {number}\n")), "{text}");
        Report(text)
    }

    /// Waits until so many calls hang.
    pub(crate) fn until_hanging(&self, module: &Pkcs11, count: &str) {
        while self.report(module).of("hanging") != count {
            std::thread::yield_now();
        }
    }
}

pub(crate) fn initialize(module: &Pkcs11) -> Result<()> {
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

/// The slot of the token.
pub(crate) fn tested(module: &Pkcs11) -> Slot {
    module
        .get_slots_with_initialized_token()
        .unwrap()
        .into_iter()
        .find(|slot| module.get_token_info(*slot).unwrap().label() == LABEL)
        .unwrap()
}

pub(crate) fn login(session: &Session) -> Result<()> {
    session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned())))
}

/// A session that is logged in.
pub(crate) fn session(module: &Pkcs11) -> Session {
    let session = module.open_rw_session(tested(module)).unwrap();
    match login(&session) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
        Err(error) => panic!("{error}"),
    }
}

/// Makes a key pair on P-256 that is used as these attributes of the private key say.
pub(crate) fn generate(session: &Session, label: &str, usage: &[Attribute]) -> ObjectHandle {
    let common = [
        Attribute::Token(true),
        Attribute::Label(label.into()),
        Attribute::Id(label.into()),
    ];
    let public = [&common[..], &[Attribute::EcParams(P256.to_vec())]].concat();
    let private = [&common[..], usage].concat();
    let (_, private) = session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .unwrap();
    private
}

/// Makes a key pair that signs.
pub(crate) fn generate_signing(session: &Session, label: &str) -> ObjectHandle {
    let usage = [Attribute::Sign(true), Attribute::Derive(false)];
    generate(session, label, &usage)
}

/// All objects of a class with this label.
pub(crate) fn find_all(session: &Session, class: ObjectClass, label: &str) -> Vec<ObjectHandle> {
    session
        .find_objects(&[Attribute::Class(class), Attribute::Label(label.into())])
        .unwrap()
}

pub(crate) fn private(session: &Session, label: &str) -> ObjectHandle {
    find_all(session, ObjectClass::PRIVATE_KEY, label)[0]
}

pub(crate) fn sign(session: &Session, key: ObjectHandle) -> Result<Vec<u8>> {
    session.sign(&Mechanism::Ecdsa, key, &DATA)
}

/// Verifies a signature with the public key of this label.
pub(crate) fn verify(session: &Session, label: &str, signature: &[u8]) -> Result<()> {
    let key = find_all(session, ObjectClass::PUBLIC_KEY, label)[0];
    session.verify(&Mechanism::Ecdsa, key, &DATA, signature)
}

/// The code with which a call failed.
pub(crate) fn code<T: Debug>(result: Result<T>) -> RvError {
    match result {
        Err(Error::Pkcs11(code, _)) => code,
        other => panic!("{other:?}"),
    }
}
