//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// A Twinseal merchant: sells, has payers sign, asks the gateway. It never sees a card.
#[derive(Parser)]
#[command(
    name = "twinseal-merchant",
    version,
    after_help = "Exit codes:\n  0  done\n  1  could not be done; the last line says what to do\n  2  the command line is wrong\n  3  not found"
)]
pub(crate) struct Cli {
    /// The configuration file; merchant.sample.toml explains every member.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "merchant.toml",
        global = true
    )]
    pub(crate) config: PathBuf,
    /// How the log on standard error is written. RUST_LOG says how much of it.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub(crate) log: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The form of the log.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// An object per line.
    Json,
}

/// What is to be done.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve payers until SIGTERM or SIGINT, then finish what is running.
    Serve,
    /// Purchases as this merchant recorded them.
    #[command(subcommand)]
    Purchases(Purchases),
}

/// What can be seen of purchases.
#[derive(Subcommand)]
pub(crate) enum Purchases {
    /// List all purchases, newest first.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one purchase: the order in the clear, the payment sealed or gone, the receipt.
    Show {
        /// The transaction.
        xid: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}
