//! Clients and merchants: light parties, whose keys are in files.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use protocol::{
    identifiers::Jti,
    names::{ClientName, MerchantName, NotAName, PartyName, Role},
};
use rcgen::{KeyPair, PublicKeyData as _};
use zeroize::Zeroizing;

use crate::{
    Failure,
    authority::{Authority, Origin, PublicPoint},
    configuration,
    journal::{How, Journal},
    layout::{LockedLayout, Readers, TokenPlace},
    party_directory::PartyDirectory,
    print,
    profiles::{self, Hosts, LEAF_DAYS, Purpose},
    say,
    token_process::TokenProcess,
};

/// The names of a server: localhost, and what else was asked for.
pub(crate) fn hosts(also: &[String]) -> Hosts {
    Hosts {
        dns: std::iter::once("localhost".to_owned())
            .chain(also.iter().cloned())
            .collect(),
        ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ocsp: None,
    }
}

/// Adds a client in a directory of its own.
pub(crate) fn add_client(layout: &LockedLayout, module: &Path, out: &str) -> Result<(), Failure> {
    let directory = PartyDirectory::open(layout, out, Role::Client)?;
    let ca = TokenProcess::start(layout, TokenPlace::Ca, module)?;
    // Without its CA a half of the party would stay behind.
    Authority::open(layout, &ca, Some(Role::Client))?;
    let name = make_client(&directory, &ca)?;
    print(name.as_str());
    say(&format!(
        "it has no account yet: write one for it, as gateway/accounts.toml explains, with certificate = \
         \"../{out}/signing.pem\", and give it to `twinseal-gateway accounts add --from FILE`"
    ));
    Ok(())
}

/// Adds a merchant in a directory of its own.
pub(crate) fn add_merchant(
    layout: &LockedLayout,
    module: &Path,
    name: &str,
    also: &[String],
    out: &str,
) -> Result<(), Failure> {
    let directory = PartyDirectory::open(layout, out, Role::Merchant)?;
    let name = merchant_name(name)?;
    directory.refuse_other(name.party())?;
    let ca = TokenProcess::start(layout, TokenPlace::Ca, module)?;
    Authority::open(layout, &ca, Some(Role::Merchant))?;
    certify_merchant(&directory, &ca, &name, &hosts(also))?;
    print(name.as_str());
    say(&format!(
        "add it to gateway.toml as a [[merchant]], so that the gateway knows it, with a `webhook` and a copy of \
         {out}/gateway.whsec, if it is to be told what happens; choose another `listen` in {out}/merchant.toml, if \
         another shop runs here"
    ));
    Ok(())
}

/// A client: its signing key and certificate, configuration, instruments, and the accounts for the card
/// issuer. Its id is random; a client that is there keeps its.
pub(crate) fn make_client(
    directory: &PartyDirectory<'_>,
    ca: &TokenProcess,
) -> Result<ClientName, Failure> {
    let name = match directory.party() {
        Some(party) => party
            .clone()
            .try_into()
            .map_err(|error: NotAName| Failure::new(error.to_string()))?,
        None => random_client()?,
    };
    // The configuration fixes the name, so it goes first.
    configuration::client(directory, &name)?;
    certified_key(
        directory,
        ca,
        name.party(),
        Purpose::Signing,
        &Hosts::default(),
    )?;
    Ok(name)
}

/// A merchant: TLS and signing keys and certificates, configuration, catalogue. One that is there keeps its
/// name.
pub(crate) fn make_merchant(
    directory: &PartyDirectory<'_>,
    ca: &TokenProcess,
    name: &str,
    hosts: &Hosts,
) -> Result<MerchantName, Failure> {
    let name = merchant_name(directory.party().map_or(name, PartyName::id))?;
    certify_merchant(directory, ca, &name, hosts)?;
    Ok(name)
}

fn merchant_name(id: &str) -> Result<MerchantName, Failure> {
    MerchantName::new(id)
        .map_err(|error| Failure::new(format!("the merchant's name {id}: {error}")))
}

fn certify_merchant(
    directory: &PartyDirectory<'_>,
    ca: &TokenProcess,
    name: &MerchantName,
    hosts: &Hosts,
) -> Result<(), Failure> {
    let shops = Hosts {
        dns: hosts.dns.clone(),
        ..Hosts::default()
    };
    certified_key(directory, ca, name.party(), Purpose::Tls, hosts)?;
    certified_key(directory, ca, name.party(), Purpose::Signing, &shops)?;
    configuration::merchant(directory, name)
}

fn random_client() -> Result<ClientName, Failure> {
    let id = Jti::random().map_err(|error| Failure::new(error.to_string()))?;
    let hex = crate::issue::hex(id.as_bytes());
    ClientName::new(&hex).map_err(|error| Failure::new(error.to_string()))
}

/// A key in a file and its certificate; either that is there stays.
fn certified_key(
    directory: &PartyDirectory<'_>,
    ca: &TokenProcess,
    name: &PartyName,
    purpose: Purpose,
    hosts: &Hosts,
) -> Result<(), Failure> {
    let stem = match purpose {
        Purpose::Tls => "tls",
        _ => "signing",
    };
    let (key_file, certificate_file) = (format!("{stem}.key"), format!("{stem}.pem"));
    // What is there was looked at when the directory was opened.
    if directory.path(&certificate_file).exists() {
        return Ok(());
    }
    if !directory.path(&key_file).exists() {
        let key = KeyPair::generate()
            .map_err(|error| Failure::new(format!("no key was made: {error}; try again")))?;
        let pem = Zeroizing::new(key.serialize_pem());
        directory.write_new(&key_file, pem.as_bytes(), Readers::Owner)?;
    }
    let public = PublicPoint(directory.key(&key_file)?.der_bytes().to_vec());
    let params = profiles::leaf(name, purpose, hosts, LEAF_DAYS)?;
    let layout = directory.layout();
    let pem = Authority::open(layout, ca, Some(name.role()))?.issue(
        &mut Journal::open(layout)?,
        Origin::of(How::Init),
        &params,
        &public,
    )?;
    directory.write_new(&certificate_file, pem.as_bytes(), Readers::All)?;
    say(&format!("made   {stem} key and certificate of {name}"));
    Ok(())
}
