//! What a token's part of an authorization costs when nothing is around it: CPU seconds of one ECDH
//! derivation (with reading and destroying the secret) and of one signature, in a bare loop on one
//! PKCS#11 session. The load program of `tests/` compares the gateway with it.
//!
//! `SOFTHSM2_CONF=… cargo run --release --example floor -- MODULE TOKEN_LABEL PIN_FILE COUNT`

mod bare;
#[path = "bare/login.rs"]
mod login;

use std::{env, error::Error, fs, time::Duration};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use cryptoki::{mechanism::Mechanism, object::ObjectClass};
use login::login;
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [module, label, pin_file, count] = arguments.as_slice() else {
        return Err("usage: floor MODULE TOKEN_LABEL PIN_FILE COUNT".into());
    };
    let count: u32 = count.parse()?;
    let (_, _, session) = login(module, label, pin_file)?;
    let signing = bare::key(&session, ObjectClass::PRIVATE_KEY, "signing")?;
    let encryption = bare::key(&session, ObjectClass::PRIVATE_KEY, "encryption")?;
    let peer = PrivateKey::generate(&ECDH_P256)?.compute_public_key()?;
    let sign = cpu_seconds(count, || {
        session.sign(&Mechanism::Ecdsa, signing, &[7; 32])?;
        Ok(())
    })?;
    let derive = || bare::derive(&session, encryption, peer.as_ref());
    // What is kept from the first on is no leak.
    cpu_seconds(count / 10, derive)?;
    let before = resident_bytes()?;
    let derive = cpu_seconds(count, derive)?;
    let leak = (resident_bytes()? - before) / f64::from(count);
    print_result(derive, sign, leak);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a program for scripts")]
fn print_result(derive: f64, sign: f64, leak: f64) {
    println!(
        "{{\"derive_cpu_seconds\":{derive:e},\"sign_cpu_seconds\":{sign:e},\"derive_leak_bytes\":{leak:e}}}"
    );
}

/// What this process has in memory (proc(5), statm).
fn resident_bytes() -> Result<f64, Box<dyn Error>> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).ok_or("statm")?.parse()?;
    Ok(pages * rustix::param::page_size() as f64)
}

/// CPU seconds of this process per call.
fn cpu_seconds(
    count: u32,
    mut call: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let used = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    // The first calls pay for caches and page faults.
    for _ in 0..count / 10 {
        call()?;
    }
    let before = used();
    for _ in 0..count {
        call()?;
    }
    Ok((used() - before).as_secs_f64() / f64::from(count))
}
