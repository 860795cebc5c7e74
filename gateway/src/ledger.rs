//! `ledger`: whether the double-entry ledger balances.

use std::{error::Error, process::ExitCode};

use crate::{
    cli::Ledger,
    config::Config,
    output::{print, print_json},
    store,
};

/// The exit code for a ledger that does not balance.
const DIFFERS: u8 = 4;

/// Runs one of the commands.
pub(crate) async fn run(config: &Config, command: &Ledger) -> Result<ExitCode, Box<dyn Error>> {
    let Ledger::Check { json } = command;
    let rules = store::open_existing(config).await?.reconcile().await?;
    if *json {
        print_json(&rules)?;
    } else {
        for rule in &rules {
            let mark = if rule.differences.is_empty() {
                "holds "
            } else {
                "FAILS "
            };
            print(&format!(
                "{mark} {} ({} looked at)",
                rule.rule, rule.checked
            ));
            for difference in &rule.differences {
                print(&format!("         {difference}"));
            }
        }
    }
    if rules.iter().all(|rule| rule.differences.is_empty()) {
        return Ok(ExitCode::SUCCESS);
    }
    tracing::error!(
        "the ledger does not balance: stop the gateway, keep the database as it is, and compare it with a backup"
    );
    Ok(ExitCode::from(DIFFERS))
}
