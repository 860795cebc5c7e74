//! Clients and merchants: light parties, whose keys are in files.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use protocol::{
    identifiers::Jti,
    names::{ClientName, MerchantName, PartyName, Role},
};
use rcgen::{KeyPair, PublicKeyData as _};
use zeroize::Zeroizing;

use crate::{
    Failure,
    authority::{self, Authority, PublicPoint},
    configuration,
    layout::{Layout, Readers, TokenPlace, write_new},
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
    }
}

/// Adds a client in a directory of its own.
pub(crate) fn add_client(layout: &Layout, module: &Path, out: &str) -> Result<(), Failure> {
    refuse_outside(out)?;
    let ca = TokenProcess::start(layout, TokenPlace::Ca, module)?;
    // Without its CA a half of the party would stay behind.
    Authority::open(layout, &ca, Some(Role::Client))?;
    let name = make_client(layout, &ca, out)?;
    print(name.as_str());
    Ok(())
}

/// Adds a merchant in a directory of its own.
pub(crate) fn add_merchant(
    layout: &Layout,
    module: &Path,
    name: &str,
    also: &[String],
    out: &str,
) -> Result<(), Failure> {
    refuse_outside(out)?;
    let ca = TokenProcess::start(layout, TokenPlace::Ca, module)?;
    Authority::open(layout, &ca, Some(Role::Merchant))?;
    let name = make_merchant(layout, &ca, out, name, &hosts(also))?;
    print(name.as_str());
    say("add it to gateway.toml as a [[merchant]], so that the gateway knows it");
    Ok(())
}

fn refuse_outside(out: &str) -> Result<(), Failure> {
    let is_one_name = !out.is_empty() && !out.contains('/') && out != "." && out != "..";
    let is_taken = ["ca", "gateway", "pki"].contains(&out);
    if is_one_name && !is_taken {
        return Ok(());
    }
    Err(Failure::new(format!(
        "--out {out}: give the name of a directory below DIR that is not ca, gateway or pki"
    )))
}

/// A client: its signing key and certificate, configuration, instruments, and the accounts for the card
/// issuer. Its id is random; a client that is there keeps its.
pub(crate) fn make_client(
    layout: &Layout,
    ca: &TokenProcess,
    directory: &str,
) -> Result<ClientName, Failure> {
    let name = match name_of(layout, directory, "client.toml")? {
        Some(name) => name
            .try_into()
            .map_err(|error| Failure::new(format!("{directory}/client.toml: {error}")))?,
        None => match name_in_certificate(layout, directory) {
            Some(name) => name,
            None => random_client()?,
        },
    };
    // The configuration fixes the name, so it goes first.
    configuration::client(layout, directory, &name)?;
    certified_key(
        layout,
        ca,
        directory,
        name.party(),
        Purpose::Signing,
        &Hosts::default(),
    )?;
    Ok(name)
}

/// A merchant: TLS and signing keys and certificates, configuration, catalogue.
pub(crate) fn make_merchant(
    layout: &Layout,
    ca: &TokenProcess,
    directory: &str,
    name: &str,
    hosts: &Hosts,
) -> Result<MerchantName, Failure> {
    let name = MerchantName::new(name)
        .map_err(|error| Failure::new(format!("the merchant's name {name}: {error}")))?;
    let shops = Hosts {
        dns: hosts.dns.clone(),
        ip: Vec::new(),
    };
    certified_key(layout, ca, directory, name.party(), Purpose::Tls, hosts)?;
    certified_key(
        layout,
        ca,
        directory,
        name.party(),
        Purpose::Signing,
        &shops,
    )?;
    configuration::merchant(layout, directory, &name)?;
    Ok(name)
}

fn random_client() -> Result<ClientName, Failure> {
    let id = Jti::random().map_err(|error| Failure::new(error.to_string()))?;
    let hex = crate::issue::hex(id.as_bytes());
    ClientName::new(&hex).map_err(|error| Failure::new(error.to_string()))
}

/// The name that a client without a configuration has in its certificate.
fn name_in_certificate(layout: &Layout, directory: &str) -> Option<ClientName> {
    let pem = fs::read(layout.path(&format!("{directory}/signing.pem"))).ok()?;
    let leaf = authority::Leaf::read(&pem)?;
    ClientName::new(leaf.subject.strip_prefix("client ")?).ok()
}

/// The name in a configuration that is there.
fn name_of(layout: &Layout, directory: &str, file: &str) -> Result<Option<PartyName>, Failure> {
    let path = layout.path(&format!("{directory}/{file}"));
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
    text.lines()
        .find_map(|line| line.strip_prefix("name = "))
        .and_then(|value| value.trim().trim_matches('"').parse().ok())
        .map(Some)
        .ok_or_else(|| {
            Failure::new(format!(
                "{} has no line name = \"urn:twinseal:…\"",
                path.display()
            ))
        })
}

/// A key in a file and its certificate; either that is there stays.
fn certified_key(
    layout: &Layout,
    ca: &TokenProcess,
    directory: &str,
    name: &PartyName,
    purpose: Purpose,
    hosts: &Hosts,
) -> Result<(), Failure> {
    let stem = match purpose {
        Purpose::Tls => "tls",
        _ => "signing",
    };
    let key_path = layout.path(&format!("{directory}/{stem}.key"));
    let certificate_path = layout.path(&format!("{directory}/{stem}.pem"));
    if !key_path.exists() {
        let key = KeyPair::generate()
            .map_err(|error| Failure::new(format!("no key was made: {error}")))?;
        let pem = Zeroizing::new(key.serialize_pem());
        write_new(&key_path, pem.as_bytes(), Readers::Owner)?;
    }
    let pem = fs::read_to_string(&key_path).map_err(|error| Failure::file(&key_path, &error))?;
    let key = KeyPair::from_pem(&Zeroizing::new(pem)).map_err(|error| {
        Failure::new(format!(
            "{} is not a P-256 key in PKCS#8 form: {error}",
            key_path.display()
        ))
    })?;
    let public = key.der_bytes().to_vec();
    if certificate_path.exists() {
        return authority::check_is_of(&certificate_path, &public);
    }
    let role: Role = name.role();
    let params = profiles::leaf(name, purpose, hosts, LEAF_DAYS)?;
    let pem = Authority::open(layout, ca, Some(role))?.issue(&params, &PublicPoint(public))?;
    write_new(&certificate_path, pem.as_bytes(), Readers::All)?;
    say(&format!("made   {stem} key and certificate of {name}"));
    Ok(())
}
