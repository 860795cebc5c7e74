//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use enrolment::asked::Enroll;
use protocol::{
    identifiers::{Jti, OrderId, Xid},
    money::{Currency, NotACurrency},
};

use crate::exit::EXIT_CODES;

/// A Twinseal merchant: sells, has payers sign, asks the gateway. It never sees a card.
#[derive(Parser)]
#[command(
    name = "twinseal-merchant",
    version,
    after_help = EXIT_CODES
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
    /// List all purchases, newest first.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one purchase: the order in the clear, the payment sealed or gone, the receipt, what was captured,
    /// reversed and refunded. JSON has the signed messages too.
    Show {
        /// The transaction.
        #[arg(allow_hyphen_values = true)]
        xid: Xid,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Book the money of an approved purchase, all of it or a part; or undo a capture whose batch is open.
    Capture(Undoable),
    /// Release what is held of an approved purchase and not captured, all of it or a part.
    Reverse(Of),
    /// Give captured money back, all of it or a part; or undo a refund whose batch is open.
    Refund(Undoable),
    /// List what the gateway told without being asked, newest first. What it is about is proven by receipts.
    Events {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Batches: what this merchant is settled by.
    #[command(subcommand)]
    Batch(Batch),
    /// Get the merchant's certificates with an invitation: make keys, have them certified, and verify the answers. It
    /// needs no configuration file.
    Enroll(Enroll),
    /// Renew both certificates, each with a new key. `serve` does that by itself when it is time, if [enrolment] is
    /// configured.
    Renew,
    /// Print the OpenAPI document of the listener for payers. It needs no configuration file.
    Openapi,
}

/// Something that is asked about a purchase.
#[derive(Args)]
pub(crate) struct Of {
    /// The transaction.
    #[arg(allow_hyphen_values = true)]
    pub(crate) xid: Xid,
    /// How much, as people write it: 12.50. All that is open without it.
    // What is no amount is told so, also when it begins with a hyphen.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    pub(crate) amount: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Something that is asked about a purchase and can be undone.
#[derive(Args)]
pub(crate) struct Undoable {
    /// Undo this one instead; `show` lists them with their jti.
    #[arg(long, value_name = "JTI", allow_hyphen_values = true)]
    pub(crate) undo: Option<Jti>,
    #[command(flatten)]
    pub(crate) of: Of,
}

/// What can be done with batches.
#[derive(Subcommand)]
pub(crate) enum Batch {
    /// Close the open batch of a currency: what was booked since the last one can't be undone after it.
    Close {
        /// Which currency's.
        #[arg(long, value_name = "CODE", value_parser = currency)]
        currency: Currency,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the totals of one batch, as the gateway signed them.
    Show {
        /// What the batch is called: the jti of the request that closed it.
        #[arg(allow_hyphen_values = true)]
        jti: Jti,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List all batches, newest first.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A currency by its code; people may write it small.
fn currency(code: &str) -> Result<Currency, NotACurrency> {
    code.to_ascii_uppercase().parse()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_capture_says_what_how_much_and_what_is_undone() {
        let xid = Xid::from_bytes([0xf8; 16]).to_string();
        let jti = Jti::from_bytes([0xfb; 16]).to_string();
        for line in [
            ["--undo", &jti, &xid, "--amount", "12.50"],
            ["--amount", "12.50", "--undo", &jti, &xid],
        ] {
            let line = ["twinseal-merchant", "capture"].into_iter().chain(line);
            let cli = Cli::try_parse_from(line).map_err(|error| error.to_string());
            let Command::Capture(wanted) = cli.unwrap().command else {
                panic!("another command");
            };
            assert_eq!(wanted.undo, Some(Jti::from_bytes([0xfb; 16])));
            assert_eq!(wanted.of.xid, Xid::from_bytes([0xf8; 16]));
            assert_eq!(wanted.of.amount.as_deref(), Some("12.50"));
        }
        let line = ["twinseal-merchant", "reverse", "--undo", &jti, &xid];
        assert!(Cli::try_parse_from(line).is_err(), "a reversal is final");
    }

    #[test]
    fn a_transaction_that_begins_with_a_hyphen_is_no_option() {
        // 0xf8 and 0xfb are "-" and "--" at the beginning; 0xf8 0x5 makes "-h".
        for start in [[0xf8, 0x00, 0], [0xfb, 0xef, 0xbe], [0xf8, 0x50, 0]] {
            let mut bytes = [7; 16];
            bytes[..3].copy_from_slice(&start);
            let id = Xid::from_bytes(bytes).to_string();
            assert!(id.starts_with('-'), "{id}");
            for order in [[id.as_str(), "--json"], ["--json", id.as_str()]] {
                let line = ["twinseal-merchant", "show", order[0], order[1]];
                let cli = Cli::try_parse_from(line).map_err(|error| error.to_string());
                let Command::Show { xid, json } = cli.unwrap().command else {
                    panic!("{line:?} is another command");
                };
                assert_eq!((xid, json), (Xid::from_bytes(bytes), true));
            }
        }
    }
}
