//! The value after a separator: where it ends.

use std::ops::Range;

use super::{Around, Pair, Place, Separator};

/// So much is looked at to tell whether a name comes next.
pub(super) const LONGEST_LOOK: usize = 64;
/// So many blanks are looked past.
const BLANKS: usize = 8;

pub(super) fn blanks(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .take(BLANKS)
        .take_while(|byte| **byte == b' ')
        .count()
}

/// Where the value of a pair is, without quotes around it.
pub(super) fn range(text: &str, pair: &Pair, around: &Around) -> Range<usize> {
    let bytes = text.as_bytes();
    let start = pair.start;
    match pair.place {
        Place::Flag => return start..text.len(),
        Place::Query => return start..query_end(bytes, start, pair.separator),
        _ if pair.separator == Separator::Element => {
            let end = text[start..]
                .find('<')
                .map_or(text.len(), |length| start + length);
            return start..end;
        }
        _ => {}
    }
    if name_ahead_after_blanks(bytes, pair) {
        return start..start;
    }
    if matches!(pair.place, Place::Environment | Place::Header) {
        // Quotes there are the value's own.
        return start..unquoted_end(bytes, start, pair, around);
    }
    if let Some(inner) = quoted(bytes, start) {
        // `"password:"`: the quote closes what the name stands in, and there is no value.
        let before = bytes[..pair.name.range.start].last();
        if !pair.name.quoted && before == bytes.get(start) && around.is_open(bytes[start]) {
            return start..start;
        }
        let after = closing_end(bytes, inner.end);
        if ends_value(bytes, after, around) {
            return inner;
        }
        return start..unquoted_end(bytes, after, pair, around);
    }
    if matches!(bytes.get(start), Some(b'{' | b'['))
        && let Some(end) = bracketed(bytes, start)
        && ends_value(bytes, end, around)
    {
        return start..end;
    }
    start..unquoted_end(bytes, start, pair, around)
}

/// `password= user=x`: no value, and the next name.
fn name_ahead_after_blanks(bytes: &[u8], pair: &Pair) -> bool {
    let blank =
        pair.separator == Separator::Equals && pair.start > 0 && bytes[pair.start - 1] == b' ';
    blank && name_ahead(bytes, pair.start, pair.separator, b' ')
}

/// In a query everything else is encoded.
fn query_end(bytes: &[u8], start: usize, separator: Separator) -> usize {
    let ends = |at: usize| match bytes[at] {
        b'&' | b'#' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\' => true,
        b'%' => separator == Separator::Encoded && bytes[at..].starts_with(b"%26"),
        b',' | b';' => {
            bytes[at + 1..].starts_with(b"http")
                || name_ahead(bytes, at + 1, Separator::Equals, bytes[at])
        }
        byte => byte.is_ascii_whitespace() || byte.is_ascii_control(),
    };
    (start..bytes.len())
        .find(|at| ends(*at))
        .unwrap_or(bytes.len())
}

/// What is in the quotes that open here, as they are or with backslashes before them; up to the end if they do not close.
fn quoted(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let escapes = bytes[start..]
        .iter()
        .take(BLANKS)
        .take_while(|byte| **byte == b'\\')
        .count();
    let quote = *bytes.get(start + escapes)?;
    if !matches!(quote, b'"' | b'\'' | b'`') {
        return None;
    }
    let open = start + escapes + 1;
    let mut before = 0;
    let mut at = open;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'\\' {
            before += 1;
        } else {
            let closes = byte == quote && (before <= escapes || escapes == 0 && before % 2 == 0);
            let doubled = before == 0 && bytes.get(at + 1) == Some(&quote) && at > open;
            if closes && doubled {
                at += 1;
            } else if closes {
                return Some(open..at - before.min(escapes));
            }
            before = 0;
        }
        at += 1;
    }
    Some(open..bytes.len())
}

/// Past the quote that closes, and the backslashes before it.
fn closing_end(bytes: &[u8], at: usize) -> usize {
    let escapes = bytes[at..]
        .iter()
        .take_while(|byte| **byte == b'\\')
        .count();
    (at + escapes + 1).min(bytes.len())
}

