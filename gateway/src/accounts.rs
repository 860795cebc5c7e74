//! `accounts`: the embedded card issuer's accounts, from a file, and as they are.

use std::{
    collections::HashMap,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use hsm::IndexKey;
use protocol::{
    identifiers::Digest,
    money::{self, Currency},
    names::{ClientName, Role},
    payment_information::Instrument,
    pki::{Trust, Usage},
};
use serde::Deserialize;

use crate::{
    card_issuer::{Status, Velocity},
    cli::Accounts,
    config::Config,
    key_table::{KeyState, Purpose},
    keys,
    output::{print, print_json},
    store::{
        self,
        commands::{AddAccount, NewAccount, NewInstrument},
        records::AccountRecord,
    },
};

/// How long one HMAC in the token, or keeping one account, may take.
const OPERATION: Duration = Duration::from_secs(10);

/// A file of accounts. It has no Debug: it holds card numbers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountsFile {
    account: Vec<FileAccount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAccount {
    label: String,
    client: ClientName,
    /// The certificate whose public key the instruments belong to.
    certificate: PathBuf,
    currency: Currency,
    funds: u64,
    limit: Option<u64>,
    velocity: Option<FileVelocity>,
    #[serde(deserialize_with = "status")]
    status: Status,
    #[serde(rename = "instrument", default)]
    instruments: Vec<FileInstrument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileVelocity {
    purchases: u32,
    seconds: u64,
}

#[derive(Deserialize)]
struct FileInstrument {
    #[serde(deserialize_with = "status")]
    status: Status,
    #[serde(flatten)]
    instrument: HashMap<String, toml::Value>,
}

fn status<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    let word = String::deserialize(deserializer)?;
    Status::from_word(&word)
        .ok_or_else(|| serde::de::Error::custom("status is active, blocked or do-not-honor"))
}

/// Runs one of the commands.
pub(crate) async fn run(config: &Config, command: Accounts) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Accounts::Add { from } => add(config, &from).await,
        Accounts::List { json } => {
            show(&store::open(config).await?.accounts(None).await?, json)?;
            Ok(ExitCode::SUCCESS)
        }
        Accounts::Show { client, json } => {
            let accounts = store::open(config).await?.accounts(Some(&client)).await?;
            if accounts.is_empty() {
                tracing::error!("no account of {client}; `accounts list` shows all");
                return Ok(ExitCode::from(3));
            }
            show(&accounts, json)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn add(config: &Config, from: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let text = std::fs::read_to_string(from)
        .map_err(|error| format!("can't read {}: {error}", from.display()))?;
    // The text of the error may quote a card number, so only its place is told.
    let file: AccountsFile = toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(0, |span| text[..span.start].lines().count());
        format!(
            "{}, near line {line}: not as accounts.sample.toml explains",
            from.display()
        )
    })?;
    let trust = config.trust.load(config.directory(), mtls::now())?;
    let tokens = keys::open_tokens(config)?;
    let index = config.keys.of(Purpose::Index, KeyState::Active).next();
    let index = tokens.index_key(&index.ok_or("there is no active index key")?.uri)?;
    let store = store::open(config).await?;
    let directory = from.parent().unwrap_or(Path::new(""));
    for account in file.account {
        let (client, label) = (account.client.clone(), account.label.clone());
        let new = new_account(account, directory, &trust, &index).await?;
        if store
            .add_account(
                AddAccount {
                    account: new,
                    now: mtls::now(),
                },
                Instant::now() + OPERATION,
            )
            .await?
        {
            print(&format!("added  {client} {label}"));
        } else {
            print(&format!("kept   {client} {label}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn new_account(
    account: FileAccount,
    directory: &Path,
    trust: &Trust,
    index: &IndexKey,
) -> Result<NewAccount, Box<dyn Error>> {
    let path = directory.join(&account.certificate);
    let chain = mtls::pem::certificates(&path)?;
    let certificate = trust
        .verify(&chain, Role::Client, Usage::MessageSigning, mtls::now())
        .map_err(|refusal| format!("{}: {refusal}", path.display()))?;
    if certificate.name() != account.client.party() {
        return Err(format!(
            "{} is {}'s certificate, not {}'s",
            path.display(),
            certificate.name(),
            account.client
        )
        .into());
    }
    let mut instruments = Vec::new();
    for (number, entry) in account.instruments.into_iter().enumerate() {
        let instrument = instrument(entry.instrument).map_err(|()| {
            format!(
                "instrument {} of account {}: not as accounts.sample.toml explains",
                number + 1,
                account.label
            )
        })?;
        instruments.push(NewInstrument {
            index: index
                .mac(&instrument.look_up_bytes(), Instant::now() + OPERATION)
                .await?,
            kind: match instrument {
                Instrument::Card { .. } => "card",
                Instrument::Account { .. } => "account",
            },
            last_four: instrument.last_four().to_owned(),
            expiry: instrument.expiry(),
            status: entry.status,
        });
    }
    Ok(NewAccount {
        label: account.label,
        client: account.client,
        client_key: Digest::of(certificate.public_key()),
        currency: account.currency,
        funds: account.funds,
        amount_limit: account.limit,
        velocity: account.velocity.map(|velocity| Velocity {
            count: velocity.purchases,
            seconds: velocity.seconds,
        }),
        status: account.status,
        instruments,
    })
}

/// An instrument has in a file the members that it has in PI.
fn instrument(members: HashMap<String, toml::Value>) -> Result<Instrument, ()> {
    let value = serde_json::to_value(members).map_err(|_| ())?;
    serde_json::from_value(value).map_err(|_| ())
}

fn show(accounts: &[AccountRecord], json: bool) -> Result<(), Box<dyn Error>> {
    if json {
        return print_json(&accounts);
    }
    print(&format!(
        "{:<54} {:<10} {:<13} {:>14} {:>14}  INSTRUMENTS",
        "CLIENT", "LABEL", "STATUS", "AVAILABLE", "HELD"
    ));
    for account in accounts {
        let currency: Currency = account.currency.parse()?;
        let instruments: Vec<String> = account
            .instruments
            .iter()
            .map(|instrument| format!("{} …{}", instrument.kind, instrument.last_four))
            .collect();
        print(&format!(
            "{:<54} {:<10} {:<13} {:>14} {:>14}  {}",
            account.client,
            account.label,
            account.status,
            money::written(account.available, currency),
            money::written(account.held, currency),
            instruments.join(", ")
        ));
    }
    Ok(())
}
