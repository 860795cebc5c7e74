//! The conformance matrix: the same checks over several PKCS#11 modules, each check in a process and a token
//! of its own. What modules may do differently is no check but a row of the table in docs/HSM.md, which
//! [`table`] holds them to.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod bench;
mod connection;
mod modules;
#[path = "../../examples/quirks/observations/mod.rs"]
mod observations;
mod opening;
mod provisioning;
mod restarting;
mod sealing;
mod table;
mod using;

/// Makes a test of each check, for a module.
macro_rules! tests {
    ($name:ident, $module:ident: $($topic:ident::$check:ident),+ $(,)?) => {
        $(
            #[test]
            fn $check() {
                let test = concat!(stringify!($name), "::", stringify!($check));
                crate::bench::run(crate::modules::Module::$module, test, crate::$topic::$check);
            }
        )+
    };
}

/// What every module is held to.
macro_rules! everywhere {
    ($name:ident, $module:ident) => {
        tests! {
            $name, $module:
            provisioning::a_token_is_initialised_and_named_by_its_label,
            provisioning::a_token_that_is_there_is_not_initialised_again,
            provisioning::a_key_of_each_use_is_as_the_policy_wants,
            provisioning::a_label_that_is_taken_is_not_used_again,
            opening::a_wrong_pin_is_refused_and_the_right_one_opens,
            opening::a_key_that_is_missing_is_refused,
            opening::a_key_that_is_there_twice_is_not_chosen_from,
            opening::a_key_of_another_use_is_refused,
            opening::a_pair_that_is_not_the_certificate_s_is_refused,
            using::a_signature_verifies_in_software,
            using::a_mac_is_the_same_for_the_same_data_alone,
            using::many_operations_at_once_are_all_right,
            restarting::keys_are_there_after_the_module_was_finalised,
            restarting::keys_are_there_in_another_process,
            table::it_does_what_the_document_says,
        }
    };
}

/// What a module is held to that has CKM_ECDH1_DERIVE.
macro_rules! agreement {
    ($name:ident, $module:ident) => {
        tests! {
            $name, $module:
            using::a_shared_secret_is_what_software_agrees_on,
            using::a_point_off_the_curve_never_reaches_the_token,
            sealing::what_is_sealed_opens_in_the_way_that_the_module_can,
            sealing::rubbish_that_is_sealed_is_not_the_token_s_fault,
        }
    };
}

/// What a module is held to that has CKM_AES_GCM.
macro_rules! encryption {
    ($name:ident, $module:ident) => {
        tests! {
            $name, $module:
            using::what_is_encrypted_is_decrypted_with_its_associated_data_alone,
            using::what_software_encrypts_with_the_same_key_is_decrypted,
            using::a_ciphertext_of_no_possible_length_never_reaches_the_token,
            using::a_refused_decryption_spoils_no_operation_after_it,
        }
    };
}

mod softhsm {
    everywhere!(softhsm, SoftHsm);
    agreement!(softhsm, SoftHsm);
    encryption!(softhsm, SoftHsm);
}

mod kryoptic {
    everywhere!(kryoptic, Kryoptic);
    agreement!(kryoptic, Kryoptic);
    encryption!(kryoptic, Kryoptic);
    tests! {
        kryoptic, Kryoptic:
        opening::a_pin_with_one_try_left_or_none_is_not_tried,
    }
}

/// p11-kit up to 0.24 does not carry the parameters of ECDH and of GCM.
mod softhsm_behind_p11_kit {
    everywhere!(softhsm_behind_p11_kit, Remote);
    tests! {
        softhsm_behind_p11_kit, Remote:
        opening::an_agreement_key_that_can_t_derive_is_refused_by_its_canary,
        opening::a_data_key_that_can_t_encrypt_is_refused_by_its_canary,
    }
}

/// NSS, asked how long a ciphertext of GCM will be, forgets the tag.
mod nss_softokn {
    everywhere!(nss_softokn, Softokn);
    agreement!(nss_softokn, Softokn);
    tests! {
        nss_softokn, Softokn:
        using::what_software_encrypts_with_the_same_key_is_decrypted,
        opening::a_data_key_that_can_t_encrypt_is_refused_by_its_canary,
    }
}
