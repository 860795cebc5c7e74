//! Calls that fail, hang, are corrupted or one too many.

use std::thread;

use cryptoki::{
    error::RvError,
    mechanism::Mechanism,
    object::{Attribute, AttributeType},
};

use crate::directory::{code, generate_signing, in_a_new_directory, session, sign, tested, verify};

#[test]
fn a_call_fails_with_the_code_always_some_times_or_every_so_often() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session = session(&module);
        let key = generate_signing(&session, "first");
        let outcomes = || -> Vec<bool> { (0..6).map(|_| sign(&session, key).is_ok()).collect() };
        control.control("fail C_Sign CKR_DEVICE_ERROR");
        assert_eq!(outcomes(), [false; 6]);
        control.control("fail C_Sign CKR_DEVICE_ERROR times 2");
        assert_eq!(outcomes(), [false, false, true, true, true, true]);
        control.control("fail C_Sign CKR_DEVICE_ERROR every 3");
        assert_eq!(outcomes(), [true, true, false, true, true, false]);
        control.control("fail C_SignInit 0x80001234 times 1");
        assert_eq!(
            code(sign(&session, key)),
            RvError::VendorDefined(0x8000_1234)
        );
        assert_eq!(outcomes(), [true; 6]);
    });
}

#[test]
fn a_failed_call_leaves_no_operation_behind() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session = session(&module);
        let key = generate_signing(&session, "first");
        let signature = sign(&session, key).unwrap();
        for function in ["C_Sign", "C_Verify", "C_Digest"] {
            control.control(&format!("fail {function} CKR_FUNCTION_FAILED"));
            match function {
                "C_Sign" => assert_eq!(code(sign(&session, key)), RvError::FunctionFailed),
                "C_Verify" => assert_eq!(
                    code(verify(&session, "first", &signature)),
                    RvError::FunctionFailed
                ),
                _ => assert_eq!(
                    code(session.digest(&Mechanism::Sha256, b"data")),
                    RvError::FunctionFailed
                ),
            }
            control.control("");
            let signature = sign(&session, key).unwrap();
            verify(&session, "first", &signature).unwrap();
            session.digest(&Mechanism::Sha256, b"data").unwrap();
        }
    });
}

#[test]
fn a_call_hangs_until_its_line_is_gone_and_then_goes_on() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session_of_first = session(&module);
        let session_of_second = session(&module);
        let key = generate_signing(&session_of_first, "first");
        control.control("hang C_Sign times 1");
        thread::scope(|scope| {
            let first = scope.spawn(move || sign(&session_of_first, key).unwrap());
            control.until_hanging(&module, "1");
            // One only: this is another call.
            sign(&session_of_second, key).unwrap();
            control.until_hanging(&module, "1");
            assert!(!first.is_finished());
            control.control("");
            let signature = first.join().unwrap();
            verify(&session_of_second, "first", &signature).unwrap();
        });
    });
}

#[test]
fn a_call_that_hung_meets_what_happened_meanwhile() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session = session(&module);
        let key = generate_signing(&session, "first");
        control.control("hang C_SignInit");
        thread::scope(|scope| {
            let hanging = scope.spawn(move || code(sign(&session, key)));
            control.until_hanging(&module, "1");
            control.control("removed");
            assert_eq!(hanging.join().unwrap(), RvError::DeviceRemoved);
        });
    });
}

#[test]
fn a_corrupt_signature_does_not_verify() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session = session(&module);
        let key = generate_signing(&session, "first");
        let verified = || verify(&session, "first", &sign(&session, key).unwrap()).is_ok();
        control.control("corrupt C_Sign");
        assert!(!verified());
        control.control("corrupt C_Sign every 2");
        assert_eq!([(); 4].map(|()| verified()), [true, false, true, false]);
        control.control("");
        assert!(verified());
    });
}

#[test]
fn ciphertexts_plaintexts_and_values_are_corrupted_by_one_bit() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let session = session(&module);
        let template = [
            Attribute::ValueLen(32.into()),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
        ];
        let key = session
            .generate_key(&Mechanism::AesKeyGen, &template)
            .unwrap();
        let mechanism = Mechanism::AesCbc([9; 16]);
        let data = [5; 32];
        let differing = |left: &[u8], right: &[u8]| -> u32 {
            assert_eq!(left.len(), right.len());
            left.iter()
                .zip(right)
                .map(|(left, right)| (left ^ right).count_ones())
                .sum()
        };
        let encrypted = || session.encrypt(&mechanism, key, &data).unwrap();
        let right = encrypted();
        control.control("corrupt C_Encrypt");
        assert_eq!(differing(&encrypted(), &right), 1);
        control.control("corrupt C_Decrypt");
        let decrypted = session.decrypt(&mechanism, key, &right).unwrap();
        assert_eq!(differing(&decrypted, &data), 1);
        let value = || match session
            .get_attributes(key, &[AttributeType::Value, AttributeType::KeyType])
            .unwrap()
            .as_slice()
        {
            [Attribute::Value(value), Attribute::KeyType(_)] => value.clone(),
            other => panic!("{other:?}"),
        };
        let right = value();
        control.control("corrupt C_GetAttributeValue");
        assert_eq!(differing(&value(), &right), 1);
    });
}

#[test]
fn one_session_too_many_is_refused_until_another_is_closed() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        let open = || module.open_ro_session(tested(&module));
        control.control("sessions-max 2");
        let first = open().unwrap();
        let _second = open().unwrap();
        assert_eq!(code(open()), RvError::SessionCount);
        first.close().unwrap();
        let _third = open().unwrap();
        assert_eq!(code(open()), RvError::SessionCount);
        // What is lost is not open any more.
        control.control("sessions-max 2\nlose-sessions 1");
        let (_fourth, _fifth) = (open().unwrap(), open().unwrap());
        assert_eq!(code(open()), RvError::SessionCount);
        control.control("");
        open().unwrap();
    });
}
