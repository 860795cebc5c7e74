//! The gateway under load, on one machine: how many authorizations per second, what CPU time each takes,
//! and how that compares with what an authorization can't do without.
//!
//! `cargo run --release -p twinseal-tests --bin load` builds what it needs, provisions a directory of its
//! own, signs the requests of many clients beforehand, and sends them over kept mutual TLS connections to
//! the real gateway with its durable store. It prints its results and takes no side.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for developers: what fails ends it, what it finds it prints"
)]

mod network;
mod soak;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        ParsedPublicKey,
    },
};
use clap::Parser;
use hyper::body::Bytes;
use mtls::client::HttpClient;
use network::Network;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use twinseal_tests::{
    parties::{Parties, authorize, card, euros},
    place::Place,
    service::Service,
};

/// The gateway under load, beside the floor that no gateway can be below.
#[derive(Parser)]
struct Options {
    /// Purchases that are measured.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Purchases before them, to warm up.
    #[arg(long, default_value_t = 2_000)]
    warm_up: usize,
    /// Payers, each with a certificate, an account and a card.
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Kept connections, a request at a time on each.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// PKCS#11 sessions of the gateway.
    #[arg(long, default_value_t = 4)]
    sessions: i64,
    /// The gateway's store, one that has much in it for example (`twinseal-gateway bench --fill N --keep FILE`); it is
    /// changed. A new one without it.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Go on for so many minutes instead, and tell each half minute what memory and latency are: an hour is a soak.
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,
    /// Have each call to the token take so many milliseconds (2), 30 at a time, as a network HSM does, and tell how much
    /// of what that allows is used; give some --sessions.
    #[arg(long, value_name = "MILLISECONDS", num_args = 0..=1, default_missing_value = "2", conflicts_with = "soak")]
    network_hsm: Option<u32>,
    /// Print JSON.
    #[arg(long, conflicts_with_all = ["soak", "network_hsm"])]
    json: bool,
}

fn main() {
    let options = Options::parse();
    build();
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config["token"]["sessions"] = options.sessions.into();
        config["token"]["queue_max"] = 4096.into();
        config["limits"]["requests_per_second"] = 1_000_000.into();
        if let Some(store) = &options.store {
            let store = fs::canonicalize(store).unwrap();
            config["store"]["path"] = store.to_str().unwrap().into();
        }
        // One merchant at one address has all connections, and may replace each.
        for limit in [
            "connections",
            "connections_per_address",
            "connections_per_party",
            "handshakes",
            "handshakes_per_address",
        ] {
            config["limits"][limit] = (2 * options.connections.max(1)).into();
        }
    });
    eprintln!("making {} clients with accounts", options.clients);
    let parties = clients(&place, options.clients);
    let bodies = match options.soak {
        Some(_) => Vec::new(),
        None => sign(&parties, options.warm_up + options.requests),
    };

    let floor_module = place.configured("gateway/gateway.toml", "token", "module");
    let network = options
        .network_hsm
        .map(|milliseconds| Network::before(&place, milliseconds));
    let before = network.as_ref().map(|network| network.bare(&place));
    let environment = environment(&place);
    let gateway = Service::start(
        "twinseal-gateway",
        &place.path("gateway/gateway.toml"),
        // As in operation; tests log more.
        &[&environment[..], &[("RUST_LOG", "info".into())]].concat(),
        &["merchants", "payers", "admin"],
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let links: Vec<HttpClient> = (0..options.connections)
        .map(|_| parties[0].to_gateway(&gateway))
        .collect();
    if let Some(minutes) = options.soak {
        let leak = Floor::measure(&place, &floor_module, 20_000).derive_leak;
        let parties: Arc<[Parties]> = parties.into();
        soak::run(&runtime, &parties, &links, gateway.pid(), minutes, leak);
        return;
    }
    let (warm_up, measured) = bodies.split_at(options.warm_up);
    runtime.block_on(send(&links, warm_up));
    eprintln!("sending {} purchases", measured.len());
    let cpu_before = process_cpu(gateway.pid());
    let started = Instant::now();
    runtime.block_on(send(&links, measured));
    let elapsed = started.elapsed();
    let cpu = process_cpu(gateway.pid()) - cpu_before;
    drop(links);

    drop(gateway);
    let floor = Floor::measure(&place, &floor_module, 20_000);
    report(&options, elapsed, cpu, &floor);
    if let Some((network, before)) = network.zip(before) {
        let bare = f64::midpoint(before, network.bare(&place));
        let rate = options.requests as f64 / elapsed.as_secs_f64();
        println!("bare threads at the network HSM{bare:8.0}");
        println!("ratio, gateway to bare threads{:9.2}", rate / bare);
    }
}

/// Builds the programs and the floor, so that one command is enough.
fn build() {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--workspace", "--bins"])
        .args(["--example", "floor", "--example", "mix"])
        .status()
        .unwrap();
    assert!(status.success(), "cargo build");
}

/// What a gateway, and what it is compared with, is started with: the token, and the allocator as the unit sets it.
fn environment(place: &Place) -> Vec<(&'static str, PathBuf)> {
    const UNIT: &str = include_str!("../../../../deploy/systemd/twinseal-gateway.service");
    let set = |line: &'static str| line.strip_prefix("Environment=GLIBC_TUNABLES=");
    let allocator = UNIT.lines().find_map(set).unwrap();
    let [token] = place.token_environment();
    vec![token, ("GLIBC_TUNABLES", allocator.into())]
}

