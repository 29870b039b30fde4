//! The cases of `cases.txt`, and what holds for any arguments.

mod ingredients;

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use ingredients::{ANY_SECRET, FRAGMENTS, HARMLESS, HOSTILE, PLAIN_SECRET};

/// `before => after`, or what stays as it is.
const CASES: &str = include_str!("cases.txt");

fn shown(arguments: &[u8], how: Arguments) -> String {
    match Withheld::new(arguments, how).map(|withheld| withheld.show()) {
        Some(Value::List(texts)) => texts.join("\0"),
        Some(_) | None => String::new(),
    }
}

fn redacted(arguments: &str) -> String {
    shown(arguments.as_bytes(), Arguments::Redacted)
}

/// What redaction makes of what it made. The last argument may be empty.
fn again(shown: &str) -> String {
    redacted(&format!("{shown}\0"))
}

fn cases() -> impl Iterator<Item = &'static str> {
    CASES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The bytes that a case writes in letters.
fn arguments_of(written: &str) -> Vec<u8> {
    let text = written
        .replace(" ¦ ", "\0")
        .replace("<LF>", "\n")
        .replace("<ESC>", "\x1b");
    let pieces: Vec<&[u8]> = text.split("<FF>").map(str::as_bytes).collect();
    pieces.join(&0xff)
}

#[test]
fn cases_are_as_written() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (before, after) = case.split_once(" => ").unwrap_or((case, case));
        let expected = String::from_utf8_lossy(&arguments_of(after)).into_owned();
        let found = shown(&arguments_of(before), Arguments::Redacted);
        if found != expected {
            let found = found.replace('\0', " ¦ ");
            wrong.push(format!("{before}\n  expected {after}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_cases_enough_and_each_once() {
    let all: Vec<&str> = cases().collect();
    let harmless = all.iter().filter(|case| !case.contains(" => ")).count();
    assert!(all.len() >= 200, "{}", all.len());
    assert!(harmless >= 80, "{harmless}");
    let distinct: BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn what_is_redacted_stays_so() {
    for case in cases() {
        let after = case.split_once(" => ").map_or(case, |(_, after)| after);
        let after = String::from_utf8_lossy(&arguments_of(after)).into_owned();
        assert_eq!(again(&after), after);
    }
}

/// Wherever behind a secret the record was cut, it is not shown.
#[test]
fn cut_behind_a_secret() {
    for case in cases() {
        let (before, _) = case.split_once(" => ").unwrap_or((case, case));
        let bytes = arguments_of(before);
        for secret in ["hunter2", "changeit", "tiger"] {
            let Some(start) = String::from_utf8_lossy(&bytes).find(secret) else {
                continue;
            };
            for end in (start + secret.len()..=bytes.len()).step_by(3) {
                let shown = shown(&bytes[..end], Arguments::Redacted);
                assert!(!shown.contains(secret), "{shown:?}");
            }
        }
    }
}

#[test]
fn everything_or_nothing_on_request() {
    assert_eq!(shown(b"a\0--token=x\0", Arguments::Full), "a\0--token=x");
    assert!(Withheld::new(b"a\0", Arguments::Off).is_none());
    assert!(Withheld::new(b"", Arguments::Redacted).is_none());
    assert_eq!(shown(b"\xff\0", Arguments::Full), "\u{fffd}");
    assert_eq!(shown(b"ls\0\0x", Arguments::Redacted), "ls\0\0x");
}

/// What makes a rule look far is repeated until it fills 4 KiB.
#[test]
fn hostile_arguments_take_no_more_room_than_their_own() {
    const LENGTH: usize = 4096;
    for piece in HOSTILE {
        for before in ["", "sh\0-c\0", "x \""] {
            let arguments = before.to_owned() + &piece.repeat(LENGTH / piece.len());
            let shown = redacted(&arguments);
            // Every two bytes might be a secret.
            assert!(shown.len() <= arguments.len() * 8, "{piece:?}");
            assert_eq!(again(&shown), shown, "{before:?} {piece:?}");
        }
    }
}

fn arguments() -> impl Strategy<Value = String> {
    vec(select(FRAGMENTS), 0..24).prop_map(|fragments| fragments.concat())
}

proptest! {
    #[test]
    fn never_panics(bytes in vec(any::<u8>(), 0..600)) {
        let _shown = shown(&bytes, Arguments::Redacted);
    }

    #[test]
    fn redaction_is_idempotent(arguments in arguments()) {
        let once = redacted(&arguments);
        prop_assert_eq!(again(&once), once, "{:?}", arguments);
    }

    #[test]
    fn harmless_arguments_stay(words in vec(select(HARMLESS), 1..12)) {
        let arguments = format!("app\0{}", words.join("\0"));
        prop_assert_eq!(redacted(&arguments), arguments);
    }

    #[test]
    fn what_is_not_secret_stays_in_its_order(arguments in arguments()) {
        let shown = redacted(&arguments);
        let mut rest = arguments.strip_suffix('\0').unwrap_or(&arguments);
        for kept in shown.split("[redacted]") {
            let found = rest.find(kept);
            prop_assert!(found.is_some(), "{arguments:?} {shown:?}");
            rest = &rest[found.unwrap() + kept.len()..];
        }
    }
}

proptest! {
    // Each goes through all shapes.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_secret_never_appears(secret in "[!-,.-?A-~][!-~]{7,30}") {
        // `NAME=secret,OTHER=value` is a list.
        let secret = secret.replace(',', ";");
        for shape in ANY_SECRET {
            let shown = redacted(&shape.replace("SECRET", &secret));
            prop_assert!(!shown.contains(&secret), "{shape:?} {shown:?}");
        }
    }

    #[test]
    fn a_plain_secret_never_appears(secret in "[a-zA-Z0-9][a-zA-Z0-9!*+._~^-]{7,30}") {
        for shape in ANY_SECRET.iter().chain(PLAIN_SECRET) {
            let shown = redacted(&shape.replace("SECRET", &secret));
            prop_assert!(!shown.contains(&secret), "{shape:?} {shown:?}");
        }
    }

    #[test]
    fn a_cut_secret_never_appears(secret in "[a-zA-Z0-9]{12,30}", kept in 8..12_usize) {
        for shape in ANY_SECRET.iter().chain(PLAIN_SECRET) {
            let (before, _) = shape.split_once("SECRET").unwrap();
            let kept = &secret[..kept];
            let shown = redacted(&format!("{}{kept}", before.replace("SECRET", &secret)));
            prop_assert!(!shown.contains(kept), "{shape:?} {shown:?}");
        }
    }
}
