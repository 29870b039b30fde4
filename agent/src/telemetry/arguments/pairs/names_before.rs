//! The name before a separator.

use std::ops::Range;

use super::super::names::LONGEST;
use super::Separator;

/// So many blanks are looked past on either side of a separator.
const BLANKS: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Named {
    /// Without dashes and quotes.
    pub(super) range: Range<usize>,
    /// How many dashes stand before it, at the start of a word.
    pub(super) dashes: usize,
    /// `"name"`
    pub(super) quoted: bool,
}

/// The name that ends before the separator at `at`, if what stands there is one.
pub(super) fn find(text: &str, at: usize, separator: Separator) -> Option<Named> {
    let bytes = text.as_bytes();
    let mut end = at;
    let blanks = bytes[..end]
        .iter()
        .rev()
        .take(BLANKS)
        .take_while(|byte| **byte == b' ')
        .count();
    end -= blanks;
    // `data[password]=`, `data%5Bpassword%5D=`, `environ["TOKEN"] =`
    for close in ["]", "%5D", "%5d"] {
        if bytes[..end].ends_with(close.as_bytes()) {
            end -= close.len();
            break;
        }
    }
    let quote = bytes[..end]
        .last()
        .copied()
        .filter(|b| matches!(b, b'"' | b'\''));
    if quote.is_some() {
        end -= 1;
        end -= backslashes(&bytes[..end]);
    }
    let is_colon = matches!(separator, Separator::Colon | Separator::ColonAlone);
    if blanks > 0 && is_colon && quote.is_none() {
        return None;
    }
    let fits = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || b"_-.".contains(&byte)
            || quote.is_some() && byte == b' '
            || separator == Separator::Element && byte == b':'
    };
    let length = bytes[..end]
        .iter()
        .rev()
        .take(LONGEST)
        .take_while(|byte| fits(**byte))
        .count();
    let mut start = end - length;
    let quoted = match quote {
        Some(quote) if start == 0 || bytes[start - 1] != quote => return None,
        Some(_) => true,
        None => false,
    };
    start += escape(bytes, start, end);
    let dashes = bytes[start..end]
        .iter()
        .take_while(|byte| **byte == b'-')
        .count();
    let before = bytes[..start].last().copied();
    let range = start + dashes..end;
    if range.is_empty() || !stands_apart(before, separator, quoted) {
        return None;
    }
    let at_word = before.is_none_or(|byte| byte.is_ascii_whitespace() || b"\"'`=".contains(&byte));
    Some(Named {
        range,
        dashes: if at_word { dashes } else { 0 },
        quoted,
    })
}

fn backslashes(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rev()
        .take(BLANKS)
        .take_while(|byte| **byte == b'\\')
        .count()
}

/// The rest of a terminal's escape sequence before a name: of `ESC[31mpassword`, `31m`.
fn escape(bytes: &[u8], start: usize, end: usize) -> usize {
    if !bytes[..start].ends_with(b"\x1b[") {
        // `ESC[1;31m`
        let before = &bytes[..start];
        let parameters = before
            .iter()
            .rev()
            .take(BLANKS)
            .take_while(|byte| byte.is_ascii_digit() || **byte == b';')
            .count();
        if parameters == 0 || !before[..start - parameters].ends_with(b"\x1b[") {
            return 0;
        }
    }
    let digits = bytes[start..end]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    match bytes[start..end].get(digits) {
        Some(letter) if letter.is_ascii_alphabetic() => digits + 1,
        _ => 0,
    }
}

/// Whether a name can begin after this. Colons stand in too many other things for it to be anywhere.
fn stands_apart(before: Option<u8>, separator: Separator, quoted: bool) -> bool {
    let Some(before) = before else {
        return separator != Separator::Element;
    };
    match separator {
        Separator::Element => before == b'<',
        Separator::Colon | Separator::ColonAlone if !quoted => {
            before.is_ascii_whitespace()
                || before.is_ascii_control()
                || b"\"'`{[(,;&?=|m".contains(&before)
        }
        _ => true,
    }
}
