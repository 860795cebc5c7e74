//! Which module and which token: exactly one, or none is opened.

use std::fs;

use hsm::{StartError, TokenConfig, provision};

use crate::directory::{LABEL, TokenDirectory, in_a_new_directory, open};

fn with_uri(directory: &TokenDirectory, uri: &str) -> TokenConfig {
    TokenConfig {
        uri: uri.parse().unwrap(),
        ..directory.config()
    }
}

#[test]
fn no_token_and_two_tokens_are_refused_with_what_is_there() {
    in_a_new_directory(|directory| {
        let error = directory.refused(&directory.config());
        assert!(
            matches!(error, StartError::NotOneToken { found: 0, .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains("the module has: none"),
            "{error}"
        );

        directory.init_token("one");
        directory.init_token("two");
        for (uri, count) in [
            ("pkcs11:token=three", 0),
            ("pkcs11:token=one;serial=0000", 0),
            ("pkcs11:", 2),
            ("pkcs11:model=SoftHSM%20v2", 2),
        ] {
            let error = directory.refused(&with_uri(directory, uri));
            assert!(
                matches!(error, StartError::NotOneToken { found, .. } if found == count),
                "{uri}: {error}"
            );
            let text = error.to_string();
            assert!(
                text.contains(&format!("{count} tokens match {uri}")),
                "{text}"
            );
            assert!(text.contains("one") && text.contains("two"), "{text}");
            assert!(text.contains("SOFTHSM2_CONF"), "{text}");
        }
    });
}

#[test]
fn tokens_of_the_same_label_are_told_apart_by_their_serial_numbers() {
    in_a_new_directory(|directory| {
        directory.init_token(LABEL);
        directory.init_token_without_user_pin(LABEL);
        let error = directory.refused(&directory.config());
        assert!(
            matches!(error, StartError::NotOneToken { found: 2, .. }),
            "{error}"
        );

        // Only the first has a user PIN.
        let serials: Vec<String> = provision::tokens(directory.module())
            .unwrap()
            .into_iter()
            .map(|token| token.serial)
            .collect();
        assert_eq!(serials.len(), 2);
        let opened = serials
            .iter()
            .filter(|serial| {
                let uri = format!("pkcs11:token={LABEL};serial={serial}");
                open(&with_uri(directory, &uri)).is_ok()
            })
            .count();
        assert_eq!(opened, 1);
    });
}

#[test]
fn a_module_that_is_missing_or_no_module_is_refused_with_its_path() {
    in_a_new_directory(|directory| {
        let rubbish = directory.path("rubbish.so");
        fs::write(&rubbish, "no shared library").unwrap();
        for module in [rubbish, directory.path("missing.so")] {
            let error = directory.refused(&TokenConfig {
                module: module.clone(),
                ..directory.config()
            });
            assert!(matches!(error, StartError::Module { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(module.to_str().unwrap()), "{text}");
            assert!(text.contains("check the path"), "{text}");
        }
    });
}
