//! A small strict parser of the lines both formats share.

use std::collections::BTreeMap;

/// Name and labels, sorted.
pub(super) type Series = (String, Vec<(String, String)>);

/// What a page says.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    pub(super) samples: BTreeMap<Series, f64>,
}

/// Reads a page; panics at anything that is not well formed, and at a series shown twice.
pub(super) fn parse(page: &str) -> Page {
    assert!(page.is_empty() || page.ends_with('\n'));
    assert!(!page.contains('\0'));
    let mut samples = BTreeMap::new();
    let mut family = String::new();
    for line in page.split_terminator('\n') {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            assert!(
                matches!(words.next(), Some("HELP" | "TYPE" | "UNIT")),
                "{line}"
            );
            family = words.next().unwrap().to_owned();
            continue;
        }
        let (series, value) = parse_sample(line);
        assert!(series.0.starts_with(&family), "{line} among {family}");
        assert!(samples.insert(series, value).is_none(), "twice: {line}");
    }
    Page { samples }
}

fn parse_sample(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(
                label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
                "{line}"
            );
            let (value, after) = unescape(after);
            assert!(!value.is_empty());
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}').unwrap();
    }
    labels.sort();
    let value = rest.strip_prefix(' ').unwrap();
    assert!(!value.contains(' '), "a timestamp: {line}");
    ((name.to_owned(), labels), value.parse().unwrap())
}

/// Reads up to the closing quote.
fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, &text[index + 1..]),
            '\\' => value.push(match characters.next().unwrap().1 {
                'n' => '\n',
                escaped @ ('"' | '\\') => escaped,
                other => unreachable!("\\{other}"),
            }),
            _ => value.push(character),
        }
    }
    unreachable!("no closing quote in {text}")
}
