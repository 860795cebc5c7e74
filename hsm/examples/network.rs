//! How much of a network HSM the crate uses: SoftHSM behind a module in which each call takes 2 ms, 30 at a time (that
//! is how such devices are: slow in answering, good at many at once). In turns, bare threads with a session each do the
//! same operations as fast as the module lets them, and the crate does them for many callers; the ratio counts.
//!
//! `cargo run --release -p twinseal-hsm --example network`

mod bare;
#[path = "bare/rate.rs"]
mod rate;

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use cryptoki::{
    context::Pkcs11,
    mechanism::Mechanism,
    object::{ObjectClass, ObjectHandle},
    session::Session,
};
use hsm::{
    AgreementKey, P256Point, SigningKey, TokenConfig, Tokens, WorkClass,
    pin::{Pin, PinSource},
    policy::KeyUse,
    provision::{self, TokenAdmin},
    uri::Pkcs11Uri,
    waiver::Waivers,
};
use twinseal_misbehaving_module::ModuleCopy;

/// What the module does: see `tests/misbehaving-module`.
const NETWORK: &str = "latency 2ms\nin-flight 30";

/// How long each measurement takes, and how many of each there are.
const MEASURED: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;

/// Bare threads, workers of the crate, and callers of it.
const BARE: usize = 32;
const SESSIONS: usize = 32;
const CALLERS: usize = 128;

/// Tells a process where its directory is: SoftHSM reads its configuration from the environment.
const DIRECTORY: &str = "TWINSEAL_NETWORK_DIRECTORY";

const LABEL: &str = "network";
const PIN: &str = "network-1234";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Some(directory) = env::var_os(DIRECTORY) {
        measure(Path::new(&directory))?;
        return Ok(ExitCode::SUCCESS);
    }
    let directory = tempfile::tempdir()?;
    let tokens = directory.path().join("tokens");
    fs::create_dir(&tokens)?;
    let configuration = directory.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(&configuration, text)?;
    let status = Command::new(env::current_exe()?)
        .env("SOFTHSM2_CONF", configuration)
        .env(DIRECTORY, directory.path())
        .status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(directory: &Path) -> Result<(), Box<dyn Error>> {
    let module = ModuleCopy::new(directory, "module")?;
    provision::init_token(module.path(), LABEL, &Pin::new(PIN), &Pin::new(PIN))?;
    let admin = TokenAdmin::open(module.path(), &Pkcs11Uri::for_token(LABEL), &Pin::new(PIN))?;
    let signing = admin.generate_p256("signing", KeyUse::Sign)?;
    let encryption = admin.generate_p256("encryption", KeyUse::Derive)?;
    let tokens = open(directory, module.path())?;
    let uri = Pkcs11Uri::for_key;
    let signing = tokens.signing_key(&uri("signing"), signing, WorkClass::Receipts)?;
    let encryption = tokens.agreement_key(&uri("encryption"), encryption)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?;
    let peer = point()?;
    module.does(NETWORK)?;
    print("operation   bare module   the crate   ratio");
    for round in 0..ROUNDS * 2 {
        let (name, bare, ours) = if round % 2 == 0 {
            let bare = bare_rate(module.path(), "signing", |session, key| {
                session.sign(&Mechanism::Ecdsa, key, &[7; 32]).is_ok()
            })?;
            ("sign", bare, runtime.block_on(sign(&signing)))
        } else {
            let bare = bare_rate(module.path(), "encryption", move |session, key| {
                bare::derive(session, key, peer.as_bytes()).is_ok()
            })?;
            ("derive", bare, runtime.block_on(derive(&encryption, peer)))
        };
        print(&format!(
            "{name:<11} {bare:>9.0}/s {ours:>9.0}/s   {:>5.2}",
            ours / bare
        ));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the results of a program")]
fn print(line: &str) {
    println!("{line}");
}

fn open(directory: &Path, module: &Path) -> Result<Tokens, Box<dyn Error>> {
    use std::os::unix::fs::PermissionsExt as _;
    let pin = directory.join("user.pin");
    fs::write(&pin, PIN)?;
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o600))?;
    let config = TokenConfig {
        module: module.to_owned(),
        uri: Pkcs11Uri::for_token(LABEL),
        pin: PinSource::File(pin),
        sessions: SESSIONS,
        queue_max: 4 * CALLERS,
        waivers: Waivers::default(),
    };
    Ok(Tokens::open(&[config], Duration::from_secs(60))?)
}

fn point() -> Result<P256Point, Box<dyn Error>> {
    let public = PrivateKey::generate(&ECDH_P256)?.compute_public_key()?;
    Ok(P256Point::from_uncompressed(public.as_ref().try_into()?)?)
}

/// Operations per second of threads that do nothing else.
fn bare_rate(
    module: &Path,
    label: &str,
    operation: impl Fn(&Session, ObjectHandle) -> bool + Copy + Send + Sync,
) -> Result<f64, Box<dyn Error>> {
    // The process is logged in already.
    let module = Pkcs11::new(module)?;
    let slot = module
        .get_slots_with_initialized_token()?
        .into_iter()
        .next()
        .ok_or("no token")?;
    let mut sessions = Vec::new();
    for _ in 0..BARE {
        sessions.push(module.open_rw_session(slot)?);
    }
    let Some(first) = sessions.first() else {
        return Err("no session".into());
    };
    let key = bare::key(first, ObjectClass::PRIVATE_KEY, label)?;
    Ok(rate::rate(sessions, MEASURED, |session| {
        operation(session, key)
    }))
}

async fn sign(key: &SigningKey) -> f64 {
    let key = key.clone();
    callers(move || {
        let key = key.clone();
        async move { key.sign([7; 32], soon()).await.is_ok() }
    })
    .await
}

async fn derive(key: &AgreementKey, peer: P256Point) -> f64 {
    let key = key.clone();
    callers(move || {
        let key = key.clone();
        async move { key.derive(&peer, soon()).await.is_ok() }
    })
    .await
}

/// Operations per second of the crate for many callers.
async fn callers<F: Future<Output = bool> + Send>(
    operation: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        let operation = operation.clone();
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) && operation().await {
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let started = Instant::now();
    tokio::time::sleep(MEASURED).await;
    let rate = done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    while tasks.join_next().await.is_some() {}
    rate
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}
