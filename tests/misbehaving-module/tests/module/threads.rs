//! Many threads at once, while what they use is taken from them.

use std::thread;

use cryptoki::{
    context::Pkcs11,
    error::{Error, Result, RvError},
    object::{Attribute, ObjectClass},
};

use crate::directory::{
    Misbehaving, code, generate_signing, in_a_new_directory, login, session, sign, tested,
};

const THREADS: usize = 8;
const SIGNATURES: usize = 40;

/// Signs once, from nothing.
fn sign_anew(module: &Pkcs11, slot: cryptoki::slot::Slot) -> Result<()> {
    let session = module.open_ro_session(slot)?;
    match login(&session) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(error) => return Err(error),
    }
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label("first".into()),
    ];
    let found = session.find_objects(&template)?;
    // Logged out by another thread's loss.
    let Some(key) = found.first() else {
        return Ok(());
    };
    sign(&session, *key).map(drop)
}

/// Has all threads sign so often, whatever happens; meanwhile writes control files.
fn sign_through(control: &Misbehaving, module: &Pkcs11, lines: impl Fn(usize) -> String) {
    let slot = tested(module);
    thread::scope(|scope| {
        let signing: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..SIGNATURES {
                        if let Err(error) = sign_anew(module, slot) {
                            assert!(matches!(error, Error::Pkcs11(..)), "{error}");
                        }
                    }
                })
            })
            .collect();
        let mut round = 0;
        while signing.iter().any(|thread| !thread.is_finished()) {
            control.control(&lines(round));
            module.get_library_info().unwrap();
            round += 1;
        }
        for thread in signing {
            thread.join().unwrap();
        }
    });
    control.control("");
    sign_anew(module, slot).unwrap();
}

#[test]
fn sessions_are_lost_under_threads_that_use_them() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        generate_signing(&session(&module), "first");
        sign_through(&control, &module, |round| format!("lose-sessions {round}"));
        sign_through(&control, &module, |round| format!("logout {round}"));
    });
}

#[test]
fn the_token_goes_and_comes_under_threads_that_use_it() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        generate_signing(&session(&module), "first");
        sign_through(&control, &module, |round| {
            if round % 2 == 0 { "removed" } else { "" }.to_owned()
        });
        assert_eq!(control.report(&module).of("sessions"), "0");
    });
}

#[test]
fn every_third_call_fails_whichever_thread_it_is_of() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let making = session(&module);
        let key = generate_signing(&making, "first");
        control.control("fail C_Sign CKR_DEVICE_MEMORY every 3");
        thread::scope(|scope| {
            for _ in 0..6 {
                let session = session(&module);
                scope.spawn(move || {
                    for _ in 0..50 {
                        if let Err(error) = sign(&session, key) {
                            assert_eq!(code::<()>(Err(error)), RvError::DeviceMemory);
                        }
                    }
                });
            }
        });
        let report = control.report(&module);
        assert_eq!(report.of("C_Sign"), "300 CKR_OK 200 CKR_DEVICE_MEMORY 100");
    });
}
