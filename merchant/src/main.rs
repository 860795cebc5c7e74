//! The Twinseal merchant: sells, has payers sign, asks the gateway. It never sees a card.
//!
//! A request goes one straight way: `serve` accepts it, [`http`] decodes it, [`service`] makes the protocol's
//! checks, [`store`] keeps what must outlive a crash, [`gateway`] is asked, and back.
//! What is done after a purchase begins with a command ([`ask`]), which works beside a running `serve` on the
//! same records.

mod ask;
mod books;
mod catalogue;
mod cli;
mod config;
mod described;
mod document;
mod enrolment;
mod exit;
mod gateway;
mod http;
mod merchant;
mod operation;
mod own;
mod reload;
mod routes;
mod serve;
mod service;
mod show;
mod store;
mod turn;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    cli::{Batch, Cli, Command, LogFormat, Of},
    config::Config,
    exit::Exit,
    operation::Operation,
    service::Wish,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.log, matches!(cli.command, Command::Serve));
    run(cli)
        .unwrap_or_else(|error| {
            tracing::error!("{error}");
            Exit::Failed
        })
        .into()
}

fn run(cli: Cli) -> Result<Exit, Box<dyn std::error::Error>> {
    // It is the same for every configuration, so it asks for none.
    if let Command::Openapi = cli.command {
        show::print(&document::DOCUMENT.to_json()?);
        return Ok(Exit::Done);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // Who enrols has nothing to configure yet.
    if let Command::Enroll(wanted) = &cli.command {
        return runtime.block_on(enrolment::enroll(wanted));
    }
    let config = Config::read(&cli.config)?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve => serve::serve(&cli.config, config).await.map(|()| Exit::Done),
            Command::Orders(command) => show::orders(&config, command).await,
            Command::List { json } => show::purchases(&config, json).await,
            Command::Show { xid, json } => show::purchase(&config, xid, json).await,
            Command::Events { json } => show::events(&config, json).await,
            Command::Capture(wanted) => ask::capture(&config, wanted).await,
            Command::Refund(wanted) => ask::refund(&config, wanted).await,
            Command::Reverse(Of { xid, amount, json }) => {
                let wish = Wish {
                    xid,
                    operation: Operation::Reversal,
                    target: None,
                    amount,
                };
                ask::operation(&config, wish, json).await
            }
            Command::Batch(Batch::Close { currency, json }) => {
                ask::close_batch(&config, currency, json).await
            }
            Command::Batch(Batch::Show { jti, json }) => show::batch(&config, jti, json).await,
            Command::Batch(Batch::List { json }) => show::batches(&config, json).await,
            Command::Renew => enrolment::renew(&config).await,
            Command::Enroll(wanted) => enrolment::enroll(&wanted).await,
            Command::Openapi => Ok(Exit::Done),
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
