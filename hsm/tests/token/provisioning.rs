//! Making tokens and keys: what is there is never overwritten, what was interrupted is completed.

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, ObjectClass},
};
use hsm::{
    StartError, WorkClass,
    pin::Pin,
    policy::KeyUse,
    provision::{self, ProvisionError, TokenAdmin},
    uri::Pkcs11Uri,
};

use crate::{
    directory::{GATEWAY_KEYS, LABEL, PIN, SO_PIN, in_a_new_directory, open, secret_part},
    templates::{self, P256},
};

#[test]
fn the_keys_that_are_made_are_as_their_policy_and_open() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        let listed: Vec<String> = admin
            .list()
            .unwrap()
            .into_iter()
            .map(|key| key.label)
            .collect();
        assert_eq!(listed, ["data", "encryption", "index", "signing", "tls"]);
        for (label, usage) in GATEWAY_KEYS {
            let findings = admin.check(label, usage).unwrap();
            assert!(findings.len() > 10, "{label}");
            for finding in findings {
                assert!(finding.ok, "{label}: {finding}");
            }
        }
    });
}

#[test]
fn a_signature_made_while_provisioning_is_the_key_s() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let public = admin.generate_p256("ca", KeyUse::Sign).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"certificate");
        let signature = admin
            .sign("ca", digest.as_ref().try_into().unwrap())
            .unwrap();
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED,
            public,
        );
        assert!(key.verify(b"certificate", &signature).is_ok());
        assert!(key.verify(b"another", &signature).is_err());
    });
}

#[test]
fn a_label_that_is_taken_is_never_used_again() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        let session = directory.bare_session();
        let before = session.find_objects(&[]).unwrap();
        for (label, _) in GATEWAY_KEYS {
            for outcome in [
                admin.generate_p256(label, KeyUse::Sign).map(drop),
                admin.generate_aes256(label),
                admin.generate_hmac(label),
            ] {
                assert!(
                    matches!(&outcome, Err(ProvisionError::KeyExists(taken)) if taken == label),
                    "{outcome:?}"
                );
            }
        }
        assert_eq!(session.find_objects(&[]).unwrap(), before);
    });
}

#[test]
fn a_token_that_is_there_stays_as_it_is() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let public = admin.generate_p256("signing", KeyUse::Sign).unwrap();
        let (so_pin, pin) = (Pin::new(SO_PIN), Pin::new("another-1234"));
        let outcome = provision::init_token(directory.module(), LABEL, &so_pin, &pin);
        assert!(matches!(outcome, Err(ProvisionError::TokenExists(_))));
        let token = open(&directory.config()).unwrap();
        let uri = Pkcs11Uri::for_key("signing");
        assert!(token.signing_key(&uri, public, WorkClass::Receipts).is_ok());
    });
}

#[test]
fn a_token_whose_user_pin_was_not_set_yet_gets_it() {
    in_a_new_directory(|directory| {
        // What is left when the program is killed between C_InitToken and C_InitPIN.
        directory.init_token_without_user_pin(LABEL);
        let uri = Pkcs11Uri::for_token(LABEL);
        let open = || TokenAdmin::open(directory.module(), &uri, &Pin::new(PIN));
        assert!(open().is_err());
        directory.init_token(LABEL);
        assert!(open().is_ok());
        assert_eq!(provision::tokens(directory.module()).unwrap().len(), 1);
    });
}

#[test]
fn the_public_half_of_a_pair_that_was_not_finished_makes_room_for_a_whole_one() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let session = directory.bare_session();
        // What is left when the program is killed between the two halves.
        let public = [
            Attribute::Token(true),
            Attribute::Label("signing".into()),
            Attribute::EcParams(P256.to_vec()),
        ];
        let private = templates::template("signing", KeyUse::Sign);
        session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
            .unwrap();
        session
            .destroy_object(secret_part(&session, "signing"))
            .unwrap();
        assert!(admin.find("signing").unwrap().is_none());
        let public = admin.generate_p256("signing", KeyUse::Sign).unwrap();
        let token = open(&directory.config()).unwrap();
        let uri = Pkcs11Uri::for_key("signing");
        assert!(token.signing_key(&uri, public, WorkClass::Receipts).is_ok());
    });
}

#[test]
fn a_public_key_that_somebody_brought_keeps_its_label() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let session = directory.bare_session();
        let point = aws_lc_rs::agreement::PrivateKey::generate(&aws_lc_rs::agreement::ECDH_P256)
            .unwrap()
            .compute_public_key()
            .unwrap();
        session
            .create_object(&[
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(cryptoki::object::KeyType::EC),
                Attribute::Token(true),
                Attribute::Label("signing".into()),
                Attribute::EcParams(P256.to_vec()),
                Attribute::EcPoint([&[4, 65], point.as_ref()].concat()),
            ])
            .unwrap();
        let outcome = admin.generate_p256("signing", KeyUse::Sign);
        assert!(matches!(outcome, Err(ProvisionError::KeyExists(_))));
    });
}

#[test]
fn a_key_that_is_there_twice_is_never_chosen_from() {
    in_a_new_directory(|directory| {
        let admin = directory.new_token();
        let session = directory.bare_session();
        for _ in 0..2 {
            templates::make(&session, "signing", KeyUse::Sign, &[]);
        }
        for error in [
            admin.sign("signing", &[7; 32]).unwrap_err(),
            admin.check("signing", KeyUse::Sign).unwrap_err(),
        ] {
            assert!(
                matches!(
                    error,
                    ProvisionError::Start(StartError::NotOneKey { found: 2, .. })
                ),
                "{error}"
            );
        }
    });
}
