//! `init`: every step makes what is missing and leaves what is there.

use std::path::Path;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use protocol::names::{GatewayName, Role};
use zeroize::Zeroizing;

use crate::{
    Failure,
    authority::{Authority, Origin, PublicPoint, ca_certificate, enter_found, key_label},
    ca::Ca,
    configuration, enrolment_identity,
    journal::{How, Journal},
    layout::{Layout, LockedLayout, Readers, TokenPlace},
    leaf::check_is_of,
    party,
    party_directory::PartyDirectory,
    profiles::{self, Hosts, LEAF_DAYS, Purpose},
    revocation::{Crl, NothingIssued},
    say,
    token_process::{TokenProcess, Usage, WantedKey},
};

/// The gateway's name.
const GATEWAY: &str = "main";

/// The merchant that is made.
const MERCHANT: &str = "bookshop";

/// The gateway's five keys: one use each.
pub(crate) fn gateway_keys() -> Vec<WantedKey> {
    [
        ("tls", Usage::Sign),
        ("signing", Usage::Sign),
        ("encryption", Usage::Derive),
        ("data", Usage::Encrypt),
        ("index", Usage::Mac),
    ]
    .into_iter()
    .map(|(label, usage)| WantedKey {
        label: label.to_owned(),
        usage,
    })
    .collect()
}

/// The keys of the CAs: those of their certificates, and of a CA without one that which is to be made.
pub(crate) fn ca_keys(layout: &Layout, token: &TokenProcess) -> Result<Vec<WantedKey>, Failure> {
    let found = token.keys(Vec::new())?;
    let wanted = layout.cas().into_iter().map(|ca| WantedKey {
        label: key_label(layout, ca, &found),
        usage: Usage::Sign,
    });
    Ok(wanted.collect())
}

/// The four CAs, the root first.
pub(crate) fn cas() -> impl Iterator<Item = Option<Role>> {
    std::iter::once(None).chain(Role::ALL.into_iter().map(Some))
}

pub(crate) fn gateway_name() -> Result<GatewayName, Failure> {
    GatewayName::new(GATEWAY).map_err(|error| Failure::new(error.to_string()))
}

/// Makes everything that is missing.
pub(crate) fn init(layout: &LockedLayout, module: &Path, hosts: &[String]) -> Result<(), Failure> {
    // What can't be completed is found before anything is made.
    if !layout.softhsm_conf(TokenPlace::Ca).exists()
        && let Some(there) = cas()
            .map(|role| layout.ca_certificate(role))
            .find(|path| path.exists())
    {
        return Err(Failure::new(format!(
            "{} is there, and the token of its CA is not in ca/: bring it back to make what is missing, or use \
             another directory; what is there can be served without it",
            there.display()
        )));
    }
    for role in cas() {
        if layout.ca_crl(role).exists() {
            Crl::of(layout, role)?;
        } else {
            NothingIssued::by(layout, role)?;
        }
    }
    let merchant = PartyDirectory::open(layout, "merchant", Role::Merchant)?;
    let client = PartyDirectory::open(layout, "client", Role::Client)?;
    let gateway = token(layout, module, TokenPlace::Gateway)?;
    for key in gateway_keys() {
        let made = gateway.make_key(layout, &key.label, key.usage)?;
        step(made, &format!("key {} in the gateway's token", key.label));
    }
    let ca = token(layout, module, TokenPlace::Ca)?;
    for key in ca_keys(layout, &ca)? {
        let made = ca.make_key(layout, &key.label, key.usage)?;
        step(made, &format!("key {} in the CA token", key.label));
    }
    for role in cas() {
        certificate_authority(layout, &ca, role)?;
    }

    enter_found(layout)?;
    let names = party::hosts(hosts);
    gateway_certificates(layout, &gateway, &ca, &names)?;
    if enrolment_identity::make_if_missing(layout, &ca, &names)? {
        step(true, "TLS key and certificate of the enrolment service");
    }
    let merchant = party::make_merchant(&merchant, &ca, MERCHANT, &names)?;
    party::make_client(&client, &ca)?;
    configuration::gateway(layout, module, &gateway_name()?, &merchant)?;
    say(&format!(
        "ready: {} (`softhsm-setup status --dir {}` shows it)",
        layout.root().display(),
        layout.root().display()
    ));
    Ok(())
}

