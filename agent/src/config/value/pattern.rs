//! Patterns of names, in which `*` stands for any run of characters.

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

/// The longest name of a namespace (RFC 1123 label).
const LONGEST_NAMESPACE: usize = 63;

/// The name of a Kubernetes namespace, or a pattern of such names, in which `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamespacePattern(String);

impl NamespacePattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NamespacePattern {
    type Err = InvalidValue;

    /// Refuses what no namespace can be called.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let length = text.chars().count();
        let stranger = text
            .chars()
            .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "-*".contains(*c)));
        let problem = match stranger {
            _ if text.is_empty() => {
                "must not be empty; write a namespace such as `shop`, or a pattern such as `team-*`"
                    .to_owned()
            }
            _ if length > LONGEST_NAMESPACE => {
                format!(
                    "has {length} characters; at most {LONGEST_NAMESPACE}, which no namespace's name is longer than"
                )
            }
            Some(c) => format!(
                "`{text}` has `{c}` in it; allowed are small letters and digits of ASCII, `-` and, for any run of characters, `*`"
            ),
            None => return Ok(Self(text.to_owned())),
        };
        Err(InvalidValue::new(problem))
    }
}

text_value!(NamespacePattern, "a namespace or a pattern of namespaces such as `team-*`", {
    "type": "string",
    "pattern": "^[a-z0-9*-]+$",
    "maxLength": 63
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

    #[test]
    fn namespaces() {
        for text in ["shop", "*", "kube-*", "1", &"a".repeat(63)] {
            assert_eq!(text.parse(), Ok(NamespacePattern(text.to_owned())));
        }
        let check = |text: &str, expected: &str| {
            let error = text.parse::<NamespacePattern>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        };
        check("", "must not be empty; write a namespace such as `shop`");
        check("Shop", "`Shop` has `S` in it; allowed are small letters");
        check("a.b", "has `.` in it");
        check("a/b", "has `/` in it");
        check(&"a".repeat(64), "has 64 characters; at most 63");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[a*/._ -]{0,12}|\\PC*|.*") {
            if let Ok(pattern) = text.parse::<NamePattern>() {
                prop_assert_eq!(pattern.to_string(), text.as_str());
            }
            if let Ok(pattern) = text.parse::<NamespacePattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
