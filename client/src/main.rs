//! The payer's terminal: shows what is to be paid, signs it, and accepts only what the gateway decided.
//!
//! A purchase goes one way: [`buy`] agrees with the [`shop`] on an order, checks who the shop is, signs,
//! has the signed purchase kept by [`purchases`] before a byte of it is sent, and comes to an
//! [`outcome`]; where the shop leaves it open, [`gateway`] asks, or [`cancel`] withdraws it. [`verify`] needs
//! nobody. [`enrolment`] gets the payer's certificate and renews it.

mod basket;
mod buy;
mod cancel;
mod cli;
mod config;
mod display;
mod enrolment;
mod exchange;
mod failure;
mod gateway;
mod instruments;
mod outcome;
mod output;
mod payer;
mod purchases;
mod shop;
mod show;
mod terminal;
mod told;
mod verify;

#[cfg(test)]
mod vectors;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, Command},
    failure::{Exit, Failure},
    payer::Payer,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    let json = cli.json;
    run(cli)
        .unwrap_or_else(|failure| {
            failure.report(json);
            failure.exit()
        })
        .into()
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(async {
        // Who enrols has nothing to configure yet.
        if let Command::Enroll(wanted) = &cli.command {
            return enrolment::enroll(wanted, cli.json).await;
        }
        let payer = Payer::load(&cli.config)?;
        if cli.command.uses_certificate() {
            enrolment::renew_if_due(&payer).await;
        }
        match cli.command {
            Command::Buy(wanted) => buy::run(&payer, &wanted, cli.json).await,
            Command::Cancel { xid, yes } => cancel::run(&payer, xid, yes, cli.json).await,
            Command::Catalogue { shop } => show::catalogue(&payer, &shop, cli.json).await,
            Command::Show { xid, refresh } => show::one(&payer, xid, refresh, cli.json).await,
            Command::List => show::all(&payer, cli.json),
            Command::Enroll(wanted) => enrolment::enroll(&wanted, cli.json).await,
            Command::Renew { new_key } => enrolment::renew(&payer, new_key, cli.json).await,
            Command::Verify { file } => verify::run(&payer, &file, cli.json),
        }
    })
}
