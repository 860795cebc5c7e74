//! Checks of opening a token and finding its keys: what is not exactly right is refused.

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, KeyType, ObjectClass},
    session::UserType,
    types::AuthPin,
};
use hsm::{StartError, Tokens, WorkClass, policy::KeyUse, uri::Pkcs11Uri};

use crate::{
    bench::{Bench, KEYS, PIN},
    modules::Module,
};

/// Opens a key for a use; the point of a pair is asked for only when all else is right.
fn open(token: &Tokens, label: &str, usage: KeyUse) -> Result<(), StartError> {
    let uri = Pkcs11Uri::for_key(label);
    match usage {
        KeyUse::Sign => token
            .signing_key(&uri, [4; 65], WorkClass::Receipts)
            .map(drop),
        KeyUse::Derive => token.agreement_key(&uri, [4; 65]).map(drop),
        KeyUse::Encrypt => token.data_key(&uri).map(drop),
        KeyUse::Mac => token.index_key(&uri).map(drop),
    }
}

pub(crate) fn a_wrong_pin_is_refused_and_the_right_one_opens(bench: &Bench) {
    bench.init_token();
    let outcome = bench.open_with("wrong-1234");
    let error = outcome.err().unwrap();
    assert!(matches!(error, StartError::PinRefused { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("tried once and is not tried again"),
        "{error}"
    );
    let module = bench.bare_module();
    let info = module.get_token_info(bench.slot(&module)).unwrap();
    assert!(!info.user_pin_final_try() && !info.user_pin_locked());
    assert!(bench.open_with(PIN).is_ok());
    let info = module.get_token_info(bench.slot(&module)).unwrap();
    assert!(!info.user_pin_count_low());
}

/// For a module that locks PINs after ten wrong ones.
pub(crate) fn a_pin_with_one_try_left_or_none_is_not_tried(bench: &Bench) {
    bench.init_token();
    // Our crate loads the module first.
    assert!(bench.open_with(PIN).is_ok());
    let module = bench.bare_module();
    let session = module.open_rw_session(bench.slot(&module)).unwrap();
    let wrong = AuthPin::from("wrong-1234".to_owned());
    let mut tries = 0;
    for state in ["has one try left", "is locked"] {
        let is_at_risk = || {
            let info = module.get_token_info(bench.slot(&module)).unwrap();
            match state {
                "is locked" => info.user_pin_locked(),
                _ => info.user_pin_final_try(),
            }
        };
        while !is_at_risk() {
            session.login(UserType::User, Some(&wrong)).unwrap_err();
            tries += 1;
        }
        let error = bench.open_with(PIN).err().unwrap();
        assert!(
            matches!(&error, StartError::PinAtRisk { state: found, .. } if *found == state),
            "{error}"
        );
    }
    assert_eq!(tries, 10);
}

pub(crate) fn a_key_that_is_missing_is_refused(bench: &Bench) {
    let _admin = bench.new_token();
    let token = bench.open();
    for (label, usage) in KEYS {
        let error = open(&token, label, usage).unwrap_err();
        assert!(
            matches!(error, StartError::NotOneKey { found: 0, .. }),
            "{error}"
        );
    }
}

pub(crate) fn a_key_that_is_there_twice_is_not_chosen_from(bench: &Bench) {
    let admin = bench.token_with_keys();
    // Another program makes a second one.
    let id = admin.find("index").unwrap().unwrap().id;
    make_another(bench, "index", b"another id");
    refuse_to_choose(bench, "pkcs11:object=index");
    assert!(admin.check("index", KeyUse::Mac).is_err());
    // NSS puts a key of the same id in the place of the first.
    if bench.module != Module::Softokn {
        make_another(bench, "another label", &id);
        let percent: String = id.iter().map(|byte| format!("%{byte:02X}")).collect();
        refuse_to_choose(bench, &format!("pkcs11:id={percent}"));
        // Label and id together still name one.
        let uri = format!("pkcs11:object=index;id={percent}");
        assert!(bench.open().index_key(&uri.parse().unwrap()).is_ok());
    }
}

fn make_another(bench: &Bench, label: &str, id: &[u8]) {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Label(label.into()),
        Attribute::Id(id.to_vec()),
        Attribute::Sign(true),
        Attribute::ValueLen(32.into()),
    ];
    let session = bench.bare_session();
    session
        .generate_key(&Mechanism::GenericSecretKeyGen, &template)
        .unwrap();
}

fn refuse_to_choose(bench: &Bench, uri: &str) {
    let error = bench.open().index_key(&uri.parse().unwrap()).err().unwrap();
    assert!(
        matches!(error, StartError::NotOneKey { found: 2, .. }),
        "{uri}: {error}"
    );
}

pub(crate) fn a_key_of_another_use_is_refused(bench: &Bench) {
    let _admin = bench.token_with_keys();
    let token = bench.open();
    for (label, usage) in [
        ("signing", KeyUse::Derive),
        ("encryption", KeyUse::Sign),
        ("data", KeyUse::Mac),
        ("index", KeyUse::Encrypt),
    ] {
        let error = open(&token, label, usage).unwrap_err();
        assert!(
            matches!(error, StartError::Policy { .. }),
            "{label}: {error}"
        );
    }
}

/// A key whose mechanism the module does not have, or not as the standard says, does not get as far as a
/// request: opening it uses it once.
fn refused_by_its_canary(bench: &Bench, label: &str, usage: KeyUse) {
    let admin = bench.token_with_keys();
    let uri = Pkcs11Uri::for_key(label);
    let token = bench.open();
    let outcome = match usage {
        KeyUse::Derive => {
            let public = admin.find(label).unwrap().unwrap().public.unwrap();
            token.agreement_key(&uri, public).map(drop)
        }
        _ => token.data_key(&uri).map(drop),
    };
    // A later version of the module may do it: then it does it rightly.
    if let Err(error) = outcome {
        assert!(
            matches!(&error, StartError::Canary { key, .. } if key == label),
            "{error}"
        );
    }
}

pub(crate) fn an_agreement_key_that_can_t_derive_is_refused_by_its_canary(bench: &Bench) {
    refused_by_its_canary(bench, "encryption", KeyUse::Derive);
}

pub(crate) fn a_data_key_that_can_t_encrypt_is_refused_by_its_canary(bench: &Bench) {
    refused_by_its_canary(bench, "data", KeyUse::Encrypt);
}

pub(crate) fn a_pair_that_is_not_the_certificate_s_is_refused(bench: &Bench) {
    let _admin = bench.token_with_keys();
    let token = bench.open();
    for (label, usage) in [("signing", KeyUse::Sign), ("encryption", KeyUse::Derive)] {
        let error = open(&token, label, usage).unwrap_err();
        assert!(
            matches!(error, StartError::OtherPublicKey { .. }),
            "{label}: {error}"
        );
    }
}
