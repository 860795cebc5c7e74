//! The gateway's keys stay in the token, whatever somebody tries who has the PIN.

use cryptoki::{
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeInfo, AttributeType, ObjectHandle},
    session::Session,
};
use hsm::policy::KeyUse;

use crate::{
    directory::{GATEWAY_KEYS, in_a_new_directory, secret_part},
    templates,
};

/// A key like the gateway's of the same kind, but one that may leave: what is refused for the gateway's
/// must work with this.
fn leaving_key(session: &Session, usage: KeyUse) -> ObjectHandle {
    let changes = [
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Modifiable(true),
    ];
    templates::make(session, &format!("leaving-{usage:?}"), usage, &changes)
}

#[test]
fn no_key_of_the_gateway_can_be_read() {
    in_a_new_directory(|directory| {
        let _admin = directory.gateway_token();
        let session = directory.bare_session();
        let wanted = [AttributeType::Value];
        for (label, _) in GATEWAY_KEYS {
            let key = secret_part(&session, label);
            let info = session.get_attribute_info(key, &wanted).unwrap();
            assert!(
                matches!(info[..], [AttributeInfo::Sensitive]),
                "{label}: {info:?}"
            );
            assert!(session.get_attributes(key, &wanted).unwrap().is_empty());
        }
        let leaving = leaving_key(&session, KeyUse::Sign);
        assert_eq!(session.get_attributes(leaving, &wanted).unwrap().len(), 1);
    });
}

#[test]
fn no_key_of_the_gateway_can_be_wrapped() {
    in_a_new_directory(|directory| {
        let _admin = directory.gateway_token();
        let session = directory.bare_session();
        let changes = [Attribute::Wrap(true)];
        let wrapping = templates::make(&session, "wrapping", KeyUse::Encrypt, &changes);
        let wrap = |key| session.wrap_key(&Mechanism::AesKeyWrapPad, wrapping, key);
        for (label, _) in GATEWAY_KEYS {
            let outcome = wrap(secret_part(&session, label));
            assert!(
                matches!(outcome, Err(Error::Pkcs11(RvError::KeyUnextractable, _))),
                "{label}: {outcome:?}"
            );
        }
        assert!(wrap(leaving_key(&session, KeyUse::Sign)).is_ok());
        assert!(wrap(leaving_key(&session, KeyUse::Mac)).is_ok());
    });
}

#[test]
fn no_key_of_the_gateway_can_be_copied_into_one_that_may_do_more() {
    in_a_new_directory(|directory| {
        let _admin = directory.gateway_token();
        let session = directory.bare_session();
        for (label, _) in GATEWAY_KEYS {
            let key = secret_part(&session, label);
            for change in [
                Attribute::Extractable(true),
                Attribute::Sensitive(false),
                Attribute::Private(false),
                Attribute::Modifiable(true),
                Attribute::Sign(true),
                Attribute::Derive(true),
                Attribute::Decrypt(true),
            ] {
                let copy = [Attribute::Token(false), change.clone()];
                assert!(
                    session.copy_object(key, &copy).is_err(),
                    "{label}: {change:?}"
                );
            }
        }
        let copy = [Attribute::Token(false), Attribute::Extractable(true)];
        let leaving = leaving_key(&session, KeyUse::Sign);
        assert!(session.copy_object(leaving, &copy).is_ok());
    });
}

#[test]
fn no_key_of_the_gateway_can_be_changed() {
    in_a_new_directory(|directory| {
        let _admin = directory.gateway_token();
        let session = directory.bare_session();
        for (label, _) in GATEWAY_KEYS {
            let key = secret_part(&session, label);
            for change in [
                Attribute::Extractable(true),
                Attribute::Sensitive(false),
                Attribute::Modifiable(true),
                Attribute::Sign(true),
                Attribute::Derive(true),
                Attribute::Decrypt(true),
                Attribute::Unwrap(true),
                Attribute::Label("another".into()),
            ] {
                let outcome = session.update_attributes(key, std::slice::from_ref(&change));
                assert!(outcome.is_err(), "{label}: {change:?}");
            }
            assert_eq!(secret_part(&session, label), key);
        }
        let leaving = leaving_key(&session, KeyUse::Sign);
        let change = [Attribute::Derive(true)];
        assert!(session.update_attributes(leaving, &change).is_ok());
    });
}
