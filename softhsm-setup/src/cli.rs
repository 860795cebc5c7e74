//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::names::Role;

use crate::profiles::{ENROLLED_DAYS, Hosts, ISSUING_CA_DAYS, LEAF_DAYS, Purpose};

/// Provisions Twinseal: tokens and the keys in them, certificate authorities, certificates, CRLs,
/// configurations.
#[derive(Parser)]
#[command(
    name = "softhsm-setup",
    version,
    after_help = "Exit codes:\n  0  done, or all is well\n  1  could not be done; the last line says what to do\n  2  the command line is wrong\n  3  status: something needs care"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The directory and the module, which every command needs.
#[derive(Args)]
pub(crate) struct Place {
    /// The provisioned directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The PKCS#11 module; SoftHSM is found by itself. Another module's token must be initialised already,
    /// with the label twinseal-gateway or twinseal-ca, and its PIN be in DIR/gateway/user.pin or
    /// DIR/ca/user.pin.
    #[arg(long, value_name = "PATH")]
    pub(crate) module: Option<PathBuf>,
}

/// The names that a certificate has beside the party's URN.
#[derive(Args)]
pub(crate) struct HostArguments {
    /// A DNS name, of a merchant's shop for example; may be given several times.
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// An IP address; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// The OCSP responder that a certificate for TLS names, by an http address. Gateway and merchant staple what it answers.
    #[arg(long, value_name = "URL")]
    ocsp: Option<String>,
}

impl From<HostArguments> for Hosts {
    fn from(arguments: HostArguments) -> Self {
        let HostArguments { dns, ip, ocsp } = arguments;
        Self { dns, ip, ocsp }
    }
}

/// What is to be done.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make everything: two tokens, keys, CAs, certificates, CRLs, configurations, a client, a merchant.
    /// What is there stays as it is, so an interrupted run is completed by another.
    Init {
        #[command(flatten)]
        place: Place,
        /// A DNS name of gateway and shop, beside localhost; may be given several times.
        #[arg(long, value_name = "NAME")]
        host: Vec<String>,
    },
    /// Show tokens, keys with their policy, certificates with the days left, CRLs.
    Status {
        #[command(flatten)]
        place: Place,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Issue a certificate for a request. Subject and names are those given here, never the request's.
    Issue {
        #[command(flatten)]
        place: Place,
        /// The request (PKCS#10, PEM), signed by the key that it is for; P-256. For encryption, whose keys sign nothing,
        /// it may be a public key (PEM): see to it yourself that the party has it.
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// What the party is.
        #[arg(long, value_enum)]
        role: RoleArgument,
        /// What the certificate is for.
        #[arg(long, value_enum)]
        usage: Purpose,
        /// The party's id: the last part of its URN.
        #[arg(long, value_name = "ID")]
        name: String,
        #[command(flatten)]
        hosts: HostArguments,
        /// How many days it is good.
        #[arg(long, default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(i64).range(1..=1825))]
        days: i64,
        /// Where it goes; a file that is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Revoke a certificate, all others of its key, and what was renewed with them: their CAs sign CRLs with the next number.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The certificate (PEM).
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// Revoke this certificate alone: its key stays in use, with another one.
        #[arg(long)]
        only: bool,
    },
    /// Have every CA sign its CRL anew, with fresh dates and the next number.
    Crl {
        #[command(flatten)]
        place: Place,
    },
    /// Make the CAs as a file says, before witnesses, with a transcript of every step. ceremony.sample.toml explains the file.
    /// Everything is checked before anything is touched, and what is there already is refused.
    Ceremony {
        /// The directory that is made, or has nothing of a CA in it.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What is to be done.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Check everything, say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Have an issuing CA take another one's place.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Show what the CAs issued and revoked.
    Journal {
        #[command(flatten)]
        place: Place,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Invite a party to enrol: print a secret with which it gets its certificates from `serve`, once each.
    Invite {
        #[command(flatten)]
        place: Place,
        /// What the party is.
        #[arg(long, value_enum)]
        role: InvitedRole,
        /// The party's id: the last part of its URN.
        #[arg(long, value_name = "ID")]
        name: String,
        #[command(flatten)]
        hosts: HostArguments,
        /// How many hours the secret is good.
        #[arg(long, default_value_t = 72, value_parser = clap::value_parser!(i64).range(1..=8760))]
        valid_hours: i64,
    },
    /// Serve enrolment and renewal (EST, RFC 7030) until SIGTERM or SIGINT.
    Serve {
        #[command(flatten)]
        place: Place,
        /// Where.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8643")]
        listen: SocketAddr,
        /// How many days an enrolled certificate is good.
        #[arg(long, default_value_t = ENROLLED_DAYS, value_parser = clap::value_parser!(i64).range(1..=1825))]
        days: i64,
        /// How the log on standard error is written. RUST_LOG says how much of it.
        #[arg(long, value_enum, default_value = "text")]
        log: LogFormat,
    },
    /// Make a further client: key, certificate, configuration, instruments. Its accounts are the gateway's to add.
    Client {
        #[command(flatten)]
        place: Place,
        /// Its directory, below DIR.
        #[arg(long, value_name = "NAME")]
        out: String,
    },
    /// Make a further merchant: keys, certificates, configuration, catalogue.
    Merchant {
        #[command(flatten)]
        place: Place,
        /// Its id: the last part of its URN.
        #[arg(long, value_name = "ID")]
        name: String,
        /// A DNS name of the shop, beside localhost; may be given several times.
        #[arg(long, value_name = "NAME")]
        host: Vec<String>,
        /// Its directory, below DIR.
        #[arg(long, value_name = "NAME")]
        out: String,
    },
    /// Serve one token to a parent process; not for people.
    #[command(hide = true)]
    TokenProcess {
        module: PathBuf,
        label: String,
        user_pin: PathBuf,
    },
}

/// How an issuing CA takes another one's place.
#[derive(Subcommand)]
pub(crate) enum CaCommand {
    /// Make a new key and certificate under the root. It issues from now on. The former one stays trusted, and its CRL is
    /// signed, until it is retired.
    Replace {
        #[command(flatten)]
        place: Place,
        /// Whose CA it is.
        #[arg(long, value_enum)]
        role: RoleArgument,
        /// How many days the new one is good; not beyond the root's.
        #[arg(long, default_value_t = ISSUING_CA_DAYS, value_parser = clap::value_parser!(i64).range(30..=3650))]
        days: i64,
    },
    /// Take the oldest CA of a role, which was replaced, out of the configurations and away to pki/retired/.
    Retire {
        #[command(flatten)]
        place: Place,
        /// Whose CA it is.
        #[arg(long, value_enum)]
        role: RoleArgument,
        /// Although certificates that it issued are in use in the directory; from then on nobody takes them.
        #[arg(long)]
        although_in_use: bool,
    },
}

/// A role on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArgument {
    /// The payer.
    Client,
    /// The shop.
    Merchant,
    /// The gateway.
    Gateway,
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Self {
        match role {
            RoleArgument::Client => Role::Client,
            RoleArgument::Merchant => Role::Merchant,
            RoleArgument::Gateway => Role::Gateway,
        }
    }
}

/// Who can be invited: the gateway's keys are made in its token, and `issue` certifies them.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum InvitedRole {
    /// The payer.
    Client,
    /// The shop.
    Merchant,
}

impl From<InvitedRole> for Role {
    fn from(role: InvitedRole) -> Self {
        match role {
            InvitedRole::Client => Role::Client,
            InvitedRole::Merchant => Role::Merchant,
        }
    }
}

/// The form of the service's log.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// An object per line.
    Json,
}
