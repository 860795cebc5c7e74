//! `backup` and `check`: the database copied while the gateway runs, and held against its own rules.

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use crate::{
    config::Config,
    output::print,
    store::{
        self,
        sqlite::{SqliteStore, backup},
    },
};

/// The exit code for a database that is not whole.
const NOT_WHOLE: u8 = 4;

/// Copies the database.
pub(crate) fn back_up(config: &Config, to: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let mut stderr = io::stderr();
    let shows_progress = stderr.is_terminal();
    let bytes = backup::copy(&store::file(config)?, to, |progress| {
        let copied = progress.pagecount - progress.remaining;
        if shows_progress && progress.pagecount > 0 {
            let percent = i64::from(copied) * 100 / i64::from(progress.pagecount);
            // Whoever closed it does not want to see it.
            let _ = write!(stderr, "\r{percent} %");
        }
    })?;
    if shows_progress {
        let _ = writeln!(io::stderr(), "\r100 %");
    }
    print(&format!("{} {bytes} bytes, checked", to.display()));
    Ok(ExitCode::SUCCESS)
}

/// Has SQLite look at the whole database.
pub(crate) fn check(config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    let path = store::file(config)?;
    let faults = SqliteStore::open(&path)?.faults()?;
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