/// Clients in directories of their own, and an account with a card for each.
fn clients(place: &Place, count: usize) -> Vec<Parties> {
    let mut accounts = String::new();
    let parties = (0..count)
        .map(|number| {
            let directory = format!("payer-{number}");
            place.setup(&["client", "--out", &directory]);
            let mut parties = Parties::with(place, &directory, "merchant");
            let pan = format!("4{number:015}");
            accounts += &format!(
                "[[account]]\nlabel = \"load\"\nclient = \"{}\"\n\
                 certificate = \"../{directory}/signing.pem\"\ncurrency = \"EUR\"\n\
                 funds = 1000000000000\nstatus = \"active\"\n\
                 [[account.instrument]]\ntype = \"card\"\npan = \"{pan}\"\nexpiry = \"2031-12\"\n\
                 status = \"active\"\n",
                parties.client
            );
            parties.card = card(&pan, "2031-12");
            parties
        })
        .collect();
    let path = place.path("gateway/load-accounts.toml");
    fs::write(&path, accounts).unwrap();
    place.gateway_cli(&["accounts", "add", "--from", path.to_str().unwrap()]);
    parties
}

fn sign(parties: &[Parties], count: usize) -> Vec<Bytes> {
    eprintln!("signing {count} purchases");
    (0..count)
        .map(|number| {
            let payer = &parties[number % parties.len()];
            let purchase = payer.purchase(euros(100), payer.card.clone());
            Bytes::from(purchase.bytes())
        })
        .collect()
}

/// Sends all, each connection the next one that is left.
async fn send(links: &[HttpClient], bodies: &[Bytes]) {
    let bodies: Arc<[Bytes]> = bodies.into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    for link in links {
        let (link, bodies, next) = (link.clone(), Arc::clone(&bodies), Arc::clone(&next));
        running.spawn(async move {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = authorize(&link, body.clone()).await;
                assert_eq!(answer.status, 200, "{:?}", answer.body);
            }
        });
    }
    running.join_all().await;
}

/// User and system time of a process so far, as the kernel accounts it (proc(5), stat).
fn process_cpu(pid: u32) -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field is the name in parentheses, and may hold anything.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// CPU seconds of what an authorization can't do without.
struct Floor {
    derive: f64,
    sign: f64,
    verify: f64,
    /// Bytes that the module loses with each derivation.
    derive_leak: f64,
}

impl Floor {
    fn measure(place: &Place, module: &str, count: u32) -> Self {
        let output = Command::new(twinseal_tests::service::program("examples/floor"))
            .args([module, "twinseal-gateway"])
            .arg(place.path("gateway/user.pin"))
            .arg(count.to_string())
            .envs(environment(place))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the floor was not measured");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        Self {
            derive: found["derive_cpu_seconds"].as_f64().unwrap(),
            sign: found["sign_cpu_seconds"].as_f64().unwrap(),
            verify: verify(count),
            derive_leak: found["derive_leak_bytes"].as_f64().unwrap(),
        }
    }

    fn seconds(&self) -> f64 {
        self.derive + self.sign + 3.0 * self.verify
    }
}

/// One verification, with the library that the gateway verifies with.
fn verify(count: u32) -> f64 {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let message = [7; 2048];
    let signature = pair.sign(&random, &message).unwrap();
    let public =
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()).unwrap();
    let used = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    let before = used();
    for _ in 0..count {
        public.verify_sig(&message, signature.as_ref()).unwrap();
    }
    (used() - before).as_secs_f64() / f64::from(count)
}

fn report(options: &Options, elapsed: Duration, cpu: Duration, floor: &Floor) {
    let count = options.requests as f64;
    let rate = count / elapsed.as_secs_f64();
    let each = cpu.as_secs_f64() / count;
    let ratio = floor.seconds() / each;
    if options.json {
        let result = serde_json::json!({
            "requests": options.requests,
            "clients": options.clients,
            "connections": options.connections,
            "authorizations_per_second": rate,
            "cpu_seconds_per_authorization": each,
            "floor": {
                "derive": floor.derive, "sign": floor.sign, "verify": floor.verify,
                "seconds": floor.seconds(),
            },
            "ratio": ratio,
        });
        println!("{result:#}");
        return;
    }
    let micro = |seconds: f64| format!("{:8.1} µs", seconds * 1e6);
    println!(
        "{} purchases of {} clients over {} connections, in {:.2} s",
        options.requests,
        options.clients,
        options.connections,
        elapsed.as_secs_f64()
    );
    println!("authorizations per second     {rate:8.0}");
    println!("CPU of the gateway, each      {}", micro(each));
    println!("the floor                     {}", micro(floor.seconds()));
    println!("  one ECDH derivation         {}", micro(floor.derive));
    println!("  one signature               {}", micro(floor.sign));
    println!(
        "  three verifications         {}",
        micro(3.0 * floor.verify)
    );
    println!("ratio, floor to gateway       {ratio:8.2}");
}
