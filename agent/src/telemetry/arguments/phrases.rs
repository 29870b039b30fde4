//! Secrets that a text speaks of: `PASSWORD 'x'`, `password("x")`, `IDENTIFIED BY 'x'`.

use super::marks::Marks;
use super::names::{LONGEST, naming};
use super::values::is_word;

/// So much may stand between the word and the quote.
const BETWEEN: usize = 8;

/// Hides what is quoted after a word for a secret.
pub(super) fn mark(marks: &mut Marks<'_>) {
    let text = marks.text();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let quote = bytes[at];
        if !matches!(quote, b'"' | b'\'') {
            at += 1;
            continue;
        }
        let inner = at + 1;
        if !speaks_of_secret(&text[..at]) {
            at += 1;
            continue;
        }
        let end = closing(bytes, inner, quote);
        marks.hide(inner..end);
        at = end + 1;
    }
    identified(text, marks);
    set_for_user(text, marks);
}

/// Whether a word for a secret is the last in the text, with white space or a bracket after it.
fn speaks_of_secret(before: &str) -> bool {
    let between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'(' | b'\\');
    let bytes = before.as_bytes();
    let gap = bytes
        .iter()
        .rev()
        .take(BETWEEN)
        .take_while(|byte| between(byte))
        .count();
    let end = bytes.len() - gap;
    let length = bytes[..end]
        .iter()
        .rev()
        .take(LONGEST)
        .take_while(|byte| is_word(**byte) || **byte == b'-')
        .count();
    let word = &before[end - length..end];
    let apart = gap > 0 && bytes[end..].iter().any(|byte| *byte != b'\\');
    let named = naming(word);
    if is_flag_in_list(before) {
        return true;
    }
    let before = &bytes[..end - length];
    // One may pass anything to anybody.
    let speaks = named.is_secret() && named.last && !named.asks && !word.eq_ignore_ascii_case("pass")
        || word.eq_ignore_ascii_case("by") && is_near(before, b"identified")
        // `expect "Password:"; send "…"`
        || word == "send" && (is_near(before, b"password") || is_near(before, b"passphrase"));
    apart && speaks
}

/// `"--password", `, in a list of arguments.
fn is_flag_in_list(before: &str) -> bool {
    let trimmed = before.trim_end_matches('\\').trim_end_matches(' ');
    let Some(list) = trimmed.strip_suffix(',') else {
        return false;
    };
    let Some(quoted) = list.strip_suffix(['"', '\'']) else {
        return false;
    };
    let quoted = quoted.trim_end_matches('\\');
    let length = quoted
        .bytes()
        .rev()
        .take(LONGEST)
        .take_while(|byte| is_word(*byte) || *byte == b'-')
        .count();
    let flag = &quoted[quoted.len() - length..];
    let named = naming(flag);
    flag.starts_with('-') && named.is_secret() && !named.asks
}

/// Whether a word stands not long before, as in `IDENTIFIED WITH caching_sha2_password BY`.
fn is_near(before: &[u8], word: &[u8]) -> bool {
    let near = &before[before.len().saturating_sub(LONGEST)..];
    near.windows(word.len())
        .any(|other| other.eq_ignore_ascii_case(word))
}

fn closing(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if bytes.get(at + 1) != Some(&quote) || at == from => at += 1,
            b'\\' => return at,
            byte if byte == quote => {
                if bytes.get(at + 1) != Some(&quote) {
                    return at;
                }
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// `CREATE USER name IDENTIFIED BY word`, without quotes.
fn identified(text: &str, marks: &mut Marks<'_>) {
    const BY: &[u8] = b"identified by ";
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(BY.len())
        .position(|words| words.eq_ignore_ascii_case(BY))
    {
        let start = at + found + BY.len();
        let before = &bytes[..at + found];
        if !is_near(before, b"user") && !is_near(before, b"grant") {
            at = start;
            continue;
        }
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b";\"'`\\".contains(byte);
        let length = bytes[start..].iter().take_while(|byte| !ends(byte)).count();
        marks.hide(start..start + length);
        at = start + length;
    }
}

/// `SET PASSWORD FOR user = 'x'`
fn set_for_user(text: &str, marks: &mut Marks<'_>) {
    const FOR: &[u8] = b"password for ";
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(FOR.len())
        .position(|words| words.eq_ignore_ascii_case(FOR))
    {
        at += found + FOR.len();
        let near = &bytes[at..bytes.len().min(at + LONGEST)];
        let Some(equals) = near.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let value = at + equals + 1;
        let blanks = bytes[value..]
            .iter()
            .take_while(|byte| **byte == b' ')
            .count();
        if let Some(quote @ (b'"' | b'\'')) = bytes.get(value + blanks) {
            let inner = value + blanks + 1;
            let end = closing(bytes, inner, *quote);
            marks.hide(inner..end);
            at = end;
        }
    }
}
