//! `keys`: what keys there are, whether they are as their policy, and how one takes the place of another.

use std::{
    error::Error,
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use hsm::{provision::TokenAdmin, report::KeyReport, uri::Pkcs11Uri, waiver::Verdict};
use mtls::pem::certificates;
use protocol::{identifiers::Digest, names::GatewayName, pki::Usage};
use rcgen::{CertificateParams, DnType, PublicKeyData, SanType, SignatureAlgorithm, SigningKey};
use serde::Serialize;
use serde_json::json;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::{
    cli::Keys,
    config::{Config, Token},
    key_table::{KeyEntry, KeyState, Purpose},
    keys::read_certificate,
    output::{print, print_json},
    store,
};

/// Runs one of the commands.
pub(crate) async fn run(path: &Path, command: &Keys) -> Result<ExitCode, Box<dyn Error>> {
    let config = Config::read(path)?;
    match command {
        Keys::List { json } => list(&config, *json)?,
        Keys::Check { json, sign } => return check(&config, *json, *sign),
        Keys::New {
            purpose,
            label,
            certificate,
            csr,
            dns,
        } => new(
            path,
            &config,
            *purpose,
            label,
            certificate.as_deref(),
            csr.as_deref().map(|file| Wanted { file, dns }),
        )?,
        Keys::Request { label, csr, dns } => {
            request_again(&config, label, &Wanted { file: csr, dns })?;
        }
        Keys::Activate { label } => activate(path, &config, label)?,
        Keys::Retire { label } => retire(path, &config, label).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A key as the list shows it.
#[derive(Serialize)]
struct Listed {
    key: String,
    #[serde(rename = "use")]
    purpose: Purpose,
    state: KeyState,
    /// Of its certificate.
    x5t: Option<Digest>,
    certificate: Option<String>,
}

fn list(config: &Config, as_json: bool) -> Result<(), Box<dyn Error>> {
    let listed: Vec<Listed> = config
        .keys
        .entries()
        .iter()
        .map(|entry| {
            let file = entry.certificate.as_ref().map(|file| config.path(file));
            let leaf = file
                .as_deref()
                .and_then(|file| certificates(file).ok())
                .and_then(|chain| chain.into_iter().next());
            Listed {
                key: entry.uri.key_name().to_owned(),
                purpose: entry.purpose,
                state: entry.state,
                x5t: leaf.as_ref().map(|leaf| Digest::of(leaf)),
                certificate: file.map(|file| {
                    let missing = if leaf.is_none() {
                        " (not there yet)"
                    } else {
                        ""
                    };
                    format!("{}{missing}", file.display())
                }),
            }
        })
        .collect();
    if as_json {
        return print_json(&listed);
    }
    print(&format!(
        "{:<24} {:<11} {:<13} {}",
        "key", "use", "state", "certificate"
    ));
    for key in listed {
        print(&format!(
            "{:<24} {:<11} {:<13} {}",
            key.key,
            key.purpose.name(),
            key.state.name(),
            key.certificate.unwrap_or_default()
        ));
    }
    Ok(())
}

/// Holds every key that is used against its policy, in every token.
fn check(config: &Config, as_json: bool, sign: bool) -> Result<ExitCode, Box<dyn Error>> {
    let mut reports = Vec::new();
    let mut signed = None;
    for token in &config.tokens {
        let admin = admin(token)?;
        for entry in config.keys.entries() {
            if entry.state != KeyState::Retired {
                reports.push(admin.report(&entry.uri, entry.purpose.key_use(), &token.waivers)?);
            }
        }
        let signing = config.keys.of(Purpose::Signing, KeyState::Active).next();
        if let Some(signing) = signing.filter(|_| sign && signed.is_none()) {
            let bytes = serde_json::to_vec(&reports)?;
            let signature = admin.sign(signing.uri.key_name(), Digest::of(&bytes).as_bytes())?;
            signed = Some(json!({
                "report": String::from_utf8(bytes)?,
                "key": signing.uri.key_name(),
                "algorithm": "ES256",
                "signature": protocol::encoding::base64(&signature),
            }));
        }
    }
    let wrong = reports.iter().flat_map(KeyReport::wrong).count();
    match (signed, as_json) {
        (Some(signed), _) => print_json(&signed)?,
        (None, true) => print_json(&reports)?,
        (None, false) => reports.iter().for_each(print_report),
    }
    if wrong == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    tracing::error!(
        "{wrong} attributes are not as the policy wants; the gateway does not start with such a key"
    );
    Ok(ExitCode::from(5))
}

fn print_report(report: &KeyReport) {
    print(&format!("{} in token {}", report.key, report.token.label));
    if let Some(opening) = report.opening {
        print(&format!("  opens: {}", opening.description()));
    }
    for finding in &report.findings {
        let verdict = match &finding.verdict {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Waived { reason } => format!("waived: {reason}"),
            Verdict::Wrong => "WRONG".to_owned(),
        };
        print(&format!(
            "  {:<22} expected {:<16} found {:<16} {verdict}",
            finding.attribute, finding.expected, finding.found
        ));
    }
}

/// The request for a certificate: where it goes, and the DNS names that it asks for.
struct Wanted<'a> {
    file: &'a Path,
    dns: &'a [String],
}

/// Makes a key in the first token, and the request for its certificate, signed there.
fn new(
    path: &Path,
    config: &Config,
    purpose: Purpose,
    label: &str,
    certificate: Option<&Path>,
    csr: Option<Wanted<'_>>,
) -> Result<(), Box<dyn Error>> {
    if purpose == Purpose::Index {
        return Err(
            "the index key can't be replaced: every instrument is found by its HMAC, and card numbers are not kept".into(),
        );
    }
    if purpose.is_certified() != (certificate.is_some() && csr.is_some()) {
        return Err(if purpose.is_certified() {
            "such a key needs a certificate: give --csr, where its request goes, and --certificate, where the certificate will be"
        } else {
            "such a key has no certificate: leave --csr and --certificate out"
        }
        .into());
    }
    if let Some(csr) = &csr {
        refuse_names(purpose, csr)?;
    }
    if find(config, label).is_ok() {
        return Err(format!("there is a [[key]] {label} already").into());
    }
    let token = config.tokens.first().ok_or("there is no [token]")?;
    let admin = admin(token)?;
    match purpose {
        Purpose::Data => admin.generate_aes256(label)?,
        _ => {
            let public = admin.generate_p256(label, purpose.key_use())?;
            if let Some(csr) = csr {
                let key = KeyInToken {
                    admin: &admin,
                    label,
                    public,
                };
                write_new(csr.file, &request(purpose, &config.name, csr.dns, &key)?)?;
                print(&format!("{}: have it certified", csr.file.display()));
            }
        }
    }
    change(path, |keys| {
        let mut entry = Table::new();
        entry["use"] = value(purpose.name());
        entry["uri"] = value(Pkcs11Uri::for_key(label).to_string());
        if let Some(certificate) = certificate {
            entry["certificate"] = value(certificate.display().to_string());
        }
        entry["state"] = value(KeyState::Pending.name());
        keys.push(entry);
    })?;
    print(&format!(
        "made {label}; it is pending, and in {}",
        path.display()
    ));
    if config.tokens.len() > 1 {
        print("bring it to the other tokens by their vendor's means before it is activated");
    }
    Ok(())
}

fn refuse_names(purpose: Purpose, csr: &Wanted<'_>) -> Result<(), Box<dyn Error>> {
    if purpose != Purpose::Tls && !csr.dns.is_empty() {
        return Err("only a gateway's TLS certificate has DNS names: leave --dns out".into());
    }
    Ok(())
}

/// Makes a request for another certificate of a key.
fn request_again(config: &Config, label: &str, csr: &Wanted<'_>) -> Result<(), Box<dyn Error>> {
    let entry = find(config, label)?;
    if !entry.purpose.is_certified() {
        return Err(format!("key {label} has no certificate; nothing is to be renewed").into());
    }
    let token = config.tokens.first().ok_or("there is no [token]")?;
    let admin = admin(token)?;
    let name = entry.uri.key_name();
    let public = admin
        .find(name)?
        .and_then(|key| key.public)
        .ok_or_else(|| format!("the token has no key pair {name}; correct [[key]] uri"))?;
    let key = KeyInToken {
        admin: &admin,
        label: name,
        public,
    };
    refuse_names(entry.purpose, csr)?;
    write_new(
        csr.file,
        &request(entry.purpose, &config.name, csr.dns, &key)?,
    )?;
    print(&format!(
        "{}: have it certified, and put the certificate in the place of the one that {label} has",
        csr.file.display()
    ));
    Ok(())
}

/// Has a pending key take the place of the active one.
fn activate(path: &Path, config: &Config, label: &str) -> Result<(), Box<dyn Error>> {
    let entry = find(config, label)?;
    if entry.state != KeyState::Pending {
        return Err(format!(
            "key {label} is {}; only a pending one can be activated",
            entry.state.name()
        )
        .into());
    }
    if let Some(certificate) = &entry.certificate {
        // As the gateway judges it when it takes it over, or starts.
        check_certificate(config, entry, &config.path(certificate))?;
    }
    let former = config
        .keys
        .of(entry.purpose, KeyState::Active)
        .next()
        .map(|former| former.uri.to_string());
    let uri = entry.uri.to_string();
    change(path, |keys| {
        for key in keys.iter_mut() {
            let this = key.get("uri").and_then(Item::as_str).map(str::to_owned);
            if this.as_ref() == Some(&uri) {
                key["state"] = value(KeyState::Active.name());
            } else if this == former {
                key["state"] = value(entry.purpose.when_replaced().name());
            }
        }
    })?;
    print(&format!(
        "{label} is active; a running gateway takes it over at SIGHUP"
    ));
    Ok(())
}

/// Ends the use of a key that was replaced.
async fn retire(path: &Path, config: &Config, label: &str) -> Result<(), Box<dyn Error>> {
    let entry = find(config, label)?;
    if !matches!(entry.state, KeyState::DecryptOnly | KeyState::Pending) {
        return Err(format!(
            "key {label} is {}; only one that was replaced, or is pending, can be retired",
            entry.state.name()
        )
        .into());
    }
    if entry.purpose == Purpose::Data {
        let kept = store::open_existing(config).await?.storage_keys().await?;
        let under_it = kept.iter().filter(|key| key.wrapped_by == label).count();
        if under_it > 0 {
            return Err(format!(
                "{under_it} keys for evidence are under {label}; have each gateway take the active data key over first (SIGHUP)"
            )
            .into());
        }
    }
    let uri = entry.uri.to_string();
    change(path, |keys| {
        for key in keys.iter_mut() {
            if key.get("uri").and_then(Item::as_str) == Some(&uri) {
                key["state"] = value(KeyState::Retired.name());
            }
        }
    })?;
    print(&format!(
        "{label} is retired; a running gateway lets go of it at SIGHUP"
    ));
    Ok(())
}

/// Refuses a certificate that is not good, or another key's.
fn check_certificate(config: &Config, entry: &KeyEntry, path: &Path) -> Result<(), Box<dyn Error>> {
    let usage = match entry.purpose {
        Purpose::Tls => Usage::TlsServer,
        Purpose::Signing => Usage::MessageSigning,
        Purpose::Encryption => Usage::Encryption,
        Purpose::Data | Purpose::Index => return Ok(()),
    };
    let now = mtls::now();
    let trust = config.trust.load(config.directory(), now)?;
    let certified = read_certificate(path.to_owned(), usage, &config.name, &trust, now)?;
    let label = entry.uri.key_name();
    let token = config.tokens.first().ok_or("there is no [token]")?;
    let public = admin(token)?.find(label)?.and_then(|key| key.public);
    if public.as_ref() != Some(certified.certificate.public_key()) {
        return Err(format!(
            "{} is not the certificate of the key {label}; put that one there",
            path.display()
        )
        .into());
    }
    Ok(())
}

fn find<'a>(config: &'a Config, label: &str) -> Result<&'a KeyEntry, String> {
    config
        .keys
        .entries()
        .iter()
        .find(|entry| entry.uri.key_name() == label)
        .ok_or_else(|| format!("there is no [[key]] {label}; `keys list` shows all"))
}

