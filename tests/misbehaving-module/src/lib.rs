//! A PKCS#11 v2.40 module for tests: it passes each call on to another module, and misbehaves as a file tells it to.
//!
//! Loaded from `/x/module-a.so`, it reads `/x/module-a.so.control`. Several copies of the library in one process are
//! independent of one another; of a module without locks of its own for that, such as SoftHSM, each wraps another copy.
//! A copy stays loaded to the end of its process, and so does what it counted.
//!
//! # The control file
//!
//! One directive a line; `#` begins a comment, but not in the line `module`. It is looked at in each call and read when
//! it is another file: write a new one and rename it to its place. What no call came to see did not happen. One that
//! can't be understood ends the process. A call goes by the file that stood there when it began, or when it stopped
//! hanging. `F` is a function; C_GetFunctionList alone is always itself.
//!
//! | directive | what it does |
//! | --- | --- |
//! | `module PATH` | The wrapped module. Must be there; only the first file's counts. |
//! | `latency 2ms [F …]` | So much longer takes each call of these functions, or of all but C_Initialize, C_Finalize and C_GetInfo. Units are `us`, `ms`, `s`; several lines add up. |
//! | `in-flight N` | So many calls at once are under way, each for its latency; the others wait, first come first served. It is of the calls that have a latency. |
//! | `fail F CODE [times N \| every N]` | The code instead of a call: always, the first N times, or each N-th time. The operation of the session is ended, as a failure does. The code is a name or hexadecimal. Lines are tried in their order. |
//! | `hang F [times N]` | The call waits until the line is gone, without a place, and goes on then. |
//! | `corrupt F [every N]` | Flips a bit in the middle of the output: of C_Sign, C_Encrypt, C_Decrypt, or of the CKA_VALUE that C_GetAttributeValue gives. |
//! | `lose-sessions ID` | All sessions are closed, which also logs out. |
//! | `logout ID` | Logs out, as another part of the application could. |
//! | `needs-initialize ID [hard]` | CKR_CRYPTOKI_NOT_INITIALIZED from all functions, until C_Finalize or C_Initialize. C_Finalize succeeds; with `hard` it says the same. |
//! | `removed [CODE]` | While it stands, no token is present: functions of a slot give CKR_TOKEN_NOT_PRESENT, those of a session the code (CKR_DEVICE_REMOVED). Sessions and login do not come back with the token. |
//! | `silent-removal` | As SoftHSM when its directory goes away: nothing is found, handles of objects are invalid, nothing is made (CKR_GENERAL_ERROR), all else works. It stays so until C_Initialize without the line. |
//! | `handles-reused` | From the next C_Initialize on, handles are numbers that name other objects in each life of the module; see `objects`. |
//! | `pin-count-low`, `pin-final-try`, `pin-locked` | The flag CKF_USER_PIN_… of each token. |
//! | `sessions-max N` | CKR_SESSION_COUNT from C_OpenSession while N sessions are open. |
//! | `report ID` | Writes what was counted to `/x/module-a.so.calls`, by rename. |
//!
//! What has an ID happens once for each ID, in the order of the lines, before any call goes by the file. No call is in
//! the wrapped module meanwhile. How often a line of `fail`, `hang` or `corrupt` came into question counts on in the
//! next file if the same line stands there; another comment makes it another line.
//!
//! A call that asks only for the length of an output, by giving no place for it, is answered as the client library of a
//! token that is far away would: it neither waits nor fails nor hangs.
//!
//! # The report
//!
//! ```text
//! report 7
//! C_OpenSession 4 CKR_OK 3 CKR_SESSION_COUNT 1
//! C_Sign 123 CKR_OK 120 CKR_DEVICE_ERROR 3
//! C_Sign/length 123 CKR_OK 123
//! logins 2 CKR_OK 1 CKR_PIN_INCORRECT 1
//! sessions 3
//! hanging 0
//! overlapped 0
//! ```
//!
//! Functions that were called, and how often each code was their answer; calls that asked only for a length; what came
//! of the logins that reached the wrapped module; how many sessions are open and calls hang now; how often C_Finalize was
//! called while another call was not over, which the standard leaves undefined.

#![cfg(unix)]

mod beside;
mod codes;
mod control;
mod control_file;
mod copy;
mod counts;
mod delay;
mod functions;
mod installed;
mod module;
mod objects;
mod places;
mod sessions;
mod table;
mod wrapped;

pub use copy::{ModuleCopy, duplicate_token, this_library};
use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CKR_ARGUMENTS_BAD, CKR_OK};
pub use installed::{KRYOPTIC, kryoptic, softhsm};

/// C_GetFunctionList of PKCS#11 v2.40.
///
/// # Safety
/// As the standard says: null, or a place for a pointer.
#[allow(non_snake_case, reason = "the name of the standard")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // A control file that can't be understood is told at once.
    module::module();
    // SAFETY: the caller's.
    unsafe { *list = (&raw const table::FUNCTIONS).cast_mut() };
    CKR_OK
}
