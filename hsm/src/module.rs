//! PKCS#11 modules: loaded and initialised once per process, and kept.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    slot::Slot,
};

use crate::{error::StartError, uri::Pkcs11Uri};

/// C_Initialize counts per process, not per user of the module.
static LOADED: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

/// Loads a module, or gives the one that is loaded already.
pub(crate) fn load(path: &Path) -> Result<Pkcs11, StartError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = loaded.iter().find(|(known, _)| known == path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(|error| StartError::Module {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|error| StartError::Initialize {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    loaded.push((path.to_owned(), module.clone()));
    Ok(module)
}

/// Finds the one token that a URI describes.
pub(crate) fn find_token(module: &Pkcs11, uri: &Pkcs11Uri) -> Result<Slot, StartError> {
    let mut matching = Vec::new();
    let mut present = Vec::new();
    for slot in module.get_slots_with_initialized_token()? {
        let token = module.get_token_info(slot)?;
        let matches = |wanted: Option<&str>, found: &str| wanted.is_none_or(|text| text == found);
        if matches(uri.token(), token.label())
            && matches(uri.serial(), token.serial_number())
            && matches(uri.manufacturer(), token.manufacturer_id())
            && matches(uri.model(), token.model())
        {
            matching.push(slot);
        }
        present.push(token.label().to_owned());
    }
    match matching.as_slice() {
        [one] => Ok(*one),
        others => Err(StartError::NotOneToken {
            found: others.len(),
            uri: uri.to_string(),
            present: if present.is_empty() {
                "none".to_owned()
            } else {
                present.join(", ")
            },
        }),
    }
}
