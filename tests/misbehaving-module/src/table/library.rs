//! The library, its slots, their sessions and logins.

use cryptoki_sys::{
    CK_BBOOL, CK_FALSE, CK_FLAGS, CK_INFO, CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_NOTIFY, CK_RV,
    CK_SESSION_HANDLE, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO, CK_ULONG, CK_USER_TYPE,
    CK_UTF8CHAR, CK_VOID_PTR, CKF_TOKEN_PRESENT, CKR_OK, CKR_SESSION_COUNT,
};

use crate::{
    functions::Function,
    module::{Asked, call},
    wrapped::invoke,
};

pub(super) unsafe extern "C" fn C_Initialize(arguments: CK_VOID_PTR) -> CK_RV {
    call(Asked::of(Function::C_Initialize), |module, control| {
        module.begin_life(control, arguments)
    })
}

pub(super) unsafe extern "C" fn C_Finalize(reserved: CK_VOID_PTR) -> CK_RV {
    call(Asked::of(Function::C_Finalize), |module, _| {
        module.end_life(reserved)
    })
}

/// Functions that are passed on.
macro_rules! passed_on {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        pub(super) unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
            call(Asked::of(Function::$name), |module, _| {
                invoke!(module.wrapped, $name($($argument),*))
            })
        }
    )*};
}

passed_on! {
    C_GetInfo(info: *mut CK_INFO);
    C_GetMechanismList(slot: CK_SLOT_ID, list: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG);
    C_GetMechanismInfo(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO);
    C_InitToken(slot: CK_SLOT_ID, pin: *mut CK_UTF8CHAR, length: CK_ULONG, label: *mut CK_UTF8CHAR);
    C_WaitForSlotEvent(flags: CK_FLAGS, slot: *mut CK_SLOT_ID, reserved: CK_VOID_PTR);
}

pub(super) unsafe extern "C" fn C_GetSlotList(
    with_token: CK_BBOOL,
    list: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    call(Asked::of(Function::C_GetSlotList), |module, control| {
        if control.removed.is_none() || with_token == CK_FALSE {
            return invoke!(module.wrapped, C_GetSlotList(with_token, list, count));
        }
        // Its answer may still be that it is not initialised, or that the arguments are bad.
        let code = invoke!(
            module.wrapped,
            C_GetSlotList(with_token, std::ptr::null_mut(), count)
        );
        if code == CKR_OK {
            // SAFETY: the wrapped module just wrote there.
            unsafe { *count = 0 };
        }
        code
    })
}

pub(super) unsafe extern "C" fn C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    call(Asked::of(Function::C_GetSlotInfo), |module, control| {
        let code = invoke!(module.wrapped, C_GetSlotInfo(slot, info));
        if code == CKR_OK && control.removed.is_some() {
            // SAFETY: the wrapped module just wrote there.
            unsafe { (*info).flags &= !CKF_TOKEN_PRESENT };
        }
        code
    })
}

pub(super) unsafe extern "C" fn C_GetTokenInfo(
    slot: CK_SLOT_ID,
    info: *mut CK_TOKEN_INFO,
) -> CK_RV {
    call(Asked::of(Function::C_GetTokenInfo), |module, control| {
        let code = invoke!(module.wrapped, C_GetTokenInfo(slot, info));
        if code == CKR_OK {
            // SAFETY: the wrapped module just wrote there.
            unsafe { (*info).flags |= control.pin_flags };
        }
        code
    })
}

pub(super) unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: CK_VOID_PTR,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    call(Asked::of(Function::C_OpenSession), |module, control| {
        if !module.sessions.reserve(control.sessions_max) {
            return CKR_SESSION_COUNT;
        }
        let code = invoke!(
            module.wrapped,
            C_OpenSession(slot, flags, application, notify, session)
        );
        // SAFETY: the wrapped module just wrote there.
        let opened = (code == CKR_OK).then(|| unsafe { *session });
        module.sessions.opened(slot, opened);
        code
    })
}

pub(super) unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    let asked = Asked::in_session(Function::C_CloseSession, session);
    call(asked, |module, _| {
        let code = invoke!(module.wrapped, C_CloseSession(session));
        if code == CKR_OK {
            module.sessions.closed(session);
        }
        code
    })
}

pub(super) unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    call(Asked::of(Function::C_CloseAllSessions), |module, _| {
        let code = invoke!(module.wrapped, C_CloseAllSessions(slot));
        if code == CKR_OK {
            module.sessions.closed_all_of(slot);
        }
        code
    })
}

pub(super) unsafe extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    let asked = Asked::in_session(Function::C_Login, session);
    call(asked, |module, _| {
        let code = invoke!(module.wrapped, C_Login(session, user, pin, length));
        module.counts.login(code);
        code
    })
}
