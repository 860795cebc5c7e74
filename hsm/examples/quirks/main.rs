//! What a PKCS#11 module does differently from others, as a table: for whoever is about to use a module that
//! docs/HSM.md does not name.
//!
//! `cargo run -p twinseal-hsm --example quirks -- MODULE TOKEN_LABEL PIN_FILE`
//!
//! It makes keys called `quirks-…` in the token and destroys them in the end; take a token that has nothing
//! else. No wrong PIN is tried.

mod observations;

use std::{env, error::Error, fs, path::Path};

use observations::WrongPins;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [module, token, pin_file] = arguments.as_slice() else {
        return Err("usage: quirks MODULE TOKEN_LABEL PIN_FILE".into());
    };
    let pin = fs::read_to_string(pin_file)?;
    let pin = pin.trim_end_matches(['\r', '\n']);
    let rows = observations::observe(Path::new(module), token, pin, &WrongPins::Never)?;
    let mut table = format!("| what | {module} |\n| --- | --- |\n");
    for row in rows {
        table.push_str(&format!("| {} | {} |\n", row.what, row.found));
    }
    print_table(&table);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a program")]
fn print_table(table: &str) {
    print!("{table}");
}
