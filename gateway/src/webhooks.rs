//! `webhooks`: what merchants are told without asking, and the secrets that sign it.

use std::{error::Error, path::Path, process::ExitCode, time::Duration, time::Instant};

use protocol::{encoding, webhook::Secret};
use serde_json::{Value, json};

use crate::{
    cli::{EventStateWord, Webhooks},
    config::Config,
    output::{print, print_json},
    store::{
        self,
        outbox::{EventRecord, EventState, Replay},
    },
};

/// The exit code when an event is not there.
const NOT_FOUND: u8 = 3;

/// Makes a secret.
pub(crate) fn new_secret(out: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let mut text = Secret::random()?.written();
    text.push('\n');
    secret_file::write_new(out, &text).map_err(|error| {
        format!(
            "{} can't be written: {error}; name a file that is not there",
            out.display()
        )
    })?;
    print(&format!(
        "{} is made; give the merchant a copy on a safe way, and name it in secret_files on both sides",
        out.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Runs one of the commands.
pub(crate) async fn run(config: &Config, command: Webhooks) -> Result<ExitCode, Box<dyn Error>> {
    let store = store::open_existing(config).await?;
    match command {
        Webhooks::List {
            merchant,
            state,
            json,
        } => {
            let mut events = store.events(merchant.as_ref()).await?;
            events.retain(|event| state.is_none_or(|state| word_of(event) == state));
            if json {
                print_json(&events.iter().map(object).collect::<Vec<_>>())?;
            } else {
                list(&events);
            }
            Ok(ExitCode::SUCCESS)
        }
        Webhooks::Replay {
            id,
            given_up,
            merchant,
        } => {
            let which = if given_up {
                Replay::GivenUp(merchant)
            } else {
                Replay::These(id.clone())
            };
            let seconds = Duration::from_secs(config.limits.operation_seconds);
            let replayed = store
                .replay_events(which, mtls::now(), Instant::now() + seconds)
                .await?;
            for event in &replayed {
                print(&event.to_string());
            }
            let mut is_complete = true;
            for missing in id.iter().filter(|id| !replayed.contains(id)) {
                tracing::error!("no event {missing} here; `webhooks list` shows all");
                is_complete = false;
            }
            Ok(if is_complete {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(NOT_FOUND)
            })
        }
        // It needs no store, and was made before.
        Webhooks::NewSecret { out } => new_secret(&out),
    }
}

fn word_of(event: &EventRecord) -> EventStateWord {
    match event.state {
        EventState::Pending { .. } => EventStateWord::Pending,
        EventState::Delivered { .. } => EventStateWord::Delivered,
        EventState::GivenUp { .. } => EventStateWord::GivenUp,
    }
}

fn word(event: &EventRecord) -> &'static str {
    match word_of(event) {
        EventStateWord::Pending => "pending",
        EventStateWord::Delivered => "delivered",
        EventStateWord::GivenUp => "given-up",
    }
}

fn object(event: &EventRecord) -> Value {
    let mut object = json!({
        "id": event.id,
        "type": event.kind,
        "subject": encoding::base64url(&event.subject),
        "merchant": event.merchant,
        "at": event.at,
        "state": word(event),
        "tries": event.tries,
        "last_failure": event.last_failure,
        "body": event.body,
    });
    let (name, time) = match event.state {
        EventState::Pending { next_try } => ("next_try", next_try),
        EventState::Delivered { at } => ("delivered_at", at),
        EventState::GivenUp { at } => ("given_up_at", at),
    };
    object[name] = json!(time);
    object
}

fn list(events: &[EventRecord]) {
    let row = |id: &str, state: &str, tries: &str, kind: &str, subject: &str, merchant: &str| {
        print(&format!(
            "{id:<23} {state:<9} {tries:>5}  {kind:<17} {subject:<23} {merchant}"
        ));
    };
    row("EVENT", "STATE", "TRIES", "TYPE", "ABOUT", "MERCHANT");
    for event in events {
        row(
            &event.id.to_string(),
            word(event),
            &event.tries.to_string(),
            &event.kind,
            &encoding::base64url(&event.subject),
            event.merchant.as_str(),
        );
        if let Some(failure) = &event.last_failure {
            print(&format!("{:<23} last failure: {failure}", ""));
        }
    }
}