/// A CA's certificate and first CRL. The certificate gets its file last: a CA that has one has a CRL, and so a
/// CRL that is missing beside a certificate was lost.
fn certificate_authority(
    layout: &LockedLayout,
    ca: &TokenProcess,
    role: Option<Role>,
) -> Result<(), Failure> {
    let path = layout.ca_certificate(role);
    if path.exists() {
        return Ok(());
    }
    let pem = ca_certificate(layout, ca, role)?;
    if !layout.ca_crl(role).exists() {
        let nothing = NothingIssued::by(layout, role)?;
        Authority::sign_first_crl(layout, ca, &nothing, &pem)?;
        step(true, &format!("CRL of the {}", Ca::first(role).label()));
    }
    layout.write_new(&path, pem.as_bytes(), Readers::All)?;
    step(
        true,
        &format!("certificate of the {}", Ca::first(role).label()),
    );
    Ok(())
}

fn step(made: bool, what: &str) {
    if made {
        say(&format!("made   {what}"));
    } else {
        say(&format!("kept   {what}"));
    }
}

/// A token directory with its PINs and configuration, and the token in it.
pub(crate) fn token(
    layout: &LockedLayout,
    module: &Path,
    place: TokenPlace,
) -> Result<TokenProcess, Failure> {
    let tokens = layout.token_file(place, "tokens");
    let config = configuration::softhsm(&tokens)?;
    std::fs::create_dir_all(&tokens).map_err(|error| Failure::file(&tokens, &error))?;
    layout.write_new(&layout.softhsm_conf(place), config.as_bytes(), Readers::All)?;
    let token = TokenProcess::start(layout, place, module)?;
    let user_pin = layout.user_pin(place);
    // A made-up PIN would be a wrong one, and tokens lock.
    if !user_pin.exists() && token.has_token()? {
        return Err(Failure::new(format!(
            "token {} is there, but not its PIN; put it into {}, mode 0600",
            place.label(),
            user_pin.display()
        )));
    }
    for pin in [user_pin, layout.so_pin(place)] {
        layout.write_new(&pin, random_text()?.as_bytes(), Readers::Owner)?;
    }
    let made = token.init_token(layout)?;
    step(made, &format!("token {}", place.label()));
    Ok(token)
}

/// Digits and letters that can be typed, 120 bits of them.
pub(crate) fn random_text() -> Result<Zeroizing<String>, Failure> {
    const CHARACTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
    let mut random = Zeroizing::new([0u8; 24]);
    SystemRandom::new()
        .fill(random.as_mut_slice())
        .map_err(|_| Failure::new("the operating system gave no random bytes"))?;
    let characters = random
        .iter()
        .map(|byte| char::from(CHARACTERS[usize::from(byte % 32)]));
    Ok(Zeroizing::new(characters.collect()))
}

fn gateway_certificates(
    layout: &LockedLayout,
    gateway: &TokenProcess,
    ca: &TokenProcess,
    names: &Hosts,
) -> Result<(), Failure> {
    let name = gateway_name()?;
    for (label, purpose) in [
        ("tls", Purpose::Tls),
        ("signing", Purpose::Signing),
        ("encryption", Purpose::Encryption),
    ] {
        let path = layout.token_file(TokenPlace::Gateway, &format!("{label}.pem"));
        let public = gateway.public(label)?;
        if path.exists() {
            check_is_of(&path, &public)?;
            continue;
        }
        let hosts = match purpose {
            Purpose::Tls => names.clone(),
            _ => Hosts::default(),
        };
        let params = profiles::leaf(name.party(), purpose, &hosts, LEAF_DAYS)?;
        let pem = Authority::open(layout, ca, Some(Role::Gateway))?.issue(
            &mut Journal::open(layout)?,
            Origin::of(How::Init),
            &params,
            &PublicPoint(public),
        )?;
        layout.write_new(&path, pem.as_bytes(), Readers::All)?;
        step(true, &format!("certificate of the gateway's key {label}"));
    }
    Ok(())
}
