//! What a large CRL costs: memory, and the time to load it and to judge a certificate by it.
//!
//! `cargo run --release -p twinseal-mtls --example large_crl [ENTRIES]`

#![allow(
    clippy::print_stdout,
    reason = "a program that prints what it measured"
)]

use std::{error::Error, fs, hint::black_box, time::Instant};

use protocol::{
    names::Role,
    pki::{Trust, TrustSource, Usage},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use time::{Duration, OffsetDateTime};

type Ca = CertifiedIssuer<'static, KeyPair>;
type Outcome<T> = Result<T, Box<dyn Error>>;

const JUDGED: u32 = 200_000;

fn main() -> Outcome<()> {
    let entries: u64 = match std::env::args().nth(1) {
        Some(entries) => entries.parse()?,
        None => 100_000,
    };
    let root = Ca::self_signed(ca("Root")?, KeyPair::generate()?)?;
    let issuing = Ca::signed_by(ca("Merchant CA")?, KeyPair::generate()?, &root)?;
    let root_crl = crl(&root, 0)?;
    let leaf = leaf(&issuing)?;
    println!(
        "{:>9} {:>10} {:>10} {:>12} {:>12}",
        "entries", "bytes", "load", "memory", "judged in"
    );
    for entries in [0, entries] {
        let issuing_crl = crl(&issuing, entries)?;
        let source = || TrustSource {
            root: root.der().clone(),
            root_crl: root_crl.clone(),
            anchors: vec![(Role::Merchant, issuing.der().clone())],
            crls: vec![issuing_crl.clone()],
        };
        // Once before, so that the allocator has what it keeps.
        drop(Trust::load(source(), mtls::now())?);
        let given = source();
        let before = resident_bytes()?;
        let begun = Instant::now();
        let trust = Trust::load(given, mtls::now())?;
        let load = begun.elapsed();
        let memory = resident_bytes()?.saturating_sub(before);
        let begun = Instant::now();
        for _ in 0..JUDGED {
            let judged = trust.verify(
                std::slice::from_ref(&leaf),
                Role::Merchant,
                Usage::TlsClient,
                mtls::now(),
            );
            black_box(judged.map_err(|refusal| refusal.to_string())?);
        }
        let judged = begun.elapsed() / JUDGED;
        println!(
            "{entries:>9} {:>10} {load:>10.1?} {:>8} KiB {judged:>12.1?}",
            issuing_crl.len(),
            memory / 1024
        );
    }
    Ok(())
}

fn ca(name: &str) -> Outcome<CertificateParams> {
    let mut params = dated(name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn dated(name: &str) -> Outcome<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(1);
    Ok(params)
}

fn leaf(issuing: &Ca) -> Outcome<CertificateDer<'static>> {
    let mut params = dated("Leaf")?;
    params.serial_number = Some(SerialNumber::from(7));
    params.subject_alt_names = vec![SanType::URI("urn:twinseal:merchant:shop".try_into()?)];
    params
        .subject_alt_names
        .push(SanType::DnsName("localhost".try_into()?));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params
        .signed_by(&KeyPair::generate()?, issuing)?
        .der()
        .clone())
}

/// Revoked are serial numbers as long as those that `softhsm-setup` draws.
fn crl(issuing: &Ca, entries: u64) -> Outcome<CertificateRevocationListDer<'static>> {
    let now = OffsetDateTime::now_utc();
    let revoked_certs = (0..entries)
        .map(|number| {
            let serial = 1u128 << 126 | u128::from(number) << 40;
            RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial.to_be_bytes()),
                revocation_time: now,
                reason_code: None,
                invalidity_date: None,
            }
        })
        .collect();
    let params = CertificateRevocationListParams {
        this_update: now - Duration::hours(1),
        next_update: now + Duration::hours(12),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(issuing)?.der().clone())
}

/// What the process has in memory (Linux).
fn resident_bytes() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("the system does not say")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