fn admin(token: &Token) -> Result<TokenAdmin, Box<dyn Error>> {
    Ok(TokenAdmin::open(
        &token.module,
        &token.uri,
        &token.pin.read()?,
    )?)
}

/// Changes the `[[key]]` tables of the configuration and nothing else in it, or leaves it as it is.
fn change(
    path: &Path,
    change: impl FnOnce(&mut toml_edit::ArrayOfTables),
) -> Result<(), Box<dyn Error>> {
    let mut document: DocumentMut = fs::read_to_string(path)?.parse()?;
    let keys = document["key"]
        .as_array_of_tables_mut()
        .ok_or("the configuration has no [[key]] tables")?;
    change(keys);
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    fs::write(&new, document.to_string())?;
    fs::set_permissions(&new, fs::metadata(path)?.permissions())?;
    // What would not be read again does not take its place.
    if let Err(error) = Config::read(&new) {
        fs::remove_file(&new)?;
        return Err(error.into());
    }
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, path)?;
    Ok(())
}

fn write_new(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .map_err(|error| format!("{}: {error}; name another file with --csr", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// What a CA is given: a certification request (RFC 2986), signed by the key in the token, so that the CA knows that we
/// have it. A key that only agrees on secrets signs nothing, not its own request either: of it, its public key.
fn request(
    purpose: Purpose,
    name: &GatewayName,
    dns: &[String],
    key: &KeyInToken<'_>,
) -> Result<String, Box<dyn Error>> {
    let mut wanted = CertificateParams::default();
    wanted
        .distinguished_name
        .push(DnType::CommonName, name.id());
    wanted
        .subject_alt_names
        .push(SanType::URI(name.as_str().try_into()?));
    for dns in dns {
        let name = dns
            .as_str()
            .try_into()
            .map_err(|_| format!("--dns {dns} can't stand in a request; give a DNS name"))?;
        wanted.subject_alt_names.push(SanType::DnsName(name));
    }
    if purpose == Purpose::Encryption {
        let public = pem::Pem::new("PUBLIC KEY", key.subject_public_key_info());
        return Ok(pem::encode(&public));
    }
    Ok(wanted.serialize_request(key)?.pem()?)
}

/// A key in a token, as rcgen wants it.
struct KeyInToken<'a> {
    admin: &'a TokenAdmin,
    label: &'a str,
    public: [u8; 65],
}

impl PublicKeyData for KeyInToken<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for KeyInToken<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.admin
            .sign(self.label, Digest::of(message).as_bytes())
            .map(|signature| hsm::signature::der(&signature))
            .map_err(|error| {
                tracing::error!(%error, key = self.label, "no signature of the token");
                rcgen::Error::RemoteKeyError
            })
    }
}
