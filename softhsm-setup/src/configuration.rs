//! The configurations of the three programs: their own commented samples, with the names filled in.

use std::path::Path;

use protocol::names::{ClientName, GatewayName, MerchantName};

use crate::{
    Failure,
    layout::{Layout, Readers, write_new},
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

/// SoftHSM's own configuration of a token directory.
pub(crate) fn softhsm(tokens: &Path) -> String {
    format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    )
}

/// The gateway's.
pub(crate) fn gateway(
    layout: &Layout,
    module: &Path,
    name: &GatewayName,
    merchant: &MerchantName,
) -> Result<(), Failure> {
    let text = GATEWAY
        .replace(SAMPLE_MODULE, &module.display().to_string())
        .replace(SAMPLE_GATEWAY, name.as_str())
        .replace(SAMPLE_MERCHANT, merchant.as_str());
    write_new(
        &layout.path("gateway/gateway.toml"),
        text.as_bytes(),
        Readers::All,
    )?;
    Ok(())
}

/// A merchant's, and its catalogue.
pub(crate) fn merchant(
    layout: &Layout,
    directory: &str,
    name: &MerchantName,
) -> Result<(), Failure> {
    let text = MERCHANT.replace(SAMPLE_MERCHANT, name.as_str());
    write_new(
        &layout.path(&format!("{directory}/merchant.toml")),
        text.as_bytes(),
        Readers::All,
    )?;
    write_new(
        &layout.path(&format!("{directory}/catalogue.toml")),
        CATALOGUE.as_bytes(),
        Readers::All,
    )?;
    Ok(())
}

/// A client's, its instruments, and what the gateway's card issuer is to know of it.
pub(crate) fn client(layout: &Layout, directory: &str, name: &ClientName) -> Result<(), Failure> {
    let filled = |text: &str| text.replace(SAMPLE_CLIENT, name.as_str());
    write_new(
        &layout.path(&format!("{directory}/client.toml")),
        filled(CLIENT).as_bytes(),
        Readers::All,
    )?;
    write_new(
        &layout.path(&format!("{directory}/instruments.toml")),
        INSTRUMENTS.as_bytes(),
        Readers::Owner,
    )?;
    // A further client's cards are the same sample numbers, so its accounts are for an operator to choose.
    if directory == "client" {
        write_new(
            &layout.path("gateway/accounts.toml"),
            filled(ACCOUNTS).as_bytes(),
            Readers::Owner,
        )?;
    }
    Ok(())
}
