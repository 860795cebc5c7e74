//! Checks of making tokens and keys.

use hsm::{
    pin::Pin,
    policy::KeyUse,
    provision::{self, ProvisionError},
    uri::Pkcs11Uri,
};

use crate::bench::{Bench, KEYS, LABEL};

pub(crate) fn a_token_is_initialised_and_named_by_its_label(bench: &Bench) {
    let named = || {
        let tokens = provision::tokens(&bench.library()).unwrap();
        tokens.iter().filter(|token| token.label == LABEL).count()
    };
    assert_eq!(named(), 0);
    bench.init_token();
    assert_eq!(named(), 1);
}

pub(crate) fn a_token_that_is_there_is_not_initialised_again(bench: &Bench) {
    let admin = bench.new_token();
    admin.generate_hmac("index").unwrap();
    let (so_pin, pin) = (Pin::new(bench.module.so_pin()), Pin::new("another-1234"));
    let outcome = provision::init_token(&bench.library(), LABEL, &so_pin, &pin);
    assert!(
        matches!(outcome, Err(ProvisionError::TokenExists(_))),
        "{outcome:?}"
    );
    assert!(admin.find("index").unwrap().is_some());
    assert!(bench.open().index_key(&Pkcs11Uri::for_key("index")).is_ok());
}

pub(crate) fn a_key_of_each_use_is_as_the_policy_wants(bench: &Bench) {
    let admin = bench.token_with_keys();
    for (label, usage) in KEYS {
        let uri = Pkcs11Uri::for_key(label);
        let report = admin.report(&uri, usage, &bench.module.waivers()).unwrap();
        let wrong: Vec<_> = report.wrong().collect();
        assert!(wrong.is_empty(), "{label}: {wrong:?}");
        assert!(report.findings.len() > 10, "{label}");
    }
    let mut listed: Vec<(String, bool)> = admin
        .list()
        .unwrap()
        .into_iter()
        .map(|key| (key.label, key.public.is_some()))
        .collect();
    listed.sort();
    let expected = [
        ("data", false),
        ("encryption", true),
        ("index", false),
        ("signing", true),
    ];
    assert_eq!(
        listed,
        expected.map(|(label, is_pair)| (label.to_owned(), is_pair))
    );
}

pub(crate) fn a_label_that_is_taken_is_not_used_again(bench: &Bench) {
    let admin = bench.token_with_keys();
    for (label, _) in KEYS {
        for outcome in [
            admin.generate_p256(label, KeyUse::Sign).map(drop),
            admin.generate_aes256(label),
            admin.generate_hmac(label),
        ] {
            assert!(
                matches!(&outcome, Err(ProvisionError::KeyExists(taken)) if taken == label),
                "{label}: {outcome:?}"
            );
        }
    }
    assert_eq!(admin.list().unwrap().len(), KEYS.len());
}
