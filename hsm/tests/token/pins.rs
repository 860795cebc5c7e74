//! The PIN: where it may come from, and that a wrong one is tried once.

use hsm::{
    StartError, TokenConfig,
    pin::{Pin, PinSource},
    provision::{ProvisionError, TokenAdmin},
    uri::Pkcs11Uri,
};

use crate::directory::{
    LABEL, PIN, PIN_VARIABLE, TokenDirectory, in_a_new_directory, open, write_pin,
};

fn with_pin(directory: &TokenDirectory, pin: PinSource) -> TokenConfig {
    TokenConfig {
        pin,
        ..directory.config()
    }
}

#[test]
fn a_wrong_pin_is_refused_with_advice_and_the_right_one_opens_afterwards() {
    in_a_new_directory(|directory| {
        directory.init_token(LABEL);
        let (module, file) = (directory.bare_module(), directory.path("wrong.pin"));
        let count_is_low = || {
            let info = module.get_token_info(directory.slot(&module)).unwrap();
            info.user_pin_count_low()
        };
        assert!(!count_is_low());
        write_pin(&file, "wrong-1234\n", 0o600);
        let error = directory.refused(&with_pin(directory, PinSource::File(file)));
        assert!(matches!(error, StartError::PinRefused { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("token tested refused the PIN"), "{text}");
        assert!(text.contains("tried once and is not tried again"), "{text}");
        assert!(!text.contains("wrong-1234"), "{text}");
        // The token was asked; the right PIN clears it again.
        assert!(count_is_low());
        assert!(open(&directory.config()).is_ok());
        assert!(!count_is_low());
    });
}

#[test]
fn a_wrong_pin_opens_no_token_to_provision_it() {
    in_a_new_directory(|directory| {
        directory.init_token(LABEL);
        let uri = Pkcs11Uri::for_token(LABEL);
        let outcome = TokenAdmin::open(directory.module(), &uri, &Pin::new("wrong-1234"));
        assert!(matches!(
            outcome,
            Err(ProvisionError::Start(StartError::PinRefused { .. }))
        ));
        assert!(TokenAdmin::open(directory.module(), &uri, &Pin::new(PIN)).is_ok());
    });
}

#[test]
fn a_pin_file_that_others_may_read_is_refused_before_the_token_is_asked() {
    in_a_new_directory(|directory| {
        directory.init_token(LABEL);
        let file = directory.path("open.pin");
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            write_pin(&file, PIN, mode);
            let error = directory.refused(&with_pin(directory, PinSource::File(file.clone())));
            assert!(matches!(error, StartError::PinFile(_)), "{error}");
            let text = error.to_string();
            assert!(text.contains("open.pin"), "{text}");
            assert!(text.contains(&format!("has mode {mode:03o}")), "{text}");
            assert!(text.contains("run chmod 600 on it"), "{text}");
        }
        for mode in [0o600, 0o400] {
            write_pin(&directory.path(&format!("{mode:o}.pin")), PIN, mode);
            let source = PinSource::File(directory.path(&format!("{mode:o}.pin")));
            assert!(open(&with_pin(directory, source)).is_ok());
        }
    });
}

#[test]
fn a_pin_file_that_is_empty_or_missing_is_refused() {
    in_a_new_directory(|directory| {
        directory.init_token(LABEL);
        let file = directory.path("empty.pin");
        for empty in ["", "\n", "\r\n"] {
            write_pin(&file, empty, 0o600);
            let error = directory.refused(&with_pin(directory, PinSource::File(file.clone())));
            assert!(
                error.to_string().ends_with("empty.pin: it is empty"),
                "{error}"
            );
        }
        let missing = PinSource::File(directory.path("missing.pin"));
        let error = directory.refused(&with_pin(directory, missing));
        assert!(matches!(error, StartError::PinFile(_)), "{error}");
        assert!(error.to_string().contains("missing.pin"), "{error}");
    });
}

#[test]
fn a_line_break_at_the_end_of_a_pin_file_does_not_count() {
    in_a_new_directory(|directory| {
        directory.init_token(LABEL);
        let file = directory.path("broken-line.pin");
        for text in [format!("{PIN}\n"), format!("{PIN}\r\n")] {
            write_pin(&file, &text, 0o600);
            assert!(open(&with_pin(directory, PinSource::File(file.clone()))).is_ok());
        }
    });
}

#[test]
fn a_pin_may_stand_in_an_environment_variable() {
    in_a_new_directory(|directory| {
        directory.init_token(LABEL);
        let variable = |name: &str| PinSource::Env(name.to_owned());
        assert!(open(&with_pin(directory, variable(PIN_VARIABLE))).is_ok());
        let error = directory.refused(&with_pin(directory, variable("TWINSEAL_TEST_NO_PIN")));
        assert!(
            error.to_string().contains("$TWINSEAL_TEST_NO_PIN"),
            "{error}"
        );
        let error = directory.refused(&with_pin(directory, variable("SOFTHSM2_CONF")));
        assert!(matches!(error, StartError::PinRefused { .. }), "{error}");
    });
}

#[test]
fn a_token_without_a_user_pin_is_not_opened() {
    in_a_new_directory(|directory| {
        directory.init_token_without_user_pin(LABEL);
        let error = directory.refused(&directory.config());
        assert!(matches!(error, StartError::PinRefused { .. }), "{error}");
    });
}
