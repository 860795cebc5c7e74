//! A key that could do more than its one thing, or was not made in the token, is refused by name.

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use hsm::{StartError, Tokens, WorkClass, policy::KeyUse, uri::Pkcs11Uri};

use crate::{
    directory::{TokenDirectory, in_a_new_directory, open},
    templates::{self, P256, P384},
};

/// Opens a key for a use, as a program that serves does.
fn open_key(token: &Tokens, label: &str, usage: KeyUse) -> Result<(), StartError> {
    let uri = Pkcs11Uri::for_key(label);
    // A point of nobody's: what is wrong with the key itself is found first.
    let public = [4; 65];
    match usage {
        KeyUse::Sign => token
            .signing_key(&uri, public, WorkClass::Receipts)
            .map(drop),
        KeyUse::Derive => token.agreement_key(&uri, public).map(drop),
        KeyUse::Encrypt => token.data_key(&uri).map(drop),
        KeyUse::Mac => token.index_key(&uri).map(drop),
    }
}

/// Makes keys of a use, each wrong in one attribute, and sees each refused for it.
fn each_is_refused(
    directory: &TokenDirectory,
    usage: KeyUse,
    cases: &[(&'static str, Attribute, &str)],
) {
    let _admin = directory.new_token();
    let token = open(&directory.config()).unwrap();
    let session = directory.bare_session();
    for (attribute, change, found) in cases {
        let changes = std::slice::from_ref(change);
        templates::make(&session, attribute, usage, changes);
        is_refused(&token, attribute, usage, attribute, found);
    }
    // What the cases start from is right, so each was refused for its own fault.
    templates::make(&session, "right", usage, &[]);
    match open_key(&token, "right", usage) {
        Ok(()) | Err(StartError::OtherPublicKey { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn is_refused(token: &Tokens, label: &str, usage: KeyUse, attribute: &str, found: &str) {
    let error = open_key(token, label, usage).unwrap_err();
    let StartError::Policy { key, finding } = &error else {
        panic!("{label}: {error}");
    };
    assert_eq!(
        (key.as_str(), finding.name, finding.found.as_str()),
        (label, attribute, found)
    );
    let text = error.to_string();
    for part in [
        &format!("key {label}: {attribute} is {found}, it must be "),
        "make a new key with `softhsm-setup init`",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_signing_key_with_a_wrong_attribute_is_refused_by_its_name() {
    in_a_new_directory(|directory| {
        let cases = [
            ("CKA_PRIVATE", Attribute::Private(false), "false"),
            ("CKA_SENSITIVE", Attribute::Sensitive(false), "false"),
            ("CKA_EXTRACTABLE", Attribute::Extractable(true), "true"),
            ("CKA_MODIFIABLE", Attribute::Modifiable(true), "true"),
            ("CKA_SIGN", Attribute::Sign(false), "false"),
            ("CKA_DECRYPT", Attribute::Decrypt(true), "true"),
            ("CKA_DERIVE", Attribute::Derive(true), "true"),
            ("CKA_UNWRAP", Attribute::Unwrap(true), "true"),
            ("CKA_SIGN_RECOVER", Attribute::SignRecover(true), "true"),
        ];
        each_is_refused(directory, KeyUse::Sign, &cases);
    });
}

#[test]
fn an_encryption_key_with_a_second_use_is_refused_by_its_name() {
    in_a_new_directory(|directory| {
        let cases = [
            ("CKA_EXTRACTABLE", Attribute::Extractable(true), "true"),
            ("CKA_SIGN", Attribute::Sign(true), "true"),
            ("CKA_DECRYPT", Attribute::Decrypt(true), "true"),
            ("CKA_DERIVE", Attribute::Derive(false), "false"),
            ("CKA_UNWRAP", Attribute::Unwrap(true), "true"),
            ("CKA_SIGN_RECOVER", Attribute::SignRecover(true), "true"),
        ];
        each_is_refused(directory, KeyUse::Derive, &cases);
    });
}

#[test]
fn a_data_key_with_a_wrong_attribute_is_refused_by_its_name() {
    in_a_new_directory(|directory| {
        let cases = [
            ("CKA_PRIVATE", Attribute::Private(false), "false"),
            ("CKA_SENSITIVE", Attribute::Sensitive(false), "false"),
            ("CKA_EXTRACTABLE", Attribute::Extractable(true), "true"),
            ("CKA_MODIFIABLE", Attribute::Modifiable(true), "true"),
            ("CKA_SIGN", Attribute::Sign(true), "true"),
            ("CKA_VERIFY", Attribute::Verify(true), "true"),
            ("CKA_ENCRYPT", Attribute::Encrypt(false), "false"),
            ("CKA_DECRYPT", Attribute::Decrypt(false), "false"),
            ("CKA_DERIVE", Attribute::Derive(true), "true"),
            ("CKA_WRAP", Attribute::Wrap(true), "true"),
            ("CKA_UNWRAP", Attribute::Unwrap(true), "true"),
            ("CKA_VALUE_LEN", Attribute::ValueLen(16.into()), "16"),
        ];
        each_is_refused(directory, KeyUse::Encrypt, &cases);
    });
}

#[test]
fn an_index_key_with_a_wrong_attribute_is_refused_by_its_name() {
    in_a_new_directory(|directory| {
        let cases = [
            ("CKA_EXTRACTABLE", Attribute::Extractable(true), "true"),
            ("CKA_SIGN", Attribute::Sign(false), "false"),
            ("CKA_VERIFY", Attribute::Verify(false), "false"),
            ("CKA_ENCRYPT", Attribute::Encrypt(true), "true"),
            ("CKA_DECRYPT", Attribute::Decrypt(true), "true"),
            ("CKA_DERIVE", Attribute::Derive(true), "true"),
            ("CKA_WRAP", Attribute::Wrap(true), "true"),
            ("CKA_UNWRAP", Attribute::Unwrap(true), "true"),
            ("CKA_VALUE_LEN", Attribute::ValueLen(20.into()), "20"),
        ];
        each_is_refused(directory, KeyUse::Mac, &cases);
    });
}

#[test]
fn a_key_of_another_type_or_curve_is_refused() {
    in_a_new_directory(|directory| {
        let _admin = directory.new_token();
        let token = open(&directory.config()).unwrap();
        let session = directory.bare_session();
        for usage in [KeyUse::Sign, KeyUse::Derive] {
            let label = format!("P-384 {usage:?}");
            templates::make_pair(&session, &label, &P384, usage, &[]);
            is_refused(&token, &label, usage, "CKA_EC_PARAMS", "another curve");
        }
        let aes = [Attribute::KeyType(KeyType::AES)];
        templates::make(&session, "aes", KeyUse::Mac, &aes);
        let error = open_key(&token, "aes", KeyUse::Mac).unwrap_err();
        assert!(
            error.to_string().contains("key aes: CKA_KEY_TYPE is"),
            "{error}"
        );

        let mut rsa = templates::template("rsa", KeyUse::Sign);
        rsa.retain(|attribute| attribute.attribute_type() != AttributeType::KeyType);
        let public = [
            Attribute::Token(true),
            Attribute::Label("rsa".into()),
            Attribute::ModulusBits(2048.into()),
            Attribute::PublicExponent(vec![1, 0, 1]),
        ];
        session
            .generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &rsa)
            .unwrap();
        let error = open_key(&token, "rsa", KeyUse::Sign).unwrap_err();
        assert!(
            error.to_string().contains("key rsa: CKA_KEY_TYPE is"),
            "{error}"
        );
    });
}

/// Makes a key that looks right now but has a past.
fn hide_the_past(session: &Session, label: &str, past: &Attribute, present: Attribute) {
    let former = format!("{label} before");
    let changes = [past.clone(), Attribute::Modifiable(true)];
    let key: ObjectHandle = templates::make(session, &former, KeyUse::Mac, &changes);
    session.update_attributes(key, &[present]).unwrap();
    let copy = [Attribute::Label(label.into()), Attribute::Modifiable(false)];
    session.copy_object(key, &copy).unwrap();
}

#[test]
fn a_key_that_once_could_leave_is_refused_for_its_past() {
    in_a_new_directory(|directory| {
        let _admin = directory.new_token();
        let token = open(&directory.config()).unwrap();
        let session = directory.bare_session();
        let (past, present) = (Attribute::Sensitive(false), Attribute::Sensitive(true));
        hide_the_past(&session, "was readable", &past, present);
        is_refused(
            &token,
            "was readable",
            KeyUse::Mac,
            "CKA_ALWAYS_SENSITIVE",
            "false",
        );
        let (past, present) = (Attribute::Extractable(true), Attribute::Extractable(false));
        hide_the_past(&session, "could leave", &past, present);
        is_refused(
            &token,
            "could leave",
            KeyUse::Mac,
            "CKA_NEVER_EXTRACTABLE",
            "false",
        );
    });
}

#[test]
fn a_key_that_was_brought_into_the_token_is_refused() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let token = open(&directory.config()).unwrap();
        let session = directory.bare_session();
        let mut template = templates::template("brought", KeyUse::Mac);
        template.extend([
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Value(vec![7; 32]),
        ]);
        session.create_object(&template).unwrap();
        let error = open_key(&token, "brought", KeyUse::Mac).unwrap_err();
        assert!(matches!(error, StartError::Policy { .. }), "{error}");
        let wrong: Vec<&str> = admin
            .check("brought", KeyUse::Mac)
            .unwrap()
            .into_iter()
            .filter(|finding| !finding.ok)
            .map(|finding| finding.name)
            .collect();
        assert_eq!(
            wrong,
            ["CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE", "CKA_LOCAL"]
        );
    });
}

#[test]
fn a_key_that_is_not_its_certificate_s_is_refused() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let signing = admin.generate_p256("signing", KeyUse::Sign).unwrap();
        let encryption = admin.generate_p256("encryption", KeyUse::Derive).unwrap();
        let token = open(&directory.config()).unwrap();
        let uri = Pkcs11Uri::for_key;
        assert!(
            token
                .signing_key(&uri("signing"), signing, WorkClass::Receipts)
                .is_ok()
        );
        assert!(token.agreement_key(&uri("encryption"), encryption).is_ok());
        for (key, error) in [
            (
                "signing",
                token
                    .signing_key(&uri("signing"), encryption, WorkClass::Receipts)
                    .err()
                    .unwrap(),
            ),
            (
                "encryption",
                token
                    .agreement_key(&uri("encryption"), signing)
                    .err()
                    .unwrap(),
            ),
        ] {
            assert!(
                matches!(error, StartError::OtherPublicKey { .. }),
                "{error}"
            );
            assert_eq!(
                error.to_string(),
                format!(
                    "key {key} is not the key of its certificate; issue a certificate for the key that is \
                     in the token"
                )
            );
        }
    });
}

#[test]
fn a_public_half_that_is_another_pair_s_is_found_by_using_the_key() {
    in_a_new_directory(|directory| {
        let _admin = directory.new_token();
        let token = open(&directory.config()).unwrap();
        let session = directory.bare_session();
        // A pair whose public half was replaced by that of a pair outside the token.
        for usage in [KeyUse::Sign, KeyUse::Derive] {
            let label = format!("{usage:?}");
            let private = templates::template(&label, usage);
            let public = [Attribute::Token(true), Attribute::EcParams(P256.to_vec())];
            let (own, _) = session
                .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
                .unwrap();
            session.destroy_object(own).unwrap();
            let other =
                aws_lc_rs::agreement::PrivateKey::generate(&aws_lc_rs::agreement::ECDH_P256)
                    .unwrap()
                    .compute_public_key()
                    .unwrap();
            let point: [u8; 65] = other.as_ref().try_into().unwrap();
            session
                .create_object(&[
                    Attribute::Class(ObjectClass::PUBLIC_KEY),
                    Attribute::KeyType(KeyType::EC),
                    Attribute::Token(true),
                    Attribute::Label(label.as_str().into()),
                    Attribute::EcParams(P256.to_vec()),
                    Attribute::EcPoint([&[4, 65], &point[..]].concat()),
                ])
                .unwrap();
            let uri = Pkcs11Uri::for_key(&label);
            let error = match usage {
                KeyUse::Sign => token
                    .signing_key(&uri, point, WorkClass::Receipts)
                    .err()
                    .unwrap(),
                _ => token.agreement_key(&uri, point).err().unwrap(),
            };
            assert!(matches!(error, StartError::Canary { .. }), "{error}");
            assert!(
                error
                    .to_string()
                    .contains(&format!("key {label} does not work"))
            );
        }
    });
}

#[test]
fn a_key_that_is_missing_or_there_twice_is_refused() {
    in_a_new_directory(|directory| {
        let _admin = directory.new_token();
        let token = open(&directory.config()).unwrap();
        let session = directory.bare_session();
        for usage in [KeyUse::Sign, KeyUse::Derive, KeyUse::Encrypt, KeyUse::Mac] {
            let label = format!("{usage:?}");
            for count in [0, 2] {
                let error = open_key(&token, &label, usage).unwrap_err();
                assert!(
                    matches!(&error, StartError::NotOneKey { found, .. } if *found == count),
                    "{error}"
                );
                let text = error.to_string();
                assert!(text.contains(&format!("pkcs11:object={label};")), "{text}");
                assert!(text.contains("softhsm-setup status"), "{text}");
                for _ in 0..2 {
                    templates::make(&session, &label, usage, &[]);
                }
            }
        }
    });
}

#[test]
fn a_key_of_a_session_is_no_key_of_the_token() {
    in_a_new_directory(|directory| {
        let _admin = directory.new_token();
        let token = open(&directory.config()).unwrap();
        let session = directory.bare_session();
        let changes = [Attribute::Token(false)];
        templates::make(&session, "passing", KeyUse::Mac, &changes);
        let error = open_key(&token, "passing", KeyUse::Mac).unwrap_err();
        assert!(
            matches!(error, StartError::NotOneKey { found: 0, .. }),
            "{error}"
        );
    });
}
