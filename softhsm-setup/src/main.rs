//! `softhsm-setup`: tokens, keys, certificate authorities, certificates, configurations.
//!
//! `init` makes everything, `status` shows it, `issue`, `revoke` and `crl` are a CA's daily work, `client` and
//! `merchant` add parties, `ceremony` makes the CAs before witnesses, `ca` has an issuing CA take another one's place.
//! `serve` certifies and renews over the network whom `invite` invited, and [`journal`] has everything that was ever issued.
//! Keys of the gateway and of the CAs are made in their tokens and stay
//! there; [`token_process`] says how the two tokens are reached, [`authority`] how certificates are signed
//! in one.

mod authority;
mod ca;
mod ceremony;
mod cli;
mod configuration;
mod enrolment_identity;
mod init;
mod invitation;
mod issue;
mod journal;
mod journal_table;
mod layout;
mod leaf;
mod party;
mod party_directory;
mod profiles;
mod replacement;
mod revocation;
mod revoke;
mod serve;
mod status;
mod token_process;
mod trust_lists;

use std::{
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser as _;

use crate::{
    cli::{CaCommand, Cli, Command, Place},
    layout::{Layout, LockedLayout},
};

/// Something could not be done; its text ends with what to do.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self(format!(
            "{}: {error}; check that it is there and that you may use it",
            path.display()
        ))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            say(&format!("softhsm-setup: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Init { place, host } => {
            let layout = LockedLayout::create(&place.dir)?;
            init::init(&layout, &module(&place)?, &host)?;
        }
        Command::Status { place, json } => {
            let layout = Layout::open(&place.dir)?;
            return status::status(&layout, &module(&place)?, json);
        }
        Command::Issue {
            place,
            csr,
            role,
            usage,
            name,
            hosts,
            days,
            out,
        } => {
            let layout = LockedLayout::open(&place.dir)?;
            let wanted = issue::Wanted {
                role: role.into(),
                usage,
                name,
                hosts: hosts.into(),
                days,
            };
            let key = issue::requested_key(&csr, wanted.usage)?;
            issue::issue(&layout, &module(&place)?, &key, &wanted, &out)?;
        }
        Command::Revoke {
            place,
            certificate,
            only,
        } => {
            let layout = LockedLayout::open(&place.dir)?;
            revoke::revoke(&layout, &module(&place)?, &certificate, only)?;
        }
        Command::Crl { place } => {
            let layout = LockedLayout::open(&place.dir)?;
            issue::renew_crls(&layout, &module(&place)?)?;
        }
        Command::Ceremony { dir, file, dry_run } => ceremony::ceremony(&dir, &file, dry_run)?,
        Command::Ca(CaCommand::Replace { place, role, days }) => {
            let layout = LockedLayout::open(&place.dir)?;
            replacement::replace(&layout, &module(&place)?, role.into(), days)?;
        }
        Command::Ca(CaCommand::Retire {
            place,
            role,
            although_in_use,
        }) => {
            let layout = LockedLayout::open(&place.dir)?;
            replacement::retire(&layout, role.into(), although_in_use)?;
        }
        Command::Journal { place, json } => {
            journal_table::journal(&Layout::open(&place.dir)?, json)?;
        }
        Command::Invite {
            place,
            role,
            name,
            hosts,
            valid_hours,
        } => {
            let layout = LockedLayout::open(&place.dir)?;
            let wanted = invitation::Wanted {
                role: role.into(),
                name,
                hosts: hosts.into(),
                valid_hours,
            };
            invitation::invite(&layout, wanted)?;
        }
        Command::Serve {
            place,
            listen,
            days,
            log,
        } => {
            let layout = Layout::open(&place.dir)?;
            let chosen = serve::Chosen { listen, days, log };
            serve::serve(&layout, &module(&place)?, &chosen)?;
        }
        Command::Client { place, out } => {
            let layout = LockedLayout::open(&place.dir)?;
            party::add_client(&layout, &module(&place)?, &out)?;
        }
        Command::Merchant {
            place,
            name,
            host,
            out,
        } => {
            let layout = LockedLayout::open(&place.dir)?;
            party::add_merchant(&layout, &module(&place)?, &name, &host, &out)?;
        }
        Command::TokenProcess {
            module,
            label,
            user_pin,
        } => token_process::serve(&module, &label, &user_pin)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The module to work with: the one given, or SoftHSM where distributions put it.
fn module(place: &Place) -> Result<PathBuf, Failure> {
    const SOFTHSM: [&str; 7] = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    if let Some(module) = &place.module {
        // It goes into a configuration.
        if module.to_str().is_none() {
            return Err(Failure::new(format!(
                "--module {} is not UTF-8; give it a link with another name",
                module.display()
            )));
        }
        return Ok(module.clone());
    }
    SOFTHSM
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .ok_or_else(|| {
            Failure::new(
                "SoftHSM is not installed where distributions put it; run softhsm-setup/install run, \
                 or give --module",
            )
        })
}

/// Tells a person what is done; standard output is for results.
#[expect(
    clippy::print_stderr,
    reason = "a command line program talks on standard error"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints a result.
pub(crate) fn print(text: &str) {
    // Whoever reads it may have read enough.
    let _ = writeln!(io::stdout(), "{text}");
}
