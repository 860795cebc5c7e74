//! The language of the control file.

use std::time::Duration;

use cryptoki_sys::{
    CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED, CKR_DEVICE_ERROR,
    CKR_DEVICE_REMOVED, CKR_GENERAL_ERROR, CKR_TOKEN_NOT_PRESENT,
};

use super::{Control, Event, EventKind};
use crate::functions::Function;

fn parsed(lines: &str) -> Control {
    Control::parse(&format!("module /m.so\n{lines}")).unwrap()
}

fn refused(lines: &str) -> String {
    Control::parse(&format!("module /m.so\n{lines}"))
        .unwrap_err()
        .to_string()
}

/// Which of the first ten calls fail.
fn failing(control: &Control) -> Vec<usize> {
    (1..=10)
        .filter(|_| control.failure(Function::C_Sign).is_some())
        .collect()
}

#[test]
fn the_module_is_all_that_must_be_said() {
    let control = Control::parse("# nothing\n\n  module  /a b/#1.so \n").unwrap();
    assert_eq!(control.module.to_str(), Some("/a b/#1.so"));
    assert_eq!(control.latency(Function::C_Sign), None);
    assert_eq!(control.failure(Function::C_Sign), None);
    assert!(control.hang(Function::C_Sign).is_none());
    assert!(!control.corrupts(Function::C_Sign));
    assert!(control.events.is_empty());
}

#[test]
fn a_file_that_names_no_module_is_refused() {
    let refusal = Control::parse("removed").unwrap_err().to_string();
    assert!(refusal.contains("module PATH"), "{refusal}");
}

#[test]
fn a_refusal_names_the_line_and_what_is_wrong_with_it() {
    for (line, why) in [
        ("fail C_Sing CKR_DEVICE_ERROR", "C_Sing is no function"),
        ("fail C_GetFunctionList CKR_OK", "is no function"),
        ("fail C_Sign CKR_DEVICE_EROR", "CKR_DEVICE_EROR is no code"),
        ("fail C_Sign CKR_AEAD_DECRYPT_FAILED", "no code of v2.40"),
        ("fail C_Sign 0xZ", "0xZ is no code"),
        ("fail C_Sign", "no directive"),
        ("fail C_Sign CKR_OK sometimes", "`times N` or `every N`"),
        ("fail C_Sign CKR_OK every 0", "one at least"),
        ("hang C_Sign every 2", "no directive"),
        ("corrupt C_Digest", "C_GetAttributeValue"),
        ("corrupt C_Sign times 2", "no directive"),
        ("latency 2", "is no time"),
        ("latency ms", "no whole number"),
        ("latency 2ms Sign", "Sign is no function"),
        ("in-flight 0", "one at least"),
        ("in-flight 2\nin-flight 3", "said already"),
        ("removed\nremoved CKR_OK", "said already"),
        ("module /other.so", "named already"),
        ("lose-sessions", "no directive"),
        ("needs-initialize 1 harder", "no directive"),
        ("removed CKR_", "CKR_ is no code"),
        ("sessions-max many", "no whole number"),
        ("removed\nremoved", "twice"),
        ("Removed", "no directive"),
    ] {
        let refusal = refused(line);
        let last = line.lines().last().unwrap();
        let number = 1 + line.lines().count();
        assert!(refusal.contains(why), "{refusal}");
        assert!(
            refusal.starts_with(&format!("line {number}, `{last}`")),
            "{refusal}"
        );
    }
}

#[test]
fn latency_is_of_the_functions_named_or_of_all_that_reach_a_token() {
    let control = parsed("latency 2ms\nlatency 500us C_Sign C_Decrypt\nlatency 1s C_Initialize");
    let of = |function| control.latency(function);
    assert_eq!(of(Function::C_Sign), Some(Duration::from_micros(2_500)));
    assert_eq!(of(Function::C_GetSlotList), Some(Duration::from_millis(2)));
    assert_eq!(of(Function::C_Initialize), Some(Duration::from_secs(1)));
    assert_eq!(of(Function::C_Finalize), None);
    assert_eq!(of(Function::C_GetInfo), None);
}

