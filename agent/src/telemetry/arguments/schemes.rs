//! What is presented as `Bearer …`, `Basic …` or the like, in whichever header.

use super::marks::{Marks, REDACTED};
use super::values::looks_encoded;

/// Ways to authenticate by something that is nothing but secret.
const BEARER: &str = "bearer";
/// Such that are also words, by which other words stand.
const WORDS: &[&str] = &[
    "basic",
    "token",
    "negotiate",
    "ntlm",
    "apikey",
    "ssws",
    "sharedkey",
    "digest",
    "splunk",
];
/// What follows `Bearer` where it is spoken about.
const ABOUT: &[&str] = &[
    "auth",
    "authentication",
    "authorization",
    "bearer",
    "basic",
    "error",
    "header",
    "headers",
    "only",
    "realm",
    "realm=",
    "scheme",
    "token",
    "tokens",
    "type",
    "or",
    "and",
    "is",
];

/// Whether a word is the name of a way to authenticate: what follows is secret.
pub(super) fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case(BEARER) || WORDS.iter().any(|other| other.eq_ignore_ascii_case(word))
}

/// What is presented, without the name of the way: of `Bearer $TOKEN`, `$TOKEN`.
pub(super) fn presented(value: &str) -> &str {
    match value.split_once(' ') {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => value,
    }
}

/// What of the word after the name of a way to authenticate is secret.
pub(super) fn is_presented(scheme: &str, value: &str) -> bool {
    if value.starts_with(REDACTED) {
        return false;
    }
    if scheme.eq_ignore_ascii_case(BEARER) {
        return !ABOUT.iter().any(|word| word.eq_ignore_ascii_case(value));
    }
    let base64 = scheme.eq_ignore_ascii_case("basic");
    looks_encoded(value) && !(base64 && is_no_base64(value))
}

/// `WebAssembly`, `Node-API`: neither a length nor letters that Base64 has.
fn is_no_base64(value: &str) -> bool {
    let has = |set: fn(char) -> bool| value.contains(set);
    has(|c| "-_.~:|".contains(c))
        || !has(|c| c.is_ascii_digit() || c == '=') && !value.len().is_multiple_of(4)
}

/// Hides what follows the name of a way to authenticate.
pub(super) fn mark(marks: &mut Marks<'_>) {
    let text = marks.text();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let length = bytes[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        let word = at..at + length;
        at = word.end;
        let apart = word.start == 0
            || !(bytes[word.start - 1].is_ascii_digit() || b"-_.".contains(&bytes[word.start - 1]));
        let Some(start) =
            value_start(text, word.end).filter(|_| apart && is_scheme(&text[word.clone()]))
        else {
            continue;
        };
        let end = value_end(text, start);
        let value = text[start..end].trim_end_matches([',', ';']);
        if is_presented(&text[word], value) {
            marks.hide(start..start + value.len());
            at = start + value.len();
        }
    }
}

/// Past the white space, as such or encoded, and an opening quote.
fn value_start(text: &str, end: usize) -> Option<usize> {
    let rest = &text[end..];
    let after = rest.trim_start_matches([' ', '\t']);
    let after = if after.len() < rest.len() {
        after
    } else {
        after
            .strip_prefix("%20")
            .or_else(|| after.strip_prefix('+'))?
    };
    let after = after.trim_start_matches(['"', '\'', '\\']);
    Some(text.len() - after.len())
}

/// White space, or a quote that closes something.
fn value_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            byte if byte.is_ascii_whitespace() || byte.is_ascii_control() => break,
            b'"' | b'\'' | b'`' | b'\\' if closes(&bytes[at + 1..]) => break,
            _ => at += 1,
        }
    }
    at
}

/// Whether what follows a quote begins something else.
fn closes(after: &[u8]) -> bool {
    let Some(next) = after.first() else {
        return true;
    };
    next.is_ascii_whitespace() || b"\"',;:)}]&|\\".contains(next)
}
