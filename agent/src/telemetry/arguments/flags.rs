//! Arguments taken apart: flags and their values.

use std::ops::Range;

use super::names::pass_phrase;
use super::programs::{Flag, Holds, Takes};
use super::values::{is_number, is_word};
use super::words::Words;

/// What of the value of a known flag is secret.
pub(super) fn secret_in(holds: Holds, value: &str) -> Option<Range<usize>> {
    let end = value.len();
    let after = |separator: char| value.find(separator).map(|at| at + 1..end);
    match holds {
        Holds::Secret => Some(0..end),
        Holds::Nothing => None,
        Holds::Unnamed => (!is_assignment(value)).then_some(0..end),
        Holds::AfterPercent => after('%'),
        Holds::AfterComma => after(','),
        Holds::AfterEquals => after('=').filter(|part| !value[part.clone()].starts_with('@')),
        Holds::AfterSlash => {
            let stop = value.rfind('@').unwrap_or(end);
            value[..stop].find('/').map(|at| at + 1..stop)
        }
        Holds::AfterColon => {
            let part = after(':').filter(|_| !value.starts_with("pkcs11:"))?;
            // A token in the user's place.
            Some(if part.is_empty() { 0..end - 1 } else { part })
        }
        Holds::BeforeAt => {
            // Without an `@` it is a host and its port, or was cut.
            let at = value.rfind('@').unwrap_or(end);
            let part = value[..at].find(':').map(|colon| colon + 1..at)?;
            let is_port = at == end && is_number(&value[part.clone()]);
            (!value.contains("://") && !is_port).then_some(part)
        }
        Holds::Cookies => value.contains('=').then_some(0..end),
        Holds::PassPhrase => pass_phrase(value),
    }
}

/// Where the value of a flag is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stands {
    /// In the same argument, from there on.
    From(usize),
    /// In the next one, if it has one.
    Next,
}

/// Where the value is, if the argument is this flag.
pub(super) fn value_of(flag: &Flag, word: &str, switches: &str) -> Option<Stands> {
    let start = match flag.name.strip_prefix('-') {
        Some(letter) if letter.len() == 1 => short_value(letter, word, switches)?,
        _ => {
            let rest = word.strip_prefix(flag.name)?;
            let attaches = !flag.name.starts_with('-')
                || flag.takes == Takes::Here && !flag.name.starts_with("--");
            let assigned = rest.starts_with('=');
            if !(rest.is_empty() || assigned || attaches) {
                return None;
            }
            word.len() - rest.len() + usize::from(assigned)
        }
    };
    let alone = start == word.len() && !word.ends_with('=');
    Some(if alone {
        Stands::Next
    } else {
        Stands::From(start)
    })
}

/// Past the letter, which others without values may stand before.
fn short_value(letter: &str, word: &str, switches: &str) -> Option<usize> {
    let cluster = word
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))?;
    // A whole word with one dash, as some programs have it.
    let name = cluster.split('=').next().unwrap_or_default();
    if ["password", "passwd", "pass", "passphrase"].contains(&name) {
        return None;
    }
    let at = cluster.find(letter)?;
    let others = cluster[..at].chars().all(|other| switches.contains(other));
    others.then_some(1 + at + letter.len())
}

/// `-c`, `-lc`, `-euxc`
pub(super) fn is_script_flag(word: &str) -> bool {
    let letters = &word[1..];
    word == "--command"
        || letters.contains('c')
            && letters.len() <= 6
            && letters.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Whether what follows a flag is rather its value than the name of a program.
pub(super) fn takes_value(word: &str) -> bool {
    static SWITCHES: Words = Words::new(
        "--rm --tty --interactive --detach --init --privileged --preserve-env --login \
        --entrypoint --foreground --ignore-environment --stdin --command --preserve-status \
        --pty --wait --fork --verbose --quiet",
    );
    word.starts_with("--") && !SWITCHES.has(word)
        || matches!(word, "-u" | "-h" | "-l" | "-w" | "-g" | "-U")
}

/// Whether a word is a name and nothing else.
pub(super) fn is_name(word: &str) -> bool {
    word.bytes()
        .all(|byte| is_word(byte) || b"-.$".contains(&byte))
}

/// `NAME=value`, before the program.
pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, value)| {
        !name.is_empty() && name.bytes().all(is_word) && !matches!(value, "" | "=")
    })
}
