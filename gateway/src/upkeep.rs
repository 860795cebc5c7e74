//! `backup`, `check`, `export` and `import`: the database copied while the gateway runs, held against its own rules, and
//! moved to another store.

use std::{error::Error, fs, path::Path, process::ExitCode};

use crate::{
    config::{self, Config},
    output::{print, progress},
    store::{
        self, Store as _,
        postgres::PostgresStore,
        sqlite::{
            SqliteStore,
            backup::{self, Unfinished},
        },
    },
};

/// The exit code for a database that is not whole.
const NOT_WHOLE: u8 = 4;

/// How SQLite names damage (SQLITE_CORRUPT).
const MALFORMED: &str = "malformed";

/// Copies the database.
pub(crate) fn back_up(config: &Config, to: &Path) -> Result<ExitCode, Box<dyn Error>> {
    copy(&store::file(config)?, to)
}

fn copy(from: &Path, to: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let progress = progress("copying, page");
    let bytes = backup::copy(from, to, |state| {
        let pages = |count: i32| u64::from(count.unsigned_abs());
        progress.set_length(pages(state.pagecount));
        progress.set_position(pages(state.pagecount - state.remaining));
    })?;
    progress.finish_and_clear();
    print(&format!("{} {bytes} bytes, checked", to.display()));
    Ok(ExitCode::SUCCESS)
}

/// Copies a database whose ledger balances; of another one nothing is left.
async fn copy_balanced(from: &Path, to: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let code = copy(from, to)?;
    let rules = SqliteStore::open(to)?.reconcile().await?;
    let Some(broken) = rules.iter().find(|rule| !rule.differences.is_empty()) else {
        print("its ledger balances");
        return Ok(code);
    };
    fs::remove_file(to)?;
    Err(format!(
        "the ledger of {} does not balance ({}); nothing was kept. Look at it with `ledger check`",
        from.display(),
        broken.rule
    )
    .into())
}

/// Writes everything into a file.
pub(crate) async fn export(config: &Config, to: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let config::Store::Postgres(postgres) = &config.store else {
        return copy_balanced(&store::file(config)?, to).await;
    };
    let store = PostgresStore::open(postgres, config.directory()).await?;
    let unfinished = Unfinished::make(to)?;
    let progress = progress("exporting, row");
    let rows = store
        .export(unfinished.path(), |moved, all| {
            progress.set_length(all);
            progress.set_position(moved);
        })
        .await?;
    let bytes = unfinished.finish()?;
    progress.finish_and_clear();
    print(&format!(
        "{} {rows} rows, {bytes} bytes, checked; its ledger balances",
        to.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Brings everything in a file into the store.
pub(crate) async fn import(config: &Config, from: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let postgres = match &config.store {
        config::Store::File(path) => {
            let to = config.path(path);
            if to.exists() {
                return Err(format!(
                    "{} is there already and stays as it is; what is imported goes where nothing is",
                    to.display()
                )
                .into());
            }
            return copy_balanced(from, &to).await;
        }
        config::Store::Postgres(postgres) => postgres,
    };
    let store = PostgresStore::open(postgres, config.directory()).await?;
    let progress = progress("importing, row");
    let rows = store
        .import(from, |moved, all| {
            progress.set_length(all);
            progress.set_position(moved);
        })
        .await?;
    progress.finish_and_clear();
    print(&format!("{rows} rows in {postgres}; its ledger balances"));
    Ok(ExitCode::SUCCESS)
}

/// Has SQLite look at the whole database.
pub(crate) fn check(config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    let path = store::file(config)?;
    let faults = match SqliteStore::open(&path).and_then(|store| store.faults()) {
        Ok(faults) => faults,
        // So damaged that it can't even be looked at.
        Err(error) if error.to_string().contains(MALFORMED) => vec![error.to_string()],
        Err(error) => return Err(error.into()),
    };
    for fault in &faults {
        print(fault);
    }
    if faults.is_empty() {
        print(&format!("{} is whole", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    tracing::error!(
        "the database is damaged: stop the gateway, keep the file, restore a backup, and check the disk"
    );
    Ok(ExitCode::from(NOT_WHOLE))
}
