//! What happens to sessions, logins and handles: when somebody logs out, and when the module is finalised and
//! initialised again in the same process.

use cryptoki::{
    mechanism::Mechanism,
    object::{AttributeType, ObjectHandle},
    session::{Session, UserType},
    slot::Limit,
    types::AuthPin,
};
use hsm::policy::KeyUse;

use crate::observations::{
    Row,
    subject::{self, KEYS, Observed, Subject, code},
};

/// No more sessions than these are opened.
const SESSIONS: usize = 1024;

/// No more wrong PINs than these are tried.
const WRONG_PINS: usize = 12;

pub(crate) fn observe(subject: &mut Subject<'_>) -> Observed<Vec<Row>> {
    let mut rows = sessions(subject)?;
    rows.extend(logout(subject)?);
    rows.extend(finalize(subject)?);
    Ok(rows)
}

fn sessions(subject: &Subject<'_>) -> Observed<Vec<Row>> {
    let keeps_login = subject.session()?;
    let info = subject.module.get_token_info(subject.slot)?;
    let mut open = Vec::new();
    let at_once = loop {
        if open.len() == SESSIONS {
            break format!("{SESSIONS} and more");
        }
        match subject.module.open_rw_session(subject.slot) {
            Ok(session) => open.push(session),
            error => break format!("{}, then {}", open.len(), code(error)),
        }
    };
    let pin = AuthPin::from(subject.pin.to_owned());
    Ok(vec![
        Row::new("sessions at once", at_once),
        Row::new(
            "ulMaxRwSessionCount",
            match info.max_rw_session_count() {
                Limit::Max(count) => count.to_string(),
                Limit::Infinite => "infinite".to_owned(),
                Limit::Unavailable => "unavailable".to_owned(),
            },
        ),
        Row::new(
            "C_Login in a process that is logged in",
            code(keeps_login.login(UserType::User, Some(&pin))),
        ),
    ])
}

fn sign(session: &Session, key: ObjectHandle) -> String {
    code(session.sign(&Mechanism::Ecdsa, key, &[7; 32]))
}

fn logout(subject: &Subject<'_>) -> Observed<Vec<Row>> {
    let (session, other) = (subject.session()?, subject.session()?);
    let key = subject::key(&session, KeyUse::Sign)?;
    other.logout()?;
    let after_logout = sign(&session, key);
    subject.log_in(&other)?;
    Ok(vec![
        Row::new("C_Sign after another session's C_Logout", after_logout),
        Row::new(
            "the same handle after a new C_Login",
            who(&session, key, KeyUse::Sign),
        ),
    ])
}

fn finalize(subject: &mut Subject<'_>) -> Observed<Vec<Row>> {
    // Handles may be counted up from C_Initialize on: from here the second count is like the first.
    subject.restart()?;
    let slot = subject.slot;
    let (handle, before) = {
        let session = subject.session()?;
        let mut handles = Vec::new();
        for (_, usage) in KEYS {
            handles.push(subject::key(&session, usage)?);
        }
        // One that is not closed when it is dropped: it would close whichever session has its number by then.
        let before = subject.module.open_rw_session_no_drop(slot)?;
        (handles[0], before)
    };
    subject.module.clone().finalize()?;
    let mut rows = vec![
        Row::new("C_Sign after C_Finalize", sign(&before, handle)),
        Row::new(
            "C_OpenSession after C_Finalize",
            code(subject.module.open_rw_session_no_drop(slot)),
        ),
        Row::new(
            "C_GetSlotList after C_Finalize",
            code(subject.module.get_slots_with_token()),
        ),
    ];
    subject.start()?;
    let is_same = subject.slot == slot;
    rows.push(Row::new(
        "slot of the token after C_Initialize",
        if is_same { "the same" } else { "another" },
    ));
    rows.push(Row::new(
        "session handle of before, after C_Initialize",
        code(before.get_session_info()),
    ));
    let session = subject.module.open_rw_session(subject.slot)?;
    rows.push(Row::new(
        "a new session before C_Login",
        if subject::key(&session, KeyUse::Sign).is_ok() {
            "sees private keys"
        } else {
            "sees no private key"
        },
    ));
    subject.log_in(&session)?;
    rows.push(Row::new(
        "key handle of before, after C_Login",
        who(&session, handle, KeyUse::Sign),
    ));
    // In the other order than before.
    for (_, usage) in KEYS.into_iter().rev() {
        subject::key(&session, usage)?;
    }
    rows.push(Row::new(
        "the same, when the keys were found in another order",
        who(&session, handle, KeyUse::Sign),
    ));
    let mut others = Vec::new();
    for _ in 0..16 {
        others.push(subject.module.open_rw_session(subject.slot)?);
    }
    rows.push(Row::new(
        "session handle of before, when 16 new ones are open",
        match before.get_session_info() {
            Ok(_) => "one of the new sessions".to_owned(),
            error => code(error),
        },
    ));
    Ok(rows)
}

/// Which key a handle is that was the one of a use.
fn who(session: &Session, handle: ObjectHandle, usage: KeyUse) -> String {
    let names = match session.get_attributes(handle, &[AttributeType::Label, AttributeType::Class])
    {
        Ok(names) => names,
        error => return code(error),
    };
    let same = subject::key(session, usage).is_ok_and(|now| {
        now == handle
            || session
                .get_attributes(now, &[AttributeType::Label, AttributeType::Class])
                .is_ok_and(|now| now == names)
    });
    if same {
        "the same key"
    } else {
        "another object"
    }
    .to_owned()
}

/// Spends the PIN: the last thing that is done with a token.
pub(crate) fn wrong_pins(subject: &Subject<'_>) -> Observed<Vec<Row>> {
    let session = subject.module.open_rw_session(subject.slot)?;
    let wrong = AuthPin::from("wrong-1234".to_owned());
    let mut first = None;
    let mut seen: Vec<(&str, usize)> = Vec::new();
    for count in 1..=WRONG_PINS {
        let outcome = code(session.login(UserType::User, Some(&wrong)));
        first.get_or_insert(outcome);
        let info = subject.module.get_token_info(subject.slot)?;
        for (flag, set) in [
            ("CKF_USER_PIN_COUNT_LOW", info.user_pin_count_low()),
            ("CKF_USER_PIN_FINAL_TRY", info.user_pin_final_try()),
            ("CKF_USER_PIN_LOCKED", info.user_pin_locked()),
        ] {
            if set && !seen.iter().any(|(known, _)| *known == flag) {
                seen.push((flag, count));
            }
        }
    }
    let flags: Vec<String> = seen
        .into_iter()
        .map(|(flag, count)| format!("{flag} after {count}"))
        .collect();
    Ok(vec![
        Row::new("a wrong PIN", first.unwrap_or_default()),
        Row::new(
            "flags that 12 wrong PINs raise",
            super::mechanisms::none_or(&flags, ", "),
        ),
    ])
}
