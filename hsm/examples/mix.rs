//! How many authorizations a second a token's part of them would allow: threads with a session each that do nothing but
//! what the gateway asks of the token for one, a derivation, a signature and an HMAC. The load program of `tests/`
//! compares the gateway at a slow token with it.
//!
//! `SOFTHSM2_CONF=… cargo run --release --example mix -- MODULE TOKEN_LABEL PIN_FILE THREADS SECONDS`

mod bare;
#[path = "bare/login.rs"]
mod login;
#[path = "bare/rate.rs"]
mod rate;

use std::{env, error::Error, time::Duration};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use cryptoki::{mechanism::Mechanism, object::ObjectClass};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [module, label, pin_file, threads, seconds] = arguments.as_slice() else {
        return Err("usage: mix MODULE TOKEN_LABEL PIN_FILE THREADS SECONDS".into());
    };
    let time = Duration::from_secs(seconds.parse()?);
    let (pkcs11, slot, session) = login::login(module, label, pin_file)?;
    let signing = bare::key(&session, ObjectClass::PRIVATE_KEY, "signing")?;
    let encryption = bare::key(&session, ObjectClass::PRIVATE_KEY, "encryption")?;
    let index = bare::key(&session, ObjectClass::SECRET_KEY, "index")?;
    let peer = PrivateKey::generate(&ECDH_P256)?.compute_public_key()?;
    let peer = peer.as_ref();
    let mut sessions = Vec::new();
    for _ in 0..threads.parse::<usize>()? {
        sessions.push(pkcs11.open_rw_session(slot)?);
    }
    print(rate::rate(sessions, time, |session| {
        bare::derive(session, encryption, peer).is_ok()
            && session
                .sign(&Mechanism::Sha256Hmac, index, b"4111111111111111")
                .is_ok()
            && session.sign(&Mechanism::Ecdsa, signing, &[7; 32]).is_ok()
    }));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a program for scripts")]
fn print(per_second: f64) {
    println!("{per_second}");
}
