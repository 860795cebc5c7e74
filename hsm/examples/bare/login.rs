//! Logging into a token without our crate.

use std::{error::Error, fs};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};

/// Logs into a token, for as long as the session is kept.
pub(crate) fn login(
    module: &str,
    label: &str,
    pin_file: &str,
) -> Result<(Pkcs11, Slot, Session), Box<dyn Error>> {
    let pkcs11 = Pkcs11::new(module)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let mut slots = pkcs11.get_slots_with_initialized_token()?;
    slots.retain(|slot| {
        pkcs11
            .get_token_info(*slot)
            .is_ok_and(|token| token.label() == label)
    });
    let slot = *slots.first().ok_or("no such token")?;
    let session = pkcs11.open_rw_session(slot)?;
    let pin = AuthPin::from(fs::read_to_string(pin_file)?.trim().to_owned());
    session.login(UserType::User, Some(&pin))?;
    Ok((pkcs11, slot, session))
}