#[test]
fn places_are_of_calls_that_take_time() {
    let control = parsed("in-flight 30\nlatency 2ms C_Sign");
    assert_eq!(control.in_flight, Some(30));
    assert!(refused("in-flight 30").contains("without a line `latency`"));
}

#[test]
fn a_failure_is_of_all_calls_the_first_ones_or_every_so_many() {
    let control = parsed("fail C_Sign CKR_DEVICE_ERROR");
    assert_eq!(control.failure(Function::C_Sign), Some(CKR_DEVICE_ERROR));
    assert_eq!(control.failure(Function::C_SignInit), None);
    assert_eq!(failing(&control).len(), 10);
    let control = parsed("fail C_Sign 0x80000001 times 3");
    assert_eq!(control.failure(Function::C_Sign), Some(0x8000_0001));
    assert_eq!(failing(&control), [1, 2]);
    assert_eq!(failing(&parsed("fail C_Sign CKR_OK every 4")), [4, 8]);
}

#[test]
fn a_line_sees_the_calls_that_those_before_it_let_through() {
    let control =
        parsed("fail C_Sign CKR_DEVICE_ERROR times 2\nfail C_Sign CKR_GENERAL_ERROR times 1");
    let codes: Vec<_> = (0..4).map(|_| control.failure(Function::C_Sign)).collect();
    assert_eq!(
        codes,
        [
            Some(CKR_DEVICE_ERROR),
            Some(CKR_DEVICE_ERROR),
            Some(CKR_GENERAL_ERROR),
            None
        ]
    );
}

#[test]
fn a_line_that_stays_counts_on_and_another_comment_makes_another_line() {
    let first = parsed("fail C_Sign CKR_OK times 2");
    assert_eq!(failing(&first), [1, 2]);
    let mut same = parsed("report 1\nfail C_Sign CKR_OK times 2");
    same.continue_from(&first);
    assert_eq!(failing(&same), [0; 0]);
    let mut other = parsed("fail C_Sign CKR_OK times 2 # once more");
    other.continue_from(&same);
    assert_eq!(failing(&other), [1, 2]);
}

#[test]
fn a_hang_lasts_as_long_as_its_line_stands() {
    let control = parsed("hang C_Sign times 1");
    let hang = control.hang(Function::C_Sign).unwrap();
    assert!(control.hang(Function::C_Sign).is_none());
    assert!(control.still_hangs(&hang));
    assert!(parsed("report 1\nhang C_Sign times 1").still_hangs(&hang));
    assert!(!parsed("hang C_Sign times 1 # 2").still_hangs(&hang));
    assert!(!parsed("").still_hangs(&hang));
}

#[test]
fn events_keep_the_order_of_the_lines() {
    let control = parsed(
        "report a\nlose-sessions a\nlogout b\nneeds-initialize c\nneeds-initialize d hard # really",
    );
    let expected = [
        (EventKind::Report, "a"),
        (EventKind::LoseSessions, "a"),
        (EventKind::Logout, "b"),
        (EventKind::NeedsInitialize, "c"),
        (EventKind::NeedsInitializeHard, "d"),
    ]
    .map(|(kind, id)| Event {
        kind,
        id: id.to_owned(),
    });
    assert_eq!(control.events, expected);
}

#[test]
fn states_are_said_by_a_word() {
    let control = parsed("removed\nsilent-removal\nhandles-reused\nsessions-max 0");
    assert_eq!(control.removed, Some(CKR_DEVICE_REMOVED));
    assert!(control.is_silently_removed && control.are_handles_reused);
    assert_eq!(control.sessions_max, Some(0));
    let control = parsed("removed CKR_TOKEN_NOT_PRESENT");
    assert_eq!(control.removed, Some(CKR_TOKEN_NOT_PRESENT));
    let control = parsed("pin-count-low\npin-final-try\npin-locked");
    assert_eq!(
        control.pin_flags,
        CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED
    );
    assert_eq!(
        parsed("fail C_Sign CKR_GENERAL_ERROR").failure(Function::C_Sign),
        Some(CKR_GENERAL_ERROR)
    );
}
