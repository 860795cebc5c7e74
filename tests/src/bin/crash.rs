//! Kills the gateway again and again under load, and holds it to everything that it ever acknowledged.
//!
//! `cargo run -p twinseal-tests --bin crash -- --kills 1000` prints its seed first and a summary last; it ends
//! with a panic that says what is not true any more, should there be something. With `--power-loss` the store
//! loses at each kill what was not synced.

#![allow(
    clippy::print_stdout,
    reason = "a program for developers: what it finds it prints"
)]

use std::{
    io::{self, Write as _},
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use twinseal_tests::crash::{Disk, Harness, Plan};

/// The gateway under load, killed at random moments.
#[derive(Parser)]
struct Options {
    /// How often it is killed.
    #[arg(long, default_value_t = 1000)]
    kills: u32,
    /// Requests under way at once.
    #[arg(long, default_value_t = 16)]
    workers: usize,
    /// What chances follow from; another one each time without it.
    #[arg(long)]
    seed: Option<u64>,
    /// With each kill the power fails: what was not synced may be lost.
    #[arg(long)]
    power_loss: bool,
    /// Three gateways share a PostgreSQL database; one is killed while the others go on, and the server restarts.
    #[arg(long, conflicts_with = "power_loss")]
    postgres: bool,
    /// The disk syncs nothing: something acknowledged must be found lost.
    #[arg(long, requires = "power_loss")]
    lying_disk: bool,
}

impl Options {
    fn disk(&self) -> Disk {
        if self.postgres {
            return Disk::Shared;
        }
        match (self.power_loss, self.lying_disk) {
            (_, true) => Disk::Lies,
            (true, false) => Disk::LosesPower,
            (false, false) => Disk::KeepsPower,
        }
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    });
    let built = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--quiet"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .status()?;
    if !built.success() {
        return Err(io::Error::other("the programs could not be built"));
    }
    println!("seed {seed}");
    let started = Instant::now();
    let mut harness = Harness::new(Plan {
        kills: options.kills,
        workers: options.workers,
        seed,
        disk: options.disk(),
    });
    let mut stdout = io::stdout();
    let mut kills = 0;
    while harness.round() {
        kills += 1;
        write!(stdout, "\r{kills} of {} kills", options.kills)?;
        stdout.flush()?;
    }
    let summary = harness.finish();
    println!("\n{summary:#?}");
    if options.lying_disk {
        return Err(io::Error::other(
            "the disk lied about every sync, and nothing was found",
        ));
    }
    println!(
        "nothing acknowledged was lost or changed, no purchase was approved twice, the ledger balances; {} s",
        started.elapsed().as_secs()
    );
    Ok(())
}
