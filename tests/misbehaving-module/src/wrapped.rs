//! The wrapped module, and what is asked of it that no caller asked for.

use std::{mem::MaybeUninit, path::Path, ptr};

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_ATTRIBUTE_TYPE, CK_BYTE, CK_C_GetFunctionList, CK_CHAR, CK_FUNCTION_LIST,
    CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO, CK_TRUE, CK_ULONG,
    CKF_RW_SESSION, CKF_SERIAL_SESSION, CKR_OK,
};
use libloading::os::unix::{Library, Symbol};

use crate::{beside::give_up, functions::Function};

/// Longer than any output that is thrown away.
const SCRATCH: usize = 16 * 1024;

/// More than any module has in a test.
const SLOTS_MAX: usize = 64;

/// A token's serial number.
pub(crate) type Serial = [CK_CHAR; 16];

pub(crate) struct Wrapped {
    /// Its functions.
    pub(crate) list: CK_FUNCTION_LIST,
    _library: Library,
}

/// Calls a function of the wrapped module.
macro_rules! invoke {
    ($wrapped:expr, $name:ident($($argument:expr),* $(,)?)) => {
        match $wrapped.list.$name {
            Some(function) => {
                // SAFETY: the arguments are the caller's own, or live until the call is over; the library stays
                // loaded.
                unsafe { function($($argument),*) }
            }
            None => ::cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}
pub(crate) use invoke;

impl Wrapped {
    pub(crate) fn load(path: &Path) -> Self {
        let refuse = |why: &str| -> ! { give_up(&format!("{}: {why}", path.display())) };
        // SAFETY: what a library does when it is loaded is the test's affair, which named it.
        let library =
            unsafe { Library::new(path) }.unwrap_or_else(|error| refuse(&error.to_string()));
        // SAFETY: the standard says which type the symbol of this name has.
        let symbol: Result<Symbol<CK_C_GetFunctionList>, _> =
            unsafe { library.get(b"C_GetFunctionList\0") };
        let get = match symbol.map(|symbol| *symbol) {
            Ok(Some(get)) => get,
            Ok(None) => refuse("its C_GetFunctionList is nowhere"),
            Err(error) => refuse(&error.to_string()),
        };
        let mut list = ptr::null_mut();
        // SAFETY: the place for the answer lives until the call is over.
        let code = unsafe { get(&mut list) };
        if code != CKR_OK || list.is_null() {
            refuse("it has no list of functions");
        }
        Self {
            // SAFETY: the list is a constant of the library, which is loaded.
            list: unsafe { *list },
            _library: library,
        }
    }

    pub(crate) fn finalize(&self) -> CK_RV {
        invoke!(self, C_Finalize(ptr::null_mut()))
    }

    pub(crate) fn close_all_sessions(&self, slot: CK_SLOT_ID) {
        invoke!(self, C_CloseAllSessions(slot));
    }

    pub(crate) fn logout(&self, session: CK_SESSION_HANDLE) {
        invoke!(self, C_Logout(session));
    }

    /// Ends the operation that a failed call would have ended, by one without data whose answer nobody gets. Otherwise
    /// the next C_SignInit and the like would find an operation active, which no failure of the standard leaves.
    pub(crate) fn end_operation(&self, session: CK_SESSION_HANDLE, function: Function) {
        use Function as F;
        let mut scratch = vec![0; SCRATCH];
        let mut length = SCRATCH as CK_ULONG;
        let (data, out): (*mut CK_BYTE, _) = (&mut 0, scratch.as_mut_ptr());
        match function {
            F::C_Encrypt | F::C_EncryptUpdate | F::C_EncryptFinal => {
                invoke!(self, C_Encrypt(session, data, 0, out, &mut length));
            }
            F::C_Decrypt | F::C_DecryptUpdate | F::C_DecryptFinal => {
                invoke!(self, C_Decrypt(session, data, 0, out, &mut length));
            }
            F::C_Digest | F::C_DigestUpdate | F::C_DigestKey | F::C_DigestFinal => {
                invoke!(self, C_Digest(session, data, 0, out, &mut length));
            }
            F::C_Sign | F::C_SignUpdate | F::C_SignFinal => {
                invoke!(self, C_Sign(session, data, 0, out, &mut length));
            }
            F::C_SignRecover => {
                invoke!(self, C_SignRecover(session, data, 0, out, &mut length));
            }
            F::C_Verify | F::C_VerifyUpdate | F::C_VerifyFinal => {
                invoke!(self, C_Verify(session, data, 0, out, 0));
            }
            F::C_VerifyRecover => {
                invoke!(self, C_VerifyRecover(session, data, 0, out, &mut length));
            }
            _ => {}
        }
    }

    /// One attribute of an object; none if it has it not, or does not tell.
    pub(crate) fn attribute(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Option<Vec<u8>> {
        let mut attribute = CK_ATTRIBUTE {
            type_: kind,
            pValue: ptr::null_mut(),
            ulValueLen: 0,
        };
        let ask = |attribute: &mut CK_ATTRIBUTE| {
            invoke!(self, C_GetAttributeValue(session, object, attribute, 1)) == CKR_OK
        };
        if !ask(&mut attribute) {
            return None;
        }
        let mut value = vec![0; usize::try_from(attribute.ulValueLen).ok()?];
        attribute.pValue = value.as_mut_ptr().cast();
        if !value.is_empty() && !ask(&mut attribute) {
            return None;
        }
        value.truncate(usize::try_from(attribute.ulValueLen).ok()?);
        Some(value)
    }

    /// Which token is in a slot: its serial number.
    pub(crate) fn token_in(&self, slot: CK_SLOT_ID) -> Option<Serial> {
        let mut info = MaybeUninit::<CK_TOKEN_INFO>::zeroed();
        if invoke!(self, C_GetTokenInfo(slot, info.as_mut_ptr())) != CKR_OK {
            return None;
        }
        // SAFETY: all zero bytes are a value of it, and the call wrote nothing else than one.
        Some(unsafe { info.assume_init() }.serialNumber)
    }

    /// The slot that has a token now.
    fn slot_of(&self, token: &Serial) -> Option<CK_SLOT_ID> {
        let mut slots = vec![0; SLOTS_MAX];
        let mut count = SLOTS_MAX as CK_ULONG;
        let code = invoke!(self, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &mut count));
        if code != CKR_OK {
            return None;
        }
        slots.truncate(usize::try_from(count).ok()?);
        slots
            .into_iter()
            .find(|slot| self.token_in(*slot).as_ref() == Some(token))
    }

    /// The object of a token that has these attributes, by a session of its own: the caller's may be searching.
    pub(crate) fn find(
        &self,
        token: &Serial,
        attributes: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)],
    ) -> Option<CK_OBJECT_HANDLE> {
        let slot = self.slot_of(token)?;
        let mut session = 0;
        // Read and write: the security officer may be logged in.
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        let opened = invoke!(
            self,
            C_OpenSession(slot, flags, ptr::null_mut(), None, &mut session)
        );
        if opened != CKR_OK {
            return None;
        }
        let mut template: Vec<CK_ATTRIBUTE> = attributes
            .iter()
            .map(|(kind, value)| CK_ATTRIBUTE {
                type_: *kind,
                pValue: value.as_ptr().cast_mut().cast(),
                ulValueLen: value.len() as CK_ULONG,
            })
            .collect();
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let (mut object, mut found) = (0, 0);
        if invoke!(self, C_FindObjectsInit(session, first, count)) == CKR_OK {
            invoke!(self, C_FindObjects(session, &mut object, 1, &mut found));
            invoke!(self, C_FindObjectsFinal(session));
        }
        invoke!(self, C_CloseSession(session));
        (found == 1).then_some(object)
    }
}
