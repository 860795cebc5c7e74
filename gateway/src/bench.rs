//! `bench`: what the store carries on this machine, beside what the bare database does with the same rows.
//!
//! Store and bare database take turns in one run, so that whatever else the machine does meets both.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use protocol::{
    authorization::Capture,
    identifiers::{AuthorizationId, ClientNonce, Digest, Jti, MerchantNonce, Sid, Xid},
    money::{Amount, Currency},
    names::{ClientName, MerchantName},
};

use crate::{
    card_issuer::Status,
    cli::Bench,
    config::Postgres,
    output::{print, print_json, progress},
    store::{
        Store,
        commands::{
            AddAccount, Authorize, Authorized, Evidence, NewAccount, NewInstrument, SignedByPayer,
        },
        postgres::PostgresStore,
        sqlite::{SqliteStore, bare},
    },
};

/// How long one authorization may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How many authorizations one step of filling has.
const FILL_STEP: u64 = 20_000;

/// How many transactions are looked up to measure looking up.
const LOOK_UPS: u64 = 5_000;

/// What each authorization is about, in minor units, of accounts that never end.
const AMOUNT: u64 = 100;
const FUNDS: u64 = 1 << 50;

/// Measures, and tells what was found.
pub(crate) async fn run(options: Bench) -> Result<ExitCode, Box<dyn Error>> {
    let measured = match &options.postgres {
        Some(file) => on_postgres(&options, file).await?,
        None => on_sqlite(&options).await?,
    };
    if options.json {
        print_json(&measured)?;
    } else {
        for phase in &measured {
            phase.print();
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was measured of a store with so many authorizations.
#[derive(serde::Serialize)]
struct Phase {
    database: &'static str,
    authorizations_before: u64,
    store_per_second: f64,
    bare_per_second: f64,
    ratio: f64,
    inquiry_median_microseconds: f64,
    inquiry_p99_microseconds: f64,
    resident_mebibytes: f64,
}

impl Phase {
    fn print(&self) {
        let line = |name: &str, value: f64, unit: &str| {
            print(&format!("  {name:<34}{value:>10.0} {unit}"));
        };
        print(&format!(
            "{}, {} authorizations before",
            self.database, self.authorizations_before
        ));
        line("the store, authorizations", self.store_per_second, "/s");
        line("the bare database, same rows", self.bare_per_second, "/s");
        print(&format!("  {:<34}{:>10.2}", "ratio", self.ratio));
        line("inquiry, median", self.inquiry_median_microseconds, "µs");
        line("inquiry, 99 of 100", self.inquiry_p99_microseconds, "µs");
        line("memory of this process", self.resident_mebibytes, "MiB");
    }
}

async fn on_sqlite(options: &Bench) -> Result<Vec<Phase>, Box<dyn Error>> {
    let directory = Directory::make(&options.directory)?;
    let path = directory.0.join("bench.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path)?);
    let mut bench = Requests::new(options);
    bench.add_accounts(&*store).await?;
    let bare = async |requests: &[Authorize]| {
        bare::write_approvals(&path, requests, options.at_once).map_err(Box::<dyn Error>::from)
    };
    let mut phases = vec![measure("SQLite", options, &mut bench, &store, bare).await?];
    if let Some(count) = options.fill {
        fill(&mut bench, &path, count, options.at_once)?;
        phases.push(measure("SQLite", options, &mut bench, &store, bare).await?);
    }
    if let Some(keep) = &options.keep {
        // Its last user brings the log back.
        drop(store);
        fs::rename(&path, keep).map_err(|error| {
            format!(
                "{} can't be kept as {}: {error}; name a file on the same disk",
                path.display(),
                keep.display()
            )
        })?;
    }
    Ok(phases)
}

async fn on_postgres(options: &Bench, file: &Path) -> Result<Vec<Phase>, Box<dyn Error>> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("can't read {}: {error}", file.display()))?;
    let config: Postgres = toml::from_str(&text)
        .map_err(|error| format!("{}: {}", file.display(), error.message()))?;
    let directory = file.parent().unwrap_or(Path::new(""));
    let postgres = Arc::new(PostgresStore::open(&config, directory).await?);
    if !postgres.accounts(None).await?.is_empty() {
        return Err(format!("{config} is not empty; make a database for this alone").into());
    }
    let store: Arc<dyn Store> = Arc::clone(&postgres) as Arc<dyn Store>;
    let mut bench = Requests::new(options);
    bench.add_accounts(&*store).await?;
    let bare = async |requests: &[Authorize]| {
        let written = postgres.write_approvals(requests, options.at_once);
        written.await.map_err(Box::<dyn Error>::from)
    };
    let phase = measure("PostgreSQL", options, &mut bench, &store, bare).await?;
    Ok(vec![phase])
}

/// Has store and bare database take turns.
async fn measure(
    database: &'static str,
    options: &Bench,
    bench: &mut Requests,
    store: &Arc<dyn Store>,
    bare: impl AsyncFn(&[Authorize]) -> Result<Duration, Box<dyn Error>>,
) -> Result<Phase, Box<dyn Error>> {
    let authorizations_before = bench.made;
    let progress = progress("measuring, round");
    progress.set_length(options.rounds as u64);
    let (mut of_store, mut of_bare) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..options.rounds {
        let requests = bench.make(options.authorizations)?;
        of_store += authorize_all(store, requests, options.at_once).await?;
        let requests = bench.make(options.authorizations)?;
        of_bare += bare(&requests).await?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let mut inquiries = Vec::new();
    for number in 0..LOOK_UPS.min(bench.made) {
        // Spread over all that were made, none twice.
        let xid = xid_of(number * (bench.made / LOOK_UPS).max(1));
        let started = Instant::now();
        let found = store.find_by_xid(xid).await?;
        store.receipts_after(xid).await?;
        inquiries.push(started.elapsed());
        found.ok_or("an authorization is not there")?;
    }
    inquiries.sort();
    let at = |part: usize| inquiries[inquiries.len() * part / 100].as_secs_f64() * 1e6;
    let per_second =
        |time: Duration| (options.authorizations * options.rounds) as f64 / time.as_secs_f64();
    Ok(Phase {
        database,
        authorizations_before,
        store_per_second: per_second(of_store),
        bare_per_second: per_second(of_bare),
        ratio: of_bare.as_secs_f64() / of_store.as_secs_f64(),
        inquiry_median_microseconds: at(50),
        inquiry_p99_microseconds: at(99),
        resident_mebibytes: resident_mebibytes()?,
    })
}

/// Sends all, so many at once.
async fn authorize_all(
    store: &Arc<dyn Store>,
    requests: Vec<Authorize>,
    at_once: usize,
) -> Result<Duration, Box<dyn Error>> {
    let requests: Arc<[std::sync::Mutex<Option<Authorize>>]> = requests
        .into_iter()
        .map(|request| std::sync::Mutex::new(Some(request)))
        .collect();
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    let started = Instant::now();
    for _ in 0..at_once {
        let (store, requests, next) = (Arc::clone(store), Arc::clone(&requests), Arc::clone(&next));
        running.spawn(async move {
            while let Some(slot) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let request = slot.lock().ok().and_then(|mut request| request.take());
                let Some(request) = request else { continue };
                let deadline = Instant::now() + DEADLINE;
                match store.authorize(request, deadline).await {
                    Ok(Authorized::Decided(_)) => {}
                    Ok(_) => return Err("it was decided before".to_owned()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            Ok(())
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(started.elapsed())
}

/// Fills the file with the rows of approvals.
fn fill(bench: &mut Requests, path: &Path, count: u64, group: usize) -> Result<(), Box<dyn Error>> {
    let progress = progress("filling, authorization");
    progress.set_length(count);
    let mut left = count;
    while left > 0 {
        let step = left.min(FILL_STEP);
        let requests = bench.make(usize::try_from(step)?)?;
        bare::write_approvals(path, &requests, group)?;
        progress.inc(step);
        left -= step;
    }
    progress.finish_and_clear();
    Ok(())
}

/// Makes authorization requests, each another.
struct Requests {
    accounts: u32,
    evidence: usize,
    merchant: MerchantName,
    currency: Currency,
    /// How many were made.
    made: u64,
}

impl Requests {
    #[expect(
        clippy::expect_used,
        reason = "the name and the currency are constants"
    )]
    fn new(options: &Bench) -> Self {
        Self {
            accounts: options.accounts.max(1),
            evidence: options.evidence,
            merchant: MerchantName::new("bench").expect("a name"),
            currency: "EUR".parse().expect("a currency"),
            made: 0,
        }
    }

    async fn add_accounts(&self, store: &dyn Store) -> Result<(), Box<dyn Error>> {
        for number in 0..self.accounts {
            let account = NewAccount {
                label: "bench".to_owned(),
                client: client(number)?,
                client_key: Digest::of(b"key"),
                currency: self.currency,
                funds: FUNDS,
                amount_limit: None,
                velocity: None,
                status: Status::Active,
                instruments: vec![NewInstrument {
                    index: instrument(number),
                    kind: "card",
                    last_four: "1111".to_owned(),
                    expiry: None,
                    status: Status::Active,
                }],
            };
            let now = mtls::now();
            let deadline = Instant::now() + DEADLINE;
            store
                .add_account(AddAccount { account, now }, deadline)
                .await?;
        }
        Ok(())
    }

    fn make(&mut self, count: usize) -> Result<Vec<Authorize>, Box<dyn Error>> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Result<Authorize, Box<dyn Error>> {
        let number = self.made;
        self.made += 1;
        let account = u32::try_from(number % u64::from(self.accounts))?;
        let now = mtls::now();
        let jti = Jti::at(now)?;
        Ok(Authorize {
            merchant: self.merchant.clone(),
            jti,
            reqh: Digest::of(jti.as_bytes()),
            signed: SignedByPayer {
                xid: xid_of(number),
                client: client(account)?,
                client_x5t: Digest::of(b"certificate"),
                sid: Sid::random()?,
                nc: ClientNonce::random()?,
                nm: MerchantNonce::random()?,
                dsh: Digest::of(b"signature"),
            },
            client_key: Digest::of(b"key"),
            amount: Amount::new(AMOUNT, self.currency)?,
            capture: Capture::Later,
            instrument_index: instrument(account),
            instrument_expiry: None,
            instrument_last_four: "1111".to_owned(),
            evidence: Evidence {
                request: "x".repeat(self.evidence / 2),
                dual_signature: Some("x".repeat(self.evidence / 2)),
                payment_information: Some(vec![0; 300]),
            },
            receipt_jti: Jti::at(now)?,
            authorization: AuthorizationId::random()?,
            now,
            capture_before: now.plus(7 * 24 * 60 * 60),
        })
    }
}

fn client(number: u32) -> Result<ClientName, Box<dyn Error>> {
    Ok(ClientName::new(&format!("bench{number:011}"))?)
}

fn instrument(number: u32) -> [u8; 32] {
    *Digest::of(&number.to_be_bytes()).as_bytes()
}

/// As a payer draws it ([`Xid::at`]), a thousand a second from a day in the past on, but found again by its number.
fn xid_of(number: u64) -> Xid {
    const FIRST: u64 = 1_700_000_000;
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Digest::of(&number.to_be_bytes()).as_bytes()[..16]);
    let milliseconds = (FIRST + number / 1000) * 1000;
    bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    Xid::from_bytes(bytes)
}

/// What this process has in memory (proc(5), statm).
fn resident_mebibytes() -> Result<f64, Box<dyn Error>> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).ok_or("statm")?.parse()?;
    Ok(pages * 4096.0 / (1 << 20) as f64)
}

/// A directory for the time of the measurement.
struct Directory(PathBuf);

impl Directory {
    fn make(inside: &Path) -> Result<Self, Box<dyn Error>> {
        let path = inside.join(format!("twinseal-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| {
            format!(
                "{} can't be made: {error}; name a directory with --in",
                path.display()
            )
        })?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "left behind");
        }
    }
}
