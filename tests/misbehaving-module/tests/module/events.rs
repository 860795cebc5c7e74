//! What happens once for each ID.

use cryptoki::error::RvError;

use crate::directory::{
    code, generate_signing, in_a_new_directory, initialize, login, private, session, sign, tested,
};

#[test]
fn sessions_are_lost_once_for_each_id_and_the_login_with_them() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let (first, second) = (session(&module), session(&module));
        let key = generate_signing(&first, "first");
        control.control("lose-sessions 1");
        assert_eq!(code(sign(&first, key)), RvError::SessionHandleInvalid);
        assert_eq!(
            code(second.get_session_info()),
            RvError::SessionHandleInvalid
        );
        let third = module.open_ro_session(tested(&module)).unwrap();
        login(&third).unwrap();
        let key = private(&third, "first");
        // Another file with the same ID.
        control.control("lose-sessions 1\npin-locked");
        sign(&third, key).unwrap();
        control.control("lose-sessions 1\nlose-sessions 2");
        assert_eq!(code(sign(&third, key)), RvError::SessionHandleInvalid);
    });
}

#[test]
fn a_logout_leaves_the_sessions_without_a_login() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session = session(&module);
        let key = generate_signing(&session, "first");
        control.control("logout 1");
        assert!(sign(&session, key).is_err());
        login(&session).unwrap();
        let key = private(&session, "first");
        sign(&session, key).unwrap();
    });
}

#[test]
fn a_module_that_lost_its_state_wants_to_be_finalised_or_initialised() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let first = session(&module);
        let key = generate_signing(&first, "first");
        control.control("needs-initialize 1");
        assert_eq!(code(sign(&first, key)), RvError::CryptokiNotInitialized);
        assert_eq!(
            code(module.get_library_info()),
            RvError::CryptokiNotInitialized
        );
        // It goes on to be so when the line is gone.
        control.control("");
        assert_eq!(
            code(module.get_slots_with_token()),
            RvError::CryptokiNotInitialized
        );
        module.finalize().unwrap();
        let module = control.begin();
        let second = session(&module);
        sign(&second, private(&second, "first")).unwrap();
        // Without C_Finalize.
        control.control("needs-initialize 2");
        initialize(&module).unwrap();
        assert_eq!(
            code(second.get_session_info()),
            RvError::SessionHandleInvalid
        );
        let third = session(&module);
        sign(&third, private(&third, "first")).unwrap();
    });
}

#[test]
fn a_hard_loss_of_state_is_told_by_finalising_too() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        generate_signing(&session(&module), "first");
        control.control("needs-initialize 1 hard");
        assert_eq!(
            code(module.get_slots_with_token()),
            RvError::CryptokiNotInitialized
        );
        assert_eq!(code(module.finalize()), RvError::CryptokiNotInitialized);
        let module = control.begin();
        let session = session(&module);
        sign(&session, private(&session, "first")).unwrap();
    });
}
