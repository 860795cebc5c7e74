//! Handles that name other objects in the next life.

use cryptoki::{
    error::RvError,
    mechanism::Mechanism,
    object::{Attribute, ObjectClass},
};

use crate::directory::{
    code, find_all, generate, generate_signing, in_a_new_directory, private, session, sign, verify,
};

#[test]
fn a_handle_kept_from_an_earlier_life_signs_with_another_key() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        control.control("handles-reused");
        let module = control.begin_with_token();
        let in_first_life = session(&module);
        for label in ["first", "second"] {
            generate_signing(&in_first_life, label);
        }
        let kept = private(&in_first_life, "first");
        let signature = sign(&in_first_life, kept).unwrap();
        verify(&in_first_life, "first", &signature).unwrap();
        module.finalize().unwrap();

        let module = control.begin();
        let session = session(&module);
        // Nobody has looked for anything in this life.
        let signature = sign(&session, kept).unwrap();
        verify(&session, "second", &signature).unwrap();
        assert_eq!(
            code(verify(&session, "first", &signature)),
            RvError::SignatureInvalid
        );
        assert_eq!(private(&session, "second"), kept);
        assert_ne!(private(&session, "first"), kept);
        let signature = sign(&session, private(&session, "first")).unwrap();
        verify(&session, "first", &signature).unwrap();
        module.finalize().unwrap();
    });
}

#[test]
fn objects_are_numbered_as_they_are_found_or_made() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        let module = control.begin_with_token();
        generate_signing(&session(&module), "first");
        module.finalize().unwrap();
        control.control("handles-reused");
        let module = control.begin();
        let session = session(&module);
        let public = find_all(&session, ObjectClass::PUBLIC_KEY, "first");
        let private = find_all(&session, ObjectClass::PRIVATE_KEY, "first");
        let aes = [Attribute::ValueLen(32.into()), Attribute::Token(false)];
        let made = session.generate_key(&Mechanism::AesKeyGen, &aes).unwrap();
        let numbers = [public[0], private[0], made].map(|object| object.handle());
        assert_eq!(numbers, [1, 2, 3]);
        session.destroy_object(made).unwrap();
        assert_eq!(
            code(session.destroy_object(made)),
            RvError::ObjectHandleInvalid
        );
    });
}

#[test]
fn every_kept_handle_is_of_another_object_in_the_next_life() {
    in_a_new_directory(|directory| {
        let control = directory.module("module-a");
        control.control("handles-reused");
        let module = control.begin_with_token();
        let making = session(&module);
        for label in ["first", "second", "third"] {
            generate_signing(&making, label);
        }
        let derives = [Attribute::Sign(false), Attribute::Derive(true)];
        generate(&making, "agreement", &derives);
        drop(making);
        let named = |session: &_| {
            let mut named = Vec::new();
            for label in ["first", "second", "third", "agreement"] {
                for class in [ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY] {
                    named.push(find_all(session, class, label)[0]);
                }
            }
            named
        };
        let mut before = named(&session(&module));
        module.finalize().unwrap();
        for _ in 0..3 {
            let module = control.begin();
            let now = named(&session(&module));
            for (before, now) in before.iter().zip(&now) {
                assert_ne!(before, now);
            }
            // The same numbers, all good.
            let sorted = |handles: &[cryptoki::object::ObjectHandle]| {
                let mut numbers: Vec<_> = handles.iter().map(|handle| handle.handle()).collect();
                numbers.sort_unstable();
                numbers
            };
            assert_eq!(sorted(&before), sorted(&now));
            before = now;
            module.finalize().unwrap();
        }
    });
}
