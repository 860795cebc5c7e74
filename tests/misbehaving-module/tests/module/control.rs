//! The control file is found and understood, or the process ends; copies are independent.

use std::fs;

use cryptoki::{error::RvError, session::Session};

use crate::directory::{
    code, generate_signing, in_a_new_directory, initialize, last_words_of, private, session, sign,
    tested, verify,
};

#[test]
fn a_module_that_is_told_nothing_is_the_one_that_it_wraps() {
    in_a_new_directory(|directory| {
        let module = directory.module("module-a").begin_with_token();
        assert_eq!(
            module.get_library_info().unwrap().manufacturer_id(),
            "SoftHSM"
        );
        let session = session(&module);
        let key = generate_signing(&session, "first");
        let signature = sign(&session, key).unwrap();
        verify(&session, "first", &signature).unwrap();
        session.destroy_object(key).unwrap();
        assert_eq!(code(sign(&session, key)), RvError::ObjectHandleInvalid);
        drop(session);
        module.finalize().unwrap();
    });
}

#[test]
fn copies_in_one_process_have_state_and_control_files_of_their_own() {
    in_a_new_directory(|directory| {
        let (a, b) = (directory.module("module-a"), directory.module("module-b"));
        let in_a = a.begin_with_token();
        let in_b = b.begin();
        generate_signing(&session(&in_a), "first");
        a.control("fail C_Sign CKR_DEVICE_ERROR");
        let (session_a, session_b) = (session(&in_a), session(&in_b));
        let sign_first = |session: &Session| sign(session, private(session, "first"));
        assert_eq!(code(sign_first(&session_a)), RvError::DeviceError);
        let signature = sign_first(&session_b).unwrap();
        drop(session_a);
        in_a.finalize().unwrap();
        // The other one goes on.
        verify(&session_b, "first", &signature).unwrap();
        sign_first(&session_b).unwrap();
        let in_a = a.load();
        assert_eq!(
            code(in_a.get_slots_with_token()),
            RvError::CryptokiNotInitialized
        );
        initialize(&in_a).unwrap();
        assert_eq!(code(sign_first(&session(&in_a))), RvError::DeviceError);
    });
}

#[test]
fn a_call_goes_by_the_file_that_stands_there_when_it_begins() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session = session(&module);
        let key = generate_signing(&session, "first");
        // All of one length, and as fast as can be: time and size alone would not tell them apart.
        for round in 0..200 {
            if round % 2 == 0 {
                control.control("fail C_Sign CKR_DEVICE_ERROR");
                assert_eq!(code(sign(&session, key)), RvError::DeviceError);
            } else {
                control.control("#ail C_Sign CKR_DEVICE_ERROR");
                sign(&session, key).unwrap();
            }
        }
    });
}

#[test]
fn a_file_that_cannot_be_understood_ends_the_process() {
    let words = last_words_of(|directory| {
        let control = directory.module("module-a");
        let module = control.begin();
        control.control("fail C_Sing CKR_DEVICE_ERROR");
        let _ = module.get_library_info();
    });
    if let Some(words) = words {
        assert!(
            words
                .contains("module-a.so.control: line 2, `fail C_Sing CKR_DEVICE_ERROR`: C_Sing is"),
            "{words}"
        );
    }
}

#[test]
fn a_file_that_is_missing_ends_the_process() {
    let words = last_words_of(|directory| {
        let control = directory.module("module-a");
        fs::remove_file(directory.path("module-a.so.control")).unwrap();
        control.load();
    });
    if let Some(words) = words {
        assert!(
            words.contains("module-a.so.control: No such file"),
            "{words}"
        );
    }
}

#[test]
fn a_wrapped_module_that_is_missing_ends_the_process() {
    let words = last_words_of(|directory| {
        let control = directory.module("module-a");
        control.write("module /nowhere.so");
        control.load();
    });
    if let Some(words) = words {
        assert!(words.contains("/nowhere.so"), "{words}");
    }
}

#[test]
fn flags_of_the_pin_are_added_to_the_tokens() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let flags = || {
            let info = module.get_token_info(tested(&module)).unwrap();
            (
                info.user_pin_count_low(),
                info.user_pin_final_try(),
                info.user_pin_locked(),
            )
        };
        assert_eq!(flags(), (false, false, false));
        control.control("pin-count-low");
        assert_eq!(flags(), (true, false, false));
        control.control("pin-count-low\npin-final-try");
        assert_eq!(flags(), (true, true, false));
        control.control("pin-locked");
        assert_eq!(flags(), (false, false, true));
    });
}
