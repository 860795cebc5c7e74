//! What takes handles of objects, or gives some out.

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
    CKR_GENERAL_ERROR, CKR_OK,
};

use crate::{
    functions::Function,
    module::{Asked, Module, call},
    wrapped::invoke,
};

/// Functions that take one handle, and are passed on with it translated.
macro_rules! with_object {
    ($($name:ident($($before:ident: $type:ty,)* [$object:ident] $(, $argument:ident: $after:ty)*);)*) => {$(
        pub(super) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            $($before: $type,)*
            $object: CK_OBJECT_HANDLE
            $(, $argument: $after)*
        ) -> CK_RV {
            let asked = Asked::in_session(Function::$name, session);
            call(asked, |module, _| match module.object($object) {
                Ok(real) => invoke!(module.wrapped, $name(session, $($before,)* real $(, $argument)*)),
                Err(code) => code,
            })
        }
    )*};
}

with_object! {
    C_GetObjectSize([object], size: *mut CK_ULONG);
    C_SetAttributeValue([object], template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_EncryptInit(mechanism: *mut CK_MECHANISM, [key]);
    C_DecryptInit(mechanism: *mut CK_MECHANISM, [key]);
    C_DigestKey([key]);
    C_SignInit(mechanism: *mut CK_MECHANISM, [key]);
    C_SignRecoverInit(mechanism: *mut CK_MECHANISM, [key]);
    C_VerifyInit(mechanism: *mut CK_MECHANISM, [key]);
    C_VerifyRecoverInit(mechanism: *mut CK_MECHANISM, [key]);
}

/// Puts the caller's handle in the place of the wrapped module's, where that just wrote it. It writes none where the
/// caller gave no place.
fn hand_over(module: &Module, session: CK_SESSION_HANDLE, place: *mut CK_OBJECT_HANDLE) {
    // SAFETY: null, or a place of the caller's that holds a handle now and that nobody else uses during the call.
    if let Some(handle) = unsafe { place.as_mut() } {
        *handle = module.give_out(session, *handle);
    }
}

/// Makes an object, unless there is no token any more that could hold it: then as SoftHSM does.
fn make(
    module: &Module,
    session: CK_SESSION_HANDLE,
    places: &[*mut CK_OBJECT_HANDLE],
    make: impl FnOnce() -> CK_RV,
) -> CK_RV {
    if module.is_silent() {
        return CKR_GENERAL_ERROR;
    }
    let code = make();
    if code == CKR_OK {
        for place in places {
            hand_over(module, session, *place);
        }
    }
    code
}

pub(super) unsafe extern "C" fn C_CreateObject(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    object: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_CreateObject, session);
    call(asked, |module, _| {
        make(module, session, &[object], || {
            invoke!(
                module.wrapped,
                C_CreateObject(session, template, count, object)
            )
        })
    })
}

pub(super) unsafe extern "C" fn C_CopyObject(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    copy: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_CopyObject, session);
    call(asked, |module, _| match module.object(object) {
        Ok(real) => make(module, session, &[copy], || {
            invoke!(
                module.wrapped,
                C_CopyObject(session, real, template, count, copy)
            )
        }),
        Err(code) => code,
    })
}

pub(super) unsafe extern "C" fn C_DestroyObject(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_DestroyObject, session);
    call(asked, |module, _| match module.object(object) {
        Ok(real) => {
            let code = invoke!(module.wrapped, C_DestroyObject(session, real));
            if code == CKR_OK {
                module.objects.destroyed(object);
            }
            code
        }
        Err(code) => code,
    })
}

pub(super) unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    found: *mut CK_OBJECT_HANDLE,
    max: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_FindObjects, session);
    call(asked, |module, _| {
        let code = invoke!(module.wrapped, C_FindObjects(session, found, max, count));
        if code != CKR_OK {
            return code;
        }
        // SAFETY: the wrapped module just wrote there, and nobody else uses it during the call.
        let count = unsafe { &mut *count };
        if module.is_silent() {
            *count = 0;
        }
        for index in 0..usize::try_from(*count).unwrap_or(0) {
            hand_over(module, session, found.wrapping_add(index));
        }
        code
    })
}

pub(super) unsafe extern "C" fn C_GenerateKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_GenerateKey, session);
    call(asked, |module, _| {
        make(module, session, &[key], || {
            invoke!(
                module.wrapped,
                C_GenerateKey(session, mechanism, template, count, key)
            )
        })
    })
}

pub(super) unsafe extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public_template: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private_template: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public: *mut CK_OBJECT_HANDLE,
    private: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_GenerateKeyPair, session);
    call(asked, |module, _| {
        make(module, session, &[public, private], || {
            invoke!(
                module.wrapped,
                C_GenerateKeyPair(
                    session,
                    mechanism,
                    public_template,
                    public_count,
                    private_template,
                    private_count,
                    public,
                    private
                )
            )
        })
    })
}

pub(super) unsafe extern "C" fn C_WrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    out: *mut CK_BYTE,
    out_length: *mut CK_ULONG,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_WrapKey, session).with_place_for(out);
    call(asked, |module, _| {
        match (module.object(wrapping_key), module.object(key)) {
            (Ok(wrapping_key), Ok(key)) => invoke!(
                module.wrapped,
                C_WrapKey(session, mechanism, wrapping_key, key, out, out_length)
            ),
            (Err(code), _) | (_, Err(code)) => code,
        }
    })
}

pub(super) unsafe extern "C" fn C_UnwrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    length: CK_ULONG,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_UnwrapKey, session);
    call(asked, |module, _| match module.object(unwrapping_key) {
        Ok(real) => make(module, session, &[key], || {
            invoke!(
                module.wrapped,
                C_UnwrapKey(
                    session, mechanism, real, wrapped, length, template, count, key
                )
            )
        }),
        Err(code) => code,
    })
}

pub(super) unsafe extern "C" fn C_DeriveKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    base_key: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_DeriveKey, session);
    call(asked, |module, _| match module.object(base_key) {
        Ok(real) => make(module, session, &[key], || {
            invoke!(
                module.wrapped,
                C_DeriveKey(session, mechanism, real, template, count, key)
            )
        }),
        Err(code) => code,
    })
}

pub(super) unsafe extern "C" fn C_SetOperationState(
    session: CK_SESSION_HANDLE,
    state: *mut CK_BYTE,
    length: CK_ULONG,
    encryption_key: CK_OBJECT_HANDLE,
    authentication_key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_SetOperationState, session);
    call(asked, |module, _| {
        // Zero says that the operation has no such key.
        let real = |handle| match handle {
            0 => Ok(0),
            handle => module.object(handle),
        };
        match (real(encryption_key), real(authentication_key)) {
            (Ok(encryption_key), Ok(authentication_key)) => invoke!(
                module.wrapped,
                C_SetOperationState(session, state, length, encryption_key, authentication_key)
            ),
            (Err(code), _) | (_, Err(code)) => code,
        }
    })
}
