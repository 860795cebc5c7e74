//! The configurations of the three programs: their own commented samples, with the names filled in.

use std::{fs, path::Path};

use protocol::{
    names::{ClientName, GatewayName, MerchantName},
    webhook::Secret,
};
use zeroize::Zeroizing;

use crate::{
    Failure,
    layout::{LockedLayout, Readers},
    party_directory::PartyDirectory,
    trust_lists,
};

const GATEWAY: &str = include_str!("../../gateway/gateway.sample.toml");
const ACCOUNTS: &str = include_str!("../../gateway/accounts.sample.toml");
const MERCHANT: &str = include_str!("../../merchant/merchant.sample.toml");
const CATALOGUE: &str = include_str!("../../merchant/catalogue.sample.toml");
const CLIENT: &str = include_str!("../../client/client.sample.toml");
const INSTRUMENTS: &str = include_str!("../../client/instruments.sample.toml");

// What the samples have, and what takes its place.
const SAMPLE_MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const SAMPLE_GATEWAY: &str = "urn:twinseal:gateway:main";
const SAMPLE_MERCHANT: &str = "urn:twinseal:merchant:bookshop";
const SAMPLE_CLIENT: &str = "urn:twinseal:client:0123456789abcdef";

/// The webhook's secret where the gateway has it, as its sample names it.
const GATEWAYS_SECRET: &str = "gateway/bookshop.whsec";

/// The same, where a merchant has it.
const MERCHANTS_SECRET: &str = "gateway.whsec";

/// How long SoftHSM's path may be: it reads lines of 1023 bytes, and files below it have names, too.
const SOFTHSM_PATH_MAX: usize = 800;

/// SoftHSM's own configuration of a token directory. It knows no quotes: a comment begins at any `#`, a value
/// ends at an `=` or at the end of the line.
pub(crate) fn softhsm(tokens: &Path) -> Result<String, Failure> {
    let path = tokens
        .to_str()
        .filter(|path| path.len() <= SOFTHSM_PATH_MAX && !path.contains(['#', '=', '\n', '\r']));
    let Some(path) = path else {
        return Err(Failure::new(format!(
            "SoftHSM can't have its tokens in {tokens:?}: use a directory whose path has no #, = or line break and \
             at most {SOFTHSM_PATH_MAX} bytes"
        )));
    };
    Ok(format!(
        "directories.tokendir = {path}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
    ))
}

/// A sample with values in the place of its own: strings of TOML in the place of strings of TOML.
fn filled(sample: &str, values: &[(&str, &str)]) -> String {
    let string = |text: &str| toml::Value::from(text).to_string();
    // In one pass: what was filled in is not looked at again.
    let mut filled = String::new();
    let mut rest = sample;
    loop {
        let next = values
            .iter()
            .filter_map(|(from, to)| {
                let quoted = format!("\"{from}\"");
                Some((rest.find(&quoted)?, quoted.len(), to))
            })
            .min();
        let Some((at, length, to)) = next else {
            return filled + rest;
        };
        filled += &rest[..at];
        filled += &string(to);
        rest = &rest[at + length..];
    }
}

/// The gateway's.
pub(crate) fn gateway(
    layout: &LockedLayout,
    module: &Path,
    name: &GatewayName,
    merchant: &MerchantName,
) -> Result<(), Failure> {
    let module = module.to_str().ok_or_else(|| {
        Failure::new(format!(
            "{} is not UTF-8; give the module a link with another name",
            module.display()
        ))
    })?;
    let secret = read_secret(&layout.path("merchant").join(MERCHANTS_SECRET))?;
    layout.write_new(
        &layout.path(GATEWAYS_SECRET),
        secret.as_bytes(),
        Readers::Owner,
    )?;
    let text = filled(
        GATEWAY,
        &[
            (SAMPLE_MODULE, module),
            (SAMPLE_GATEWAY, name.as_str()),
            (SAMPLE_MERCHANT, merchant.as_str()),
        ],
    );
    let text = trust_lists::as_they_are(layout, &text)?;
    layout.write_new(
        &layout.path("gateway/gateway.toml"),
        text.as_bytes(),
        Readers::All,
    )?;
    Ok(())
}

/// A secret of a webhook that was made before.
fn read_secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| Failure::file(path, &error))
}

/// A merchant's, its catalogue, and the secret of its webhook, which the gateway is to have, too.
pub(crate) fn merchant(directory: &PartyDirectory<'_>, name: &MerchantName) -> Result<(), Failure> {
    if !directory.path(MERCHANTS_SECRET).exists() {
        let gateways = directory.layout().path(GATEWAYS_SECRET);
        let secret = if directory.is("merchant") && gateways.exists() {
            read_secret(&gateways)?
        } else {
            let secret = Secret::random().map_err(|error| Failure::new(error.to_string()))?;
            let mut text = secret.written();
            text.push('\n');
            text
        };
        directory.write_new(MERCHANTS_SECRET, secret.as_bytes(), Readers::Owner)?;
    }
    let text = filled(MERCHANT, &[(SAMPLE_MERCHANT, name.as_str())]);
    let text = trust_lists::as_they_are(directory.layout(), &text)?;
    directory.write_new("merchant.toml", text.as_bytes(), Readers::All)?;
    directory.write_new("catalogue.toml", CATALOGUE.as_bytes(), Readers::All)?;
    Ok(())
}

/// A client's, its instruments, and what the gateway's card issuer is to know of it.
pub(crate) fn client(directory: &PartyDirectory<'_>, name: &ClientName) -> Result<(), Failure> {
    let filled = |sample: &str| filled(sample, &[(SAMPLE_CLIENT, name.as_str())]);
    let text = trust_lists::as_they_are(directory.layout(), &filled(CLIENT))?;
    directory.write_new("client.toml", text.as_bytes(), Readers::All)?;
    directory.write_new("instruments.toml", INSTRUMENTS.as_bytes(), Readers::Owner)?;
    // A further client's cards are the same sample numbers, so its accounts are for an operator to choose.
    if directory.is("client") {
        let layout = directory.layout();
        layout.write_new(
            &layout.path("gateway/accounts.toml"),
            filled(ACCOUNTS).as_bytes(),
            Readers::Owner,
        )?;
    }
    Ok(())
}
