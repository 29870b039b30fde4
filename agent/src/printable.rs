//! Text from outside, as a terminal may have it: it is shown and does nothing. A leaf, like `counters`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is not shown but acts: on a terminal, as the control characters do that begin its commands or break lines (C0,
/// DEL, C1); or on how the rest is read, as those do that turn its direction or join it unseen (of Unicode's category Cf those that are
/// not seen, and its own breaks of lines and paragraphs).
pub(crate) fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Text in which what acts is written out, such as `\n` or `\u{1b}`, and `\` as `\\`: different texts stay different.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| acts(c) || c == '\\') {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) || c == '\\' {
            written.extend(c.escape_default());
        } else {
            written.push(c);
        }
    }
    Cow::Owned(written)
}

/// The same as one word: in quotes where it is empty, or what is in it could be taken for the end of a word.
pub(crate) fn word(text: &str) -> Cow<'_, str> {
    let escaped = escaped(text);
    if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"') {
        return escaped;
    }
    Cow::Owned(format!("\"{}\"", escaped.replace('"', "\\\"")))
}

/// The same JSON, in which what acts is written as `\uXXXX`. JSON has such characters in its strings alone.
pub(crate) fn json(text: String) -> String {
    if !text.contains(acts) {
        return text;
    }
    let mut written = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if !acts(c) {
            written.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            _ = write!(written, "\\u{unit:04x}");
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_is_written_out() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected, "{text:?}");
        check("nginx", "nginx");
        check("漢字 é", "漢字 é");
        check("a\nb\tc\r", "a\\nb\\tc\\r");
        check("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}");
        check("\u{7f}\u{9b}31m", "\\u{7f}\\u{9b}31m");
        check("ab\u{202e}dc\u{2066}", "ab\\u{202e}dc\\u{2066}");
        check(
            "a\u{200b}b\u{feff}\u{2028}",
            "a\\u{200b}b\\u{feff}\\u{2028}",
        );
        check("\\n", "\\\\n");
    }

    #[test]
    fn words_have_ends() {
        let check = |text: &str, expected: &str| assert_eq!(word(text), expected, "{text:?}");
        check("sh", "sh");
        check("--flag=value", "--flag=value");
        check("", "\"\"");
        check("exit 3", "\"exit 3\"");
        check("a\u{a0}b", "\"a\u{a0}b\"");
        check("say \"no\\\"", "\"say \\\"no\\\\\\\"\"");
        check("a\nb", "\"a\\nb\"");
    }

    #[test]
    fn json_stays_the_same_json() {
        let check = |value: &str, expected: &str| {
            let text = json(serde_json::to_string(value).unwrap());
            assert_eq!(text, expected);
            assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
        };
        check("a b", r#""a b""#);
        check("\u{7f}\u{85}\u{9b}", r#""\u007f\u0085\u009b""#);
        check("\u{202e}\u{1b}", r#""\u202e\u001b""#);
        check("\u{e0041}", r#""\udb40\udc41""#);
    }

    proptest! {
        #[test]
        fn nothing_acts_and_nothing_is_lost(text in any::<String>(), others in "[\\x00-\\u{a0}\\u{2000}-\\u{2070}]{0,20}") {
            let text = text + &others;
            for shown in [escaped(&text), word(&text), json(serde_json::to_string(&text).unwrap()).into()] {
                prop_assert!(!shown.contains(acts), "{:?}", shown);
            }
            let read: String = serde_json::from_str(&json(serde_json::to_string(&text).unwrap())).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn texts_stay_different(one in "[\\\\nu{}1b \"\n\u{1b}]{0,6}", other in "[\\\\nu{}1b \"\n\u{1b}]{0,6}") {
            prop_assert_eq!(one == other, escaped(&one) == escaped(&other));
            prop_assert_eq!(one == other, word(&one) == word(&other));
        }
    }
}
