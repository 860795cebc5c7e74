//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use protocol::identifiers::{OrderId, Xid};

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
    /// Orders as this merchant recorded them.
    #[command(subcommand)]
    Orders(Orders),
    /// Purchases as this merchant recorded them.
    #[command(subcommand)]
    Purchases(Purchases),
}

/// What can be seen of orders.
#[derive(Subcommand)]
pub(crate) enum Orders {
    /// List all orders, newest first.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one order: what is bought, whether it is paid, the purchases of it.
    Show {
        /// The order's id.
        // An id may begin with a hyphen, and is no option then.
        #[arg(allow_hyphen_values = true)]
        order: OrderId,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
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
    /// Show one purchase: the order in the clear, the payment sealed or gone, the receipt. JSON has the
    /// signed messages too.
    Show {
        /// The transaction.
        #[arg(allow_hyphen_values = true)]
        xid: Xid,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_begins_with_a_hyphen_is_no_option() {
        // 0xf8 and 0xfb are "-" and "--" at the beginning; 0xf8 0x5 makes "-h".
        for start in [[0xf8, 0x00, 0], [0xfb, 0xef, 0xbe], [0xf8, 0x50, 0]] {
            let mut bytes = [7; 16];
            bytes[..3].copy_from_slice(&start);
            let id = Xid::from_bytes(bytes).to_string();
            assert!(id.starts_with('-'), "{id}");
            for order in [[id.as_str(), "--json"], ["--json", id.as_str()]] {
                let line = ["twinseal-merchant", "purchases", "show", order[0], order[1]];
                let cli = Cli::try_parse_from(line).map_err(|error| error.to_string());
                let Command::Purchases(Purchases::Show { xid, json }) = cli.unwrap().command else {
                    panic!("{line:?} is another command");
                };
                assert_eq!((xid, json), (Xid::from_bytes(bytes), true));
            }
        }
    }
}
