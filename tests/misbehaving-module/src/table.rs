//! The list of functions, and those that are passed on as they are. The others are below it by what they have to do
//! with: the library and its slots, objects, outputs.
//!
//! Arguments are the caller's and are passed on unchecked, unless something is done with them here.

#![allow(non_snake_case, reason = "the names of the standard")]

mod library;
mod objects;
mod outputs;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_FUNCTION_LIST, CK_MECHANISM, CK_RV, CK_SESSION_HANDLE,
    CK_SESSION_INFO, CK_ULONG, CK_UTF8CHAR, CK_VERSION,
};

use crate::{
    functions::Function,
    module::{Asked, call},
    wrapped::invoke,
};

/// Functions of a session that are passed on. `fills` names the output whose absence asks for its length only.
macro_rules! passed_on {
    ($($name:ident($($argument:ident: $type:ty),*) $(fills $output:ident)?;)*) => {$(
        unsafe extern "C" fn $name(session: CK_SESSION_HANDLE, $($argument: $type),*) -> CK_RV {
            let asked = Asked::in_session(Function::$name, session)$(.with_place_for($output))?;
            call(asked, |module, _| invoke!(module.wrapped, $name(session, $($argument),*)))
        }
    )*};
}

passed_on! {
    C_GetSessionInfo(info: *mut CK_SESSION_INFO);
    C_InitPIN(pin: *mut CK_UTF8CHAR, length: CK_ULONG);
    C_SetPIN(old: *mut CK_UTF8CHAR, old_length: CK_ULONG, new: *mut CK_UTF8CHAR, new_length: CK_ULONG);
    C_Logout();
    C_GetOperationState(state: *mut CK_BYTE, length: *mut CK_ULONG) fills state;
    C_FindObjectsInit(template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_FindObjectsFinal();
    C_EncryptUpdate(part: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_EncryptFinal(out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_DecryptUpdate(part: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_DecryptFinal(out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_DigestInit(mechanism: *mut CK_MECHANISM);
    C_Digest(data: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_DigestUpdate(part: *mut CK_BYTE, length: CK_ULONG);
    C_DigestFinal(out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_SignUpdate(part: *mut CK_BYTE, length: CK_ULONG);
    C_SignFinal(out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_SignRecover(data: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_Verify(data: *mut CK_BYTE, length: CK_ULONG, signature: *mut CK_BYTE, signature_length: CK_ULONG);
    C_VerifyUpdate(part: *mut CK_BYTE, length: CK_ULONG);
    C_VerifyFinal(signature: *mut CK_BYTE, length: CK_ULONG);
    C_VerifyRecover(signature: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_DigestEncryptUpdate(part: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_DecryptDigestUpdate(part: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_SignEncryptUpdate(part: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_DecryptVerifyUpdate(part: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, out_length: *mut CK_ULONG) fills out;
    C_SeedRandom(seed: *mut CK_BYTE, length: CK_ULONG);
    C_GenerateRandom(out: *mut CK_BYTE, length: CK_ULONG);
    C_GetFunctionStatus();
    C_CancelFunction();
}

/// What C_GetFunctionList gives.
pub(crate) static FUNCTIONS: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
    version: CK_VERSION {
        major: 2,
        minor: 40,
    },
    C_Initialize: Some(library::C_Initialize),
    C_Finalize: Some(library::C_Finalize),
    C_GetInfo: Some(library::C_GetInfo),
    C_GetFunctionList: Some(crate::C_GetFunctionList),
    C_GetSlotList: Some(library::C_GetSlotList),
    C_GetSlotInfo: Some(library::C_GetSlotInfo),
    C_GetTokenInfo: Some(library::C_GetTokenInfo),
    C_GetMechanismList: Some(library::C_GetMechanismList),
    C_GetMechanismInfo: Some(library::C_GetMechanismInfo),
    C_InitToken: Some(library::C_InitToken),
    C_InitPIN: Some(C_InitPIN),
    C_SetPIN: Some(C_SetPIN),
    C_OpenSession: Some(library::C_OpenSession),
    C_CloseSession: Some(library::C_CloseSession),
    C_CloseAllSessions: Some(library::C_CloseAllSessions),
    C_GetSessionInfo: Some(C_GetSessionInfo),
    C_GetOperationState: Some(C_GetOperationState),
    C_SetOperationState: Some(objects::C_SetOperationState),
    C_Login: Some(library::C_Login),
    C_Logout: Some(C_Logout),
    C_CreateObject: Some(objects::C_CreateObject),
    C_CopyObject: Some(objects::C_CopyObject),
    C_DestroyObject: Some(objects::C_DestroyObject),
    C_GetObjectSize: Some(objects::C_GetObjectSize),
    C_GetAttributeValue: Some(outputs::C_GetAttributeValue),
    C_SetAttributeValue: Some(objects::C_SetAttributeValue),
    C_FindObjectsInit: Some(C_FindObjectsInit),
    C_FindObjects: Some(objects::C_FindObjects),
    C_FindObjectsFinal: Some(C_FindObjectsFinal),
    C_EncryptInit: Some(objects::C_EncryptInit),
    C_Encrypt: Some(outputs::C_Encrypt),
    C_EncryptUpdate: Some(C_EncryptUpdate),
    C_EncryptFinal: Some(C_EncryptFinal),
    C_DecryptInit: Some(objects::C_DecryptInit),
    C_Decrypt: Some(outputs::C_Decrypt),
    C_DecryptUpdate: Some(C_DecryptUpdate),
    C_DecryptFinal: Some(C_DecryptFinal),
    C_DigestInit: Some(C_DigestInit),
    C_Digest: Some(C_Digest),
    C_DigestUpdate: Some(C_DigestUpdate),
    C_DigestKey: Some(objects::C_DigestKey),
    C_DigestFinal: Some(C_DigestFinal),
    C_SignInit: Some(objects::C_SignInit),
    C_Sign: Some(outputs::C_Sign),
    C_SignUpdate: Some(C_SignUpdate),
    C_SignFinal: Some(C_SignFinal),
    C_SignRecoverInit: Some(objects::C_SignRecoverInit),
    C_SignRecover: Some(C_SignRecover),
    C_VerifyInit: Some(objects::C_VerifyInit),
    C_Verify: Some(C_Verify),
    C_VerifyUpdate: Some(C_VerifyUpdate),
    C_VerifyFinal: Some(C_VerifyFinal),
    C_VerifyRecoverInit: Some(objects::C_VerifyRecoverInit),
    C_VerifyRecover: Some(C_VerifyRecover),
    C_DigestEncryptUpdate: Some(C_DigestEncryptUpdate),
    C_DecryptDigestUpdate: Some(C_DecryptDigestUpdate),
    C_SignEncryptUpdate: Some(C_SignEncryptUpdate),
    C_DecryptVerifyUpdate: Some(C_DecryptVerifyUpdate),
    C_GenerateKey: Some(objects::C_GenerateKey),
    C_GenerateKeyPair: Some(objects::C_GenerateKeyPair),
    C_WrapKey: Some(objects::C_WrapKey),
    C_UnwrapKey: Some(objects::C_UnwrapKey),
    C_DeriveKey: Some(objects::C_DeriveKey),
    C_SeedRandom: Some(C_SeedRandom),
    C_GenerateRandom: Some(C_GenerateRandom),
    C_GetFunctionStatus: Some(C_GetFunctionStatus),
    C_CancelFunction: Some(C_CancelFunction),
    C_WaitForSlotEvent: Some(library::C_WaitForSlotEvent),
};
