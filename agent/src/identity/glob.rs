//! Names with wildcards.

/// A pattern in which `*` stands for any run of characters, none and `/` included. Everything else stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// What is between the wildcards. One text alone has none beside it.
    texts: Box<[Box<str>]>,
}

impl Glob {
    /// Any text is a pattern.
    pub fn new(pattern: &str) -> Self {
        Self {
            texts: pattern.split('*').map(Into::into).collect(),
        }
    }

    /// Whether all of `name` is as the pattern says. Takes time in proportion to its length.
    pub fn matches(&self, name: &str) -> bool {
        let [first, between @ .., last] = &*self.texts else {
            return self.texts.iter().all(|text| **text == *name);
        };
        // The ends first: what is between may be anywhere, so its first place leaves most to what follows.
        let rest = name.strip_prefix(&**first);
        let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(&**last)) else {
            return false;
        };
        for text in between {
            let Some(at) = rest.find(&**text) else {
                return false;
            };
            rest = &rest[at + text.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Glob;

    #[test]
    fn wildcards() {
        let check = |pattern: &str, name: &str, expected: bool| {
            let found = Glob::new(pattern).matches(name);
            assert_eq!(found, expected, "{pattern} {name}");
        };
        check("team", "team", true);
        check("team", "teams", false);
        check("team", "a/team", false);
        check("*", "", true);
        check("*", "example.com/a/b", true);
        check("**", "é", true);
        check("app.kubernetes.io/*", "app.kubernetes.io/name", true);
        check("app.kubernetes.io/*", "app.kubernetes.io/", true);
        check("app.kubernetes.io/*", "xapp.kubernetes.io/name", false);
        check("*/name", "app.kubernetes.io/name", true);
        check("*/name", "name", false);
        check("*.io/*a*e", "x.io/name", true);
        check("*.io/*a*e", "x.io/nae", true);
        check("*.io/*a*e", "x.io/nea", false);
        // One character is not two ends.
        check("aba*aba", "ababa", false);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("*ab*b", "ab", false);
        check("App", "app", false);
        check("a.c", "abc", false);
        check("", "", true);
        check("", "a", false);
    }

    /// The definition, word by word.
    fn matches_by_definition(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            (['*', rest @ ..], _) => {
                (0..=name.len()).any(|taken| matches_by_definition(rest, &name[taken..]))
            }
            ([first, rest @ ..], [c, after @ ..]) => {
                first == c && matches_by_definition(rest, after)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_defined(pattern in "[abé*]{0,8}", name in "[abé]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = matches_by_definition(&chars(&pattern), &chars(&name));
            prop_assert_eq!(Glob::new(&pattern).matches(&name), expected);
        }

        #[test]
        fn any_text_matches_itself(text: String) {
            prop_assert!(Glob::new(&text).matches(&text));
        }
    }

    /// Where every `*` may end anywhere, trying all ways would take longer than anybody waits.
    #[test]
    fn many_wildcards_take_no_longer() {
        let pattern = format!("{}b", "a*".repeat(150));
        assert!(!Glob::new(&pattern).matches(&"a".repeat(300)));
        assert!(Glob::new(&pattern).matches(&format!("{}b", "a".repeat(300))));
    }
}
