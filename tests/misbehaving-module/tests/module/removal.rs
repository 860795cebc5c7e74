//! The token goes away and comes back, with a word or without.

use cryptoki::{error::RvError, object::ObjectClass};

use crate::directory::{
    code, find_all, generate_signing, in_a_new_directory, login, private, session, sign, tested,
};

#[test]
fn a_token_that_is_removed_is_not_present_and_its_sessions_do_not_come_back_with_it() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let slot = tested(&module);
        let first = session(&module);
        let key = generate_signing(&first, "first");
        control.control("removed");
        assert_eq!(code(sign(&first, key)), RvError::DeviceRemoved);
        assert_eq!(module.get_slots_with_token().unwrap(), []);
        assert!(module.get_all_slots().unwrap().contains(&slot));
        assert!(!module.get_slot_info(slot).unwrap().token_present());
        assert_eq!(code(module.get_token_info(slot)), RvError::TokenNotPresent);
        assert_eq!(code(module.open_ro_session(slot)), RvError::TokenNotPresent);
        control.control("removed CKR_DEVICE_ERROR");
        assert_eq!(code(login(&first)), RvError::DeviceError);

        control.control("");
        assert_eq!(code(sign(&first, key)), RvError::SessionHandleInvalid);
        let second = module.open_ro_session(tested(&module)).unwrap();
        assert_eq!(find_all(&second, ObjectClass::PRIVATE_KEY, "first"), []);
        login(&second).unwrap();
        sign(&second, private(&second, "first")).unwrap();
    });
}

#[test]
fn a_token_that_went_away_without_a_word_comes_back_with_the_next_life_only() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let first = session(&module);
        let key = generate_signing(&first, "first");
        let found = || find_all(&first, ObjectClass::PRIVATE_KEY, "first");
        control.control("silent-removal");
        assert_eq!(found(), []);
        assert_eq!(code(sign(&first, key)), RvError::ObjectHandleInvalid);
        assert_eq!(
            code(first.destroy_object(key)),
            RvError::ObjectHandleInvalid
        );
        // The rest goes on.
        let second = session(&module);
        second.get_session_info().unwrap();
        control.control("");
        assert_eq!(found(), []);
        assert_eq!(code(sign(&second, key)), RvError::ObjectHandleInvalid);

        module.finalize().unwrap();
        let module = control.begin();
        let third = session(&module);
        sign(&third, private(&third, "first")).unwrap();
        control.control("silent-removal");
        assert_eq!(find_all(&third, ObjectClass::PRIVATE_KEY, "first"), []);
        module.finalize().unwrap();
        let module = control.begin();
        assert_eq!(
            find_all(&session(&module), ObjectClass::PRIVATE_KEY, "first"),
            []
        );
    });
}
