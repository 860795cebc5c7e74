//! The command line.

use std::path::PathBuf;

use crate::key_table::Purpose;
use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::{
    identifiers::{EventId, Xid},
    names::{ClientName, MerchantName},
};

/// The Twinseal payment gateway: confirms payers by their dual signatures and approves payments. Its
/// private keys stay in a PKCS#11 token.
#[derive(Parser)]
#[command(
    name = "twinseal-gateway",
    version,
    after_help = "Exit codes:\n  0  done\n  1  could not be done; the last line says what to do\n  2  the command line is wrong\n  3  not found\n  4  the ledger does not balance, or the database is damaged\n  5  a key is not as its policy\n  6  the token refused the PIN, or is about to lock it: not to be tried again"
)]
pub(crate) struct Cli {
    /// The configuration file; gateway.sample.toml explains every member.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "gateway.toml",
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
    /// Serve merchants, payers and operators until SIGTERM or SIGINT, then finish what is running.
    Serve,
    /// Accounts of the embedded card issuer.
    #[command(subcommand)]
    Accounts(Accounts),
    /// Keys in the tokens: what they are, and how one takes the place of another.
    #[command(subcommand)]
    Keys(Keys),
    /// Payments as this gateway recorded them.
    #[command(subcommand)]
    Payments(Payments),
    /// What merchants are told without asking.
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// The double-entry ledger.
    #[command(subcommand)]
    Ledger(Ledger),
    /// Copy the database while the gateway runs, and check the copy. `cp` is no backup: a part of what was
    /// committed may be in the log beside the file.
    Backup {
        /// Where the copy goes; a file that is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Write everything that the store has, as it is at one moment, into an SQLite file that `import` reads. Stop the
    /// gateways first: what they do later is not in it.
    Export {
        /// Where it goes; a file that is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Bring everything in a file of `export` or `backup` into the configured store, which is empty: all of it, or
    /// nothing.
    Import {
        /// The file; it stays as it is.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Measure what the store carries on this machine, beside what the bare database does: in a new directory, or in
    /// an empty PostgreSQL database, never in the gateway's own store.
    Bench(Bench),
    /// Have SQLite look at the whole database; exit code 4 when it is damaged. It reads everything, so it takes its
    /// time.
    Check,
    /// Print the OpenAPI document of all three listeners. It needs no configuration file.
    Openapi,
}

/// What is done with keys.
#[derive(Subcommand)]
pub(crate) enum Keys {
    /// List the keys of the configuration, with their certificates.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Hold every key that is used against its policy, in every token: each attribute, what it should be, what it is,
    /// and what is waived. Exit code 5 when one is wrong.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Print JSON, signed by the active signing key in the token (ES256 over the text of the report).
        #[arg(long)]
        sign: bool,
    },
    /// Make a key in the token, pending, and the request for its certificate.
    New {
        /// What it is for.
        purpose: Purpose,
        /// What it is to be called in the token.
        #[arg(long)]
        label: String,
        /// Where its certificate will be, as the configuration means paths.
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
        /// Where the request for it goes: PKCS#10; of a key for encryption, which can sign no request, its public key.
        #[arg(long, value_name = "FILE")]
        csr: Option<PathBuf>,
        /// A DNS name that the request for a TLS certificate asks for; may be given several times. `softhsm-setup issue` has
        /// its own, other CAs take the request's.
        #[arg(long, value_name = "NAME", requires = "csr")]
        dns: Vec<String>,
    },
    /// Make a request for another certificate of a key that is there, to renew the one it has. Put the new certificate in
    /// the place of the old one: a running gateway takes it over by itself.
    Request {
        /// What it is called.
        label: String,
        /// Where the request goes: PKCS#10; of a key for encryption, which can sign no request, its public key.
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// A DNS name to ask for; may be given several times.
        #[arg(long, value_name = "NAME")]
        dns: Vec<String>,
    },
    /// Have a pending key take the place of the active one, which opens what was sealed to it until it is retired.
    Activate {
        /// What it is called.
        label: String,
    },
    /// End the use of a key that was replaced. The gateway forgets it; the token keeps it.
    Retire {
        /// What it is called.
        label: String,
    },
}

/// How the store is measured.
#[derive(Args)]
pub(crate) struct Bench {
    /// Where a directory is made for the database, and removed afterwards: on the disk that is to be measured.
    #[arg(long = "in", value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Measure the empty PostgreSQL database that this file names (TOML, the members of [store.postgres]) instead.
    #[arg(long, value_name = "FILE", conflicts_with = "fill")]
    pub(crate) postgres: Option<PathBuf>,
    /// Authorizations of one round.
    #[arg(long, default_value_t = 20_000, value_parser = at_least_one)]
    pub(crate) authorizations: usize,
    /// Rounds; each measures the store and the bare database one after the other.
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// Authorizations at once, and in one transaction of the bare database.
    #[arg(long, default_value_t = 128, value_parser = at_least_one)]
    pub(crate) at_once: usize,
    /// Accounts that they are of.
    #[arg(long, default_value_t = 1000)]
    pub(crate) accounts: u32,
    /// Bytes of evidence that each leaves.
    #[arg(long, default_value_t = 6000)]
    pub(crate) evidence: usize,
    /// Keep the file with what was written, to measure a gateway with it.
    #[arg(long, value_name = "FILE", conflicts_with = "postgres")]
    pub(crate) keep: Option<PathBuf>,
    /// Fill the store with so many authorizations after the first rounds, then measure again.
    #[arg(long, value_name = "AUTHORIZATIONS")]
    pub(crate) fill: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be done with the ledger.
#[derive(Subcommand)]
pub(crate) enum Ledger {
    /// Add all books, payments and batches up anew, and say what differs. Exit code 4 when something does.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What can be done with accounts.
#[derive(Subcommand)]
pub(crate) enum Accounts {
    /// Add the accounts and instruments of a file; those that are there already stay as they are.
    Add {
        /// The accounts, TOML; it holds card numbers, so keep it private (mode 0600).
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// List all accounts.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one account with its instruments.
    Show {
        /// The client's name, urn:twinseal:client:ID.
        client: ClientName,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What can be seen of payments.
#[derive(Subcommand)]
pub(crate) enum Payments {
    /// List all payments, newest first.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what was decided of one transaction. The cart is not there to be shown.
    Show {
        /// The transaction.
        // An id may begin with a hyphen, and is no option then.
        #[arg(allow_hyphen_values = true)]
        xid: Xid,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What can be done with events and the secrets that sign them.
#[derive(Subcommand)]
pub(crate) enum Webhooks {
    /// List events, newest first; those of more than 30 days ago are forgotten.
    List {
        /// Those of one merchant, urn:twinseal:merchant:ID.
        #[arg(long)]
        merchant: Option<MerchantName>,
        /// Those in one state.
        #[arg(long, value_enum)]
        state: Option<EventStateWord>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have a running gateway send events once more, delivered ones too; a merchant knows them by their ids.
    Replay {
        /// The events.
        #[arg(allow_hyphen_values = true, required_unless_present = "given_up")]
        id: Vec<EventId>,
        /// All that were given up.
        #[arg(long, conflicts_with = "id")]
        given_up: bool,
        /// Of those given up, the ones of one merchant.
        #[arg(long, requires = "given_up")]
        merchant: Option<MerchantName>,
    },
    /// Make a secret, for `secret_files` of a merchant's webhook here and at the merchant.
    NewSecret {
        /// Where it goes, mode 0600; a file that is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventStateWord {
    /// To be sent, for the first time or again.
    Pending,
    /// Taken by the merchant.
    Delivered,
    /// Not sent any more.
    GivenUp,
}

/// A count of which none makes no sense.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_begins_with_a_hyphen_is_no_option() {
        // 0xf8 and 0xfb are "-" and "--" at the beginning; 0xf8 0x50 makes "-h".
        for start in [[0xf8, 0x00, 0], [0xfb, 0xef, 0xbe], [0xf8, 0x50, 0]] {
            let mut bytes = [7; 16];
            bytes[..3].copy_from_slice(&start);
            let id = Xid::from_bytes(bytes).to_string();
            assert!(id.starts_with('-'), "{id}");
            for order in [[id.as_str(), "--json"], ["--json", id.as_str()]] {
                let line = ["twinseal-gateway", "payments", "show", order[0], order[1]];
                let cli = Cli::try_parse_from(line).map_err(|error| error.to_string());
                let Command::Payments(Payments::Show { xid, json }) = cli.unwrap().command else {
                    panic!("{line:?} is another command");
                };
                assert_eq!((xid, json), (Xid::from_bytes(bytes), true));
            }
        }
    }

    #[test]
    fn an_account_is_shown_by_a_client_s_name_and_no_other() {
        let show = |name: &str| {
            let line = ["twinseal-gateway", "accounts", "show", name];
            Cli::try_parse_from(line).map(|_| ())
        };
        assert!(show("urn:twinseal:client:0123456789abcdef").is_ok());
        assert!(show("urn:twinseal:merchant:bookshop").is_err());
    }
}
