//! What gives data out, which can be corrupted on the way.

use std::slice;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
    CK_UNAVAILABLE_INFORMATION, CKA_VALUE, CKR_OK,
};

use crate::{
    control::Control,
    functions::Function,
    module::{Asked, call},
    wrapped::invoke,
};

/// Flips the lowest bit of the byte in the middle, if the control file says that it is this output's turn.
///
/// # Safety
/// As many bytes as `length` says are at `output`, and nobody else uses them.
unsafe fn corrupt(control: &Control, function: Function, output: *mut CK_BYTE, length: CK_ULONG) {
    let length = usize::try_from(length).unwrap_or(0);
    if length == 0 || !control.corrupts(function) {
        return;
    }
    // SAFETY: the caller's.
    let output = unsafe { slice::from_raw_parts_mut(output, length) };
    output[length / 2] ^= 1;
}

macro_rules! with_output {
    ($($name:ident)*) => {$(
        pub(super) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            data: *mut CK_BYTE,
            length: CK_ULONG,
            out: *mut CK_BYTE,
            out_length: *mut CK_ULONG,
        ) -> CK_RV {
            let asked = Asked::in_session(Function::$name, session).with_place_for(out);
            call(asked, |module, control| {
                let code = invoke!(module.wrapped, $name(session, data, length, out, out_length));
                if code == CKR_OK && !out.is_null() {
                    // SAFETY: the wrapped module just wrote there.
                    let written = unsafe { *out_length };
                    // SAFETY: as many bytes were just written there, for the caller alone.
                    unsafe { corrupt(control, Function::$name, out, written) };
                }
                code
            })
        }
    )*};
}

with_output! { C_Sign C_Encrypt C_Decrypt }

pub(super) unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_GetAttributeValue, session);
    call(asked, |module, control| {
        let real = match module.object(object) {
            Ok(real) => real,
            Err(code) => return code,
        };
        let code = invoke!(
            module.wrapped,
            C_GetAttributeValue(session, real, template, count)
        );
        if code != CKR_OK || template.is_null() {
            return code;
        }
        // SAFETY: the caller's template, which the wrapped module has read as one.
        let template =
            unsafe { slice::from_raw_parts(template, usize::try_from(count).unwrap_or(0)) };
        for attribute in template {
            let (kind, value, length) = (attribute.type_, attribute.pValue, attribute.ulValueLen);
            if kind == CKA_VALUE && !value.is_null() && length != CK_UNAVAILABLE_INFORMATION {
                // SAFETY: as many bytes were just written there, for the caller alone.
                unsafe { corrupt(control, Function::C_GetAttributeValue, value.cast(), length) };
            }
        }
        code
    })
}
