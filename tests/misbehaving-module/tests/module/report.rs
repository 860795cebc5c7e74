//! What is counted.

use cryptoki::{error::RvError, session::UserType, types::AuthPin};

use crate::directory::{code, generate_signing, in_a_new_directory, login, session, sign, tested};

#[test]
fn calls_codes_logins_and_sessions_are_reported() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let slot = tested(&module);
        let first = module.open_rw_session(slot).unwrap();
        let wrong = AuthPin::from("wrong-1234".to_owned());
        assert_eq!(
            code(first.login(UserType::User, Some(&wrong))),
            RvError::PinIncorrect
        );
        control.control("fail C_Login CKR_DEVICE_ERROR times 1");
        assert_eq!(code(login(&first)), RvError::DeviceError);
        login(&first).unwrap();
        let key = generate_signing(&first, "first");
        control.control("fail C_Sign CKR_DEVICE_ERROR times 1");
        assert!(sign(&first, key).is_err());
        for _ in 0..4 {
            sign(&first, key).unwrap();
        }
        let report = control.report(&module);
        assert_eq!(report.of("C_Sign"), "5 CKR_OK 4 CKR_DEVICE_ERROR 1");
        assert_eq!(report.of("C_Sign/length"), "5 CKR_OK 5");
        assert_eq!(report.of("C_SignInit"), "5 CKR_OK 5");
        assert_eq!(report.of("C_Verify"), "");
        // The security officer's too.
        assert_eq!(
            report.of("C_Login"),
            "4 CKR_OK 2 CKR_DEVICE_ERROR 1 CKR_PIN_INCORRECT 1"
        );
        assert_eq!(report.of("logins"), "3 CKR_OK 2 CKR_PIN_INCORRECT 1");
        assert_eq!(report.of("sessions"), "1");
        assert_eq!(report.of("hanging"), "0");
        assert_eq!(report.of("overlapped"), "0");
    });
}

#[test]
fn what_was_counted_survives_lives_and_loading_anew() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        control.begin_with_token().finalize().unwrap();
        let module = control.begin();
        drop(session(&module));
        let report = control.report(&module);
        assert_eq!(report.of("C_Initialize"), "2 CKR_OK 2");
        assert_eq!(report.of("C_Finalize"), "1 CKR_OK 1");
        assert_eq!(report.of("sessions"), "0");
    });
}

#[test]
fn finalising_while_another_call_is_not_over_is_told() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session = session(&module);
        let key = generate_signing(&session, "first");
        control.control("hang C_SignInit");
        std::thread::scope(|scope| {
            let hanging = scope.spawn(move || code(sign(&session, key)));
            control.until_hanging(&module, "1");
            module.clone().finalize().unwrap();
            control.control("");
            assert_eq!(hanging.join().unwrap(), RvError::CryptokiNotInitialized);
        });
        assert_eq!(control.report(&module).of("overlapped"), "1");
    });
}
