//! The table of docs/HSM.md: what it says of a module is what the module does.
//!
//! It was made with, and is made anew by
//! `TWINSEAL_WRITE_QUIRKS=1 cargo test -p twinseal-hsm --test conformance document -- --test-threads=1`.

use std::{env, fs, path::Path};

use crate::{
    bench::{Bench, LABEL, PIN},
    connection,
    observations::{self, Row, WrongPins},
};

/// The row that tells the module's version: what another version does is another table's.
const VERSION: &str = "C_GetInfo";

pub(crate) fn it_does_what_the_document_says(bench: &Bench) {
    bench.init_token();
    let mut rows = observations::observe(&bench.library(), LABEL, PIN, &WrongPins::Tried).unwrap();
    rows.extend(connection::observe(bench));
    if let Some(release) = bench.module.release() {
        let version = rows.iter_mut().find(|row| row.what == VERSION).unwrap();
        version.found.push_str(&format!(" ({release})"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/HSM.md");
    let document = fs::read_to_string(&path).unwrap();
    let mut table = Table::read(&document);
    let column = table.column(bench.module.name());
    if env::var_os("TWINSEAL_WRITE_QUIRKS").is_some() {
        table.set(column, &rows);
        fs::write(path, table.write_into(&document)).unwrap();
        return;
    }
    let found = |what| rows.iter().find(|row| row.what == what);
    let version = found(VERSION).unwrap();
    if table.cell(VERSION, column) != Some(version.found.as_str()) {
        // A distribution with another release: the checks hold it to what matters.
        return;
    }
    let differ: Vec<String> = rows
        .iter()
        .filter(|row| table.cell(row.what, column) != Some(row.found.as_str()))
        .map(|row| format!("{}: {}", row.what, row.found))
        .collect();
    assert!(
        differ.is_empty(),
        "docs/HSM.md says otherwise of {}; it is made anew as the first lines of {} say:\n{}",
        bench.module.name(),
        file!(),
        differ.join("\n")
    );
}

/// The table, its head first.
struct Table(Vec<Vec<String>>);

/// Where the table begins: the first cell of its head.
const HEAD: &str = "| what |";

fn lines_of_table(document: &str) -> Vec<&str> {
    document
        .lines()
        .skip_while(|line| !line.starts_with(HEAD))
        .take_while(|line| line.starts_with('|'))
        .collect()
}

impl Table {
    fn read(document: &str) -> Self {
        let lines = lines_of_table(document).into_iter();
        let cells = |line: &str| {
            let inner = line.trim_matches('|').split('|');
            inner.map(|cell| cell.trim().to_owned()).collect()
        };
        Self(
            lines
                .filter(|line| !line.starts_with("| --- |"))
                .map(cells)
                .collect(),
        )
    }

    fn column(&self, name: &str) -> usize {
        self.0[0].iter().position(|cell| cell == name).unwrap()
    }

    fn cell(&self, what: &str, column: usize) -> Option<&str> {
        let row = self.0.iter().find(|row| row[0] == what)?;
        Some(&row[column])
    }

    fn set(&mut self, column: usize, found: &[Row]) {
        let head = self.0[0].clone();
        let old = std::mem::replace(&mut self.0, vec![head]);
        for row in found {
            let before = old.iter().find(|before| before[0] == row.what).cloned();
            let mut cells = before.unwrap_or_else(|| vec![String::new(); self.0[0].len()]);
            cells[0] = row.what.to_owned();
            cells[column] = row.found.clone();
            self.0.push(cells);
        }
    }

    fn write_into(&self, document: &str) -> String {
        let mut lines: Vec<String> = self
            .0
            .iter()
            .map(|row| format!("| {} |", row.join(" | ")))
            .collect();
        lines.insert(1, format!("|{}", " --- |".repeat(self.0[0].len())));
        let old = lines_of_table(document).join("\n");
        document.replace(&old, &lines.join("\n"))
    }
}