/// Past the bracket that closes the one here. Brackets in quotes do not count.
fn bracketed(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            byte @ (b'"' | b'\'') if quote.is_none() => quote = Some(byte),
            byte if quote == Some(byte) => quote = None,
            b'{' | b'[' if quote.is_none() => depth += 1,
            b'}' | b']' if quote.is_none() => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Whether something else begins here, after a quote or bracket that closed.
fn ends_value(bytes: &[u8], at: usize, around: &Around) -> bool {
    bytes.get(at).is_none_or(|byte| {
        byte.is_ascii_whitespace()
            || b",;&|<\\%".contains(byte)
            || around.is_open(*byte)
            || matches!(byte, b')' | b']' | b'}')
    })
}

fn unquoted_end(bytes: &[u8], start: usize, pair: &Pair, around: &Around) -> usize {
    (start..bytes.len())
        .find(|at| ends_here(bytes, *at, start, pair, around))
        .unwrap_or(bytes.len())
}

fn ends_here(bytes: &[u8], at: usize, start: usize, pair: &Pair, around: &Around) -> bool {
    let byte = bytes[at];
    let rest = &bytes[at + 1..];
    match byte {
        b'"' | b'\'' | b')' | b']' | b'}' if around.is_open(byte) => closes(rest),
        b'\\' if rest.first() == Some(&b'"') && around.is_open(b'"') => closes(&rest[1..]),
        b'\n' if pair.place == Place::Header => true,
        _ if pair.place == Place::Header => false,
        byte if byte.is_ascii_whitespace() && pair.place == Place::InnerFlag => true,
        b' ' | b'\t' | b'\n' | b'\r' => {
            at == start && byte != b' '
                || name_ahead_like(bytes, at + 1, pair, byte)
                || shell_operator(rest)
        }
        b'&' if pair.place == Place::Environment => false,
        b',' | b'&' => name_ahead_like(bytes, at + 1, pair, byte),
        b';' => {
            let is_last = rest.is_empty() && pair.place == Place::Member;
            is_last || name_ahead_like(bytes, at + 1, pair, byte)
        }
        _ => false,
    }
}

/// Whether what follows a closing quote or bracket does not belong to the value.
fn closes(rest: &[u8]) -> bool {
    rest.first()
        .is_none_or(|next| next.is_ascii_whitespace() || b",;&|)]}\"'\\<".contains(next))
}

fn shell_operator(rest: &[u8]) -> bool {
    ["&& ", "|| ", "| ", "> ", ">> ", "; "]
        .iter()
        .any(|operator| rest.starts_with(operator.as_bytes()))
}

/// Whether a name comes next that could belong to the same list as the pair's.
fn name_ahead_like(bytes: &[u8], at: usize, pair: &Pair, delimiter: u8) -> bool {
    if !name_ahead(bytes, at, pair.separator, delimiter) {
        return false;
    }
    if pair.place != Place::Environment {
        return true;
    }
    // What an environment variable holds may hold anything: only another variable ends it, or in `PWD=x;Database=y`
    // the next word of the connection string.
    let rest = &bytes[at..];
    let upper = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'_' || byte.is_ascii_digit();
    let length = rest
        .iter()
        .take(LONGEST_LOOK)
        .take_while(|byte| upper(byte))
        .count();
    let is_variable = length > 1 && rest.get(length) == Some(&b'=');
    let name = &bytes[pair.name.range.clone()];
    match delimiter {
        b';' => matches!(name, b"PWD" | b"PASSWORD"),
        _ => is_variable,
    }
}

/// Whether a name and a separator stand here, after blanks, dashes, quotes and an opening bracket.
pub(super) fn name_ahead(bytes: &[u8], at: usize, separator: Separator, delimiter: u8) -> bool {
    let look = &bytes[at.min(bytes.len())..bytes.len().min(at + LONGEST_LOOK)];
    let lead = |byte: &u8| byte.is_ascii_whitespace() || b"\"'\\{[-".contains(byte);
    let start = look.iter().take_while(|byte| lead(byte)).count();
    let name = &look[start..];
    let blank = |byte: u8| delimiter == b';' && byte == b' ';
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.$".contains(byte) || blank(*byte);
    let length = name.iter().take_while(|byte| fits(byte)).count();
    let begins = name
        .first()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || b"_$".contains(byte));
    let after = &name[length..];
    let skip = after
        .iter()
        .take_while(|byte| b"\"'\\ ]".contains(byte))
        .count();
    let after = &after[skip..];
    let colon = matches!(separator, Separator::Colon | Separator::ColonAlone);
    begins
        && match after {
            [b'=', ..] | [b':', b'/', b'/', ..] | [b':', b'=', ..] => true,
            [b':', ..] => colon,
            _ => false,
        }
}
