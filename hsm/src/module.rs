//! PKCS#11 modules: loaded once per process, initialised, and initialised anew when they have lost their state.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    session::Session,
    slot::Slot,
};

use crate::{error::StartError, uri::Pkcs11Uri};

/// C_Initialize counts per process, not per user of the module.
static LOADED: Mutex<Vec<Arc<Module>>> = Mutex::new(Vec::new());

/// A loaded module.
pub(crate) struct Module {
    path: PathBuf,
    functions: Pkcs11,
    /// How often it was initialised. What it gave before the last time means nothing, or something else: SoftHSM gives
    /// the numbers of handles again.
    generation: AtomicU64,
}

/// A session that knows which initialisation it is of.
pub(crate) struct ModuleSession {
    /// None only while it is dropped.
    session: Option<Session>,
    module: Arc<Module>,
    generation: u64,
}

impl Module {
    /// Loads and initialises a module, or gives the one that is loaded already.
    pub(crate) fn load(path: &Path) -> Result<Arc<Self>, StartError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.iter().find(|known| known.path == path) {
            return Ok(Arc::clone(known));
        }
        let functions = Pkcs11::new(path).map_err(|error| StartError::Module {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let module = Arc::new(Self {
            path: path.to_owned(),
            functions,
            generation: AtomicU64::new(1),
        });
        module.initialize()?;
        loaded.push(Arc::clone(&module));
        Ok(module)
    }

    /// Its functions.
    pub(crate) fn functions(&self) -> &Pkcs11 {
        &self.functions
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How often it was initialised.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Opens a session with a token.
    pub(crate) fn open_session(self: &Arc<Self>, slot: Slot) -> Result<ModuleSession, Error> {
        let generation = self.generation();
        Ok(ModuleSession {
            session: Some(self.functions.open_rw_session(slot)?),
            module: Arc::clone(self),
            generation,
        })
    }

    /// C_Finalize and C_Initialize. All sessions and handles are void then. Nobody may be inside the module.
    pub(crate) fn initialize_anew(&self) -> Result<(), StartError> {
        // From here on no session of before is closed by its number.
        self.generation.fetch_add(1, Ordering::AcqRel);
        match self.functions.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            // Whether it is initialised then shows at once.
            Err(error) => {
                tracing::warn!(module = %self.path.display(), %error, "C_Finalize failed");
            }
        }
        self.initialize()
    }

    fn initialize(&self) -> Result<(), StartError> {
        self.functions
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|error| StartError::Initialize {
                path: self.path.clone(),
                reason: error.to_string(),
            })
    }

    /// Finds the one token that a URI describes.
    pub(crate) fn find_token(&self, uri: &Pkcs11Uri) -> Result<Slot, StartError> {
        let mut matching = Vec::new();
        let mut present = Vec::new();
        for slot in self.functions.get_slots_with_initialized_token()? {
            let token = self.functions.get_token_info(slot)?;
            let matches =
                |wanted: Option<&str>, found: &str| wanted.is_none_or(|text| text == found);
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
}

impl ModuleSession {
    /// The session, if the module was not initialised anew since.
    pub(crate) fn get(&self) -> Option<&Session> {
        self.session
            .as_ref()
            .filter(|_| self.generation == self.module.generation())
    }

    /// The session, for a program in which nobody initialises the module anew.
    pub(crate) fn into_session(mut self) -> Result<Session, StartError> {
        self.session.take().ok_or(StartError::SessionGone)
    }
}

impl Drop for ModuleSession {
    /// A session of an earlier initialisation is not closed: its number may be another's by now.
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && self.generation != self.module.generation()
        {
            std::mem::forget(session);
        }
    }
}
