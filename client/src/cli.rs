//! The command line.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand};
use enrolment::asked::Enroll;
use protocol::{
    identifiers::Xid,
    order_information::{NotAQuantity, Quantity},
};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; of a purchase: approved; of cancel: withdrawn
  1  could not be done; the last line says what to do
  2  the command line is wrong
  3  declined or withdrawn: the gateway's receipt says so, and nothing is held
  4  unconfirmed: signed, and no receipt that holds; it may have been paid, so don't pay it again
  5  stopped: a check did not hold, the other side refused, or you said no; no purchase was signed
  6  of cancel: too late, it was approved; now only the shop can release the money or give it back";

const SHOP: &str =
    "The shop, https://host[:port]. Only one that is certified for this host gets a signature";

/// The payer's terminal: buys with one signature that shows the shop no card and the gateway no cart, and
/// verifies what was decided.
///
/// Results go to standard output, the steps of the exchange to standard error.
#[derive(Parser)]
#[command(name = "twinseal-client", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// The configuration file; client.sample.toml explains every member.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "client.toml",
        global = true
    )]
    pub(crate) config: PathBuf,
    /// Print the result as one JSON object.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Buy something: show the order, ask, sign, and wait for the gateway's decision.
    Buy(Wanted),
    /// Show what a shop sells.
    Catalogue {
        #[arg(long, value_name = "URL", help = "The shop, https://host[:port]")]
        shop: String,
    },
    /// Show a purchase of this terminal and what was decided; exit code as for buy.
    Show {
        /// The transaction.
        #[arg(allow_hyphen_values = true)]
        xid: Xid,
        /// Ask the gateway what it decided, and what the shop had done since.
        #[arg(long)]
        refresh: bool,
    },
    /// Withdraw a purchase that was signed and is unconfirmed, at the gateway itself: it is never authorized
    /// after that, and the order can be paid again. Or learn that it was decided before.
    Cancel {
        /// The transaction.
        #[arg(allow_hyphen_values = true)]
        xid: Xid,
        /// Withdraw without asking.
        #[arg(long)]
        yes: bool,
    },
    /// List the purchases of this terminal.
    List,
    /// Get the payer's certificate with an invitation: make a key, have it certified, and verify the answer. It needs
    /// no configuration file.
    Enroll(Enroll),
    /// Renew the payer's certificate. The key stays the same: the payer's accounts belong to it.
    Renew {
        /// Make another key. The card issuer has to enter its certificate for the accounts, before anything can be paid.
        #[arg(long)]
        new_key: bool,
    },
    /// Verify, without asking anybody, what a receipt or a stored purchase proves. Certificates are judged
    /// at the time of the signature; one revoked since fails too.
    ///
    /// Exit codes: 0 everything follows, 4 no decision in it, 5 something does not follow.
    Verify {
        /// A gateway's receipt (JWS), or a purchase file of this terminal.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Command {
    /// Whether the payer's certificate is shown to somebody.
    pub(crate) const fn uses_certificate(&self) -> bool {
        match self {
            Command::Buy(_) | Command::Cancel { .. } | Command::Show { refresh: true, .. } => true,
            Command::Catalogue { .. }
            | Command::Show { refresh: false, .. }
            | Command::List
            | Command::Enroll(_)
            | Command::Renew { .. }
            | Command::Verify { .. } => false,
        }
    }
}

/// What the person wants.
#[derive(Args)]
pub(crate) struct Wanted {
    #[arg(long, value_name = "URL", help = SHOP)]
    pub(crate) shop: String,
    /// What, and how many; may be given several times.
    #[arg(long = "item", value_name = "SKU[=QUANTITY]", required = true)]
    pub(crate) items: Vec<WantedItem>,
    /// Where to; the shop alone sees it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) delivery: Option<String>,
    /// The label of the instrument to pay with; the first of the instruments file without it.
    #[arg(long = "with", value_name = "LABEL")]
    pub(crate) instrument: Option<String>,
    /// Sign without asking, as long as the total is not above the catalogue's prices.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Buy although an earlier purchase of the same things at this shop is unconfirmed.
    #[arg(long)]
    pub(crate) again: bool,
}

/// `SKU` or `SKU=QUANTITY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedItem {
    pub(crate) sku: String,
    pub(crate) quantity: Quantity,
}

impl FromStr for WantedItem {
    type Err = NotAQuantity;
    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let (sku, quantity) = text.rsplit_once('=').unwrap_or((text, "1"));
        Ok(Self {
            sku: sku.to_owned(),
            quantity: quantity
                .parse()
                .map_err(|_| NotAQuantity)
                .and_then(Quantity::new)?,
        })
    }
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
    fn an_item_is_one_unless_a_quantity_follows() {
        let item = |text: &str| {
            text.parse::<WantedItem>()
                .map(|item| (item.sku, item.quantity.get()))
        };
        assert_eq!(item("book-1"), Ok(("book-1".to_owned(), 1)));
        assert_eq!(item("book-1=3"), Ok(("book-1".to_owned(), 3)));
        assert_eq!(item("book-1=0"), Err(NotAQuantity));
        assert_eq!(item("book-1=many"), Err(NotAQuantity));
    }

    #[test]
    fn a_transaction_that_begins_with_a_hyphen_is_no_option() {
        let xid = Xid::from_bytes([0xf8; 16]);
        let text = xid.to_string();
        assert!(text.starts_with('-'));
        let cli = Cli::try_parse_from(["twinseal-client", "show", &text, "--refresh"]).unwrap();
        let Command::Show {
            xid: parsed,
            refresh,
        } = cli.command
        else {
            panic!("another command");
        };
        assert_eq!((parsed, refresh), (xid, true));
    }
}
