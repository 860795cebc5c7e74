//! The Twinseal payment gateway.
//!
//! A request goes one straight way: `serve` accepts it, [`http`] decodes it, [`access`] makes a permit of
//! its peer, [`service`] makes the protocol's checks with the [`keys`] in the token, [`store`] has the
//! [`card_issuer`] decide, or [`payment`] change state, in one durable transaction, [`receipts`] has the
//! token sign, and back. What a merchant is to be told without asking is written by that transaction, too, and sent by
//! [`delivery`].

mod access;
mod accounts;
mod admin;
mod bench;
mod card_issuer;
mod cli;
mod config;
mod delivery;
mod described;
mod document;
mod evidence_key;
mod gateway;
mod http;
mod key_management;
mod key_table;
mod keys;
mod ledger;
mod monitoring;
mod output;
mod payment;
mod payments;
mod receipts;
mod reload;
mod routes;
mod serve;
mod service;
mod store;
mod upkeep;
mod webhooks;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    cli::{Cli, Command, LogFormat, Webhooks},
    config::Config,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.log, matches!(cli.command, Command::Serve));
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            exit_code(&*error)
        }
    }
}

/// A PIN that was refused has a code of its own: whoever starts the gateway again and again must not try it again and
/// again, because tokens lock.
fn exit_code(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    const PIN_REFUSED: u8 = 6;
    match error.downcast_ref() {
        Some(keys::KeysError::Token(
            hsm::StartError::PinRefused { .. } | hsm::StartError::PinAtRisk { .. },
        )) => PIN_REFUSED.into(),
        _ => ExitCode::FAILURE,
    }
}

fn run(cli: Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Command::Webhooks(Webhooks::NewSecret { out }) = &cli.command {
        return webhooks::new_secret(out);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let config = || Config::read(&cli.config);
    runtime.block_on(async {
        match cli.command {
            Command::Keys(command) => key_management::run(&cli.config, &command).await,
            Command::Serve => serve::serve(&cli.config, config()?)
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Accounts(command) => accounts::run(&config()?, command).await,
            Command::Backup { to } => upkeep::back_up(&config()?, &to),
            Command::Bench(options) => bench::run(options).await,
            Command::Check => upkeep::check(&config()?),
            Command::Export { to } => upkeep::export(&config()?, &to).await,
            Command::Import { from } => upkeep::import(&config()?, &from).await,
            Command::Ledger(command) => ledger::run(&config()?, &command).await,
            Command::Openapi => {
                output::print(&document::DOCUMENT.to_json()?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Payments(command) => payments::run(&config()?, command).await,
            Command::Webhooks(command) => webhooks::run(&config()?, command).await,
        }
    })
}

/// A service's log has times; what a command says to a person has none.
fn log_to_stderr(format: LogFormat, is_service: bool) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(if is_service { "info" } else { "warn" }));
    let registry = tracing_subscriber::registry().with(filter);
    let text = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    match (format, is_service) {
        (LogFormat::Text, true) => registry.with(text).init(),
        (LogFormat::Text, false) => registry.with(text.without_time()).init(),
        (LogFormat::Json, _) => registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .init(),
    }
}
