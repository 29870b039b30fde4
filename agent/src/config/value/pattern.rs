//! Patterns of names.

use std::{fmt, str::FromStr};

use super::{InvalidValue, text_value};

/// The longest key of a Kubernetes label or annotation: a prefix, `/` and a name (Kubernetes documentation, "Labels and
/// Selectors", syntax).
const LONGEST: usize = 253 + 1 + 63;

/// A key of Kubernetes labels or annotations, or a pattern of such keys, in which `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NamePattern {
    type Err = InvalidValue;

    /// Refuses what no key can match.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let length = text.chars().count();
        let stranger = text
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "-_./*".contains(*c)));
        let problem = match stranger {
            _ if text.is_empty() => {
                "must not be empty; write a key such as `team`, or a pattern such as `app.kubernetes.io/*`"
                    .to_owned()
            }
            _ if length > LONGEST => {
                format!("has {length} characters; at most {LONGEST}, which no key is longer than")
            }
            Some(c) => format!(
                "`{text}` has `{c}` in it; allowed are letters and digits of ASCII, `-`, `_`, `.`, `/` and, for any run of characters, `*`"
            ),
            None => return Ok(Self(text.to_owned())),
        };
        Err(InvalidValue::new(problem))
    }
}

text_value!(NamePattern, "a key or a pattern of keys such as `app.kubernetes.io/*`", {
    "type": "string",
    "pattern": "^[A-Za-z0-9_./*-]+$",
    "maxLength": 317
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_and_patterns() {
        let longest = "a".repeat(LONGEST);
        for text in [
            "team",
            "*",
            "**",
            "app.kubernetes.io/*",
            "A-b_c.d/1",
            &longest,
        ] {
            assert_eq!(text.parse(), Ok(NamePattern(text.to_owned())));
        }
    }

    #[test]
    fn what_no_key_can_match() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<NamePattern>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        };
        check("", "must not be empty; write a key such as `team`");
        check("a b", "`a b` has ` ` in it; allowed are letters");
        check("a\n", "has `\n` in it");
        check("a,b", "has `,` in it");
        check("team?", "has `?` in it");
        check("é", "has `é` in it");
        check(&"é".repeat(LONGEST + 1), "has 318 characters; at most 317");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[a*/._ -]{0,12}|\\PC*|.*") {
            if let Ok(pattern) = text.parse::<NamePattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
