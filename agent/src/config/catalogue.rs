//! Every key there is, read from the JSON schema of [`Config`]: its shape, its default, its documentation.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::keys::Config;

/// A key or a section of keys.
pub(super) struct Entry {
    /// Dotted, as users write it.
    pub(super) path: String,
    pub(super) shape: Shape,
    /// Its doc comment on one line.
    pub(super) meaning: String,
    /// Its part of the JSON schema.
    pub(super) schema: Map<String, Value>,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Further keys.
    Section,
    /// A scalar.
    Text,
    /// A map from users' own keys to texts.
    Map,
    /// A list.
    List,
}

impl Entry {
    /// The environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!(
            "WELLHEAD_{}",
            self.path.replace('.', "_").to_ascii_uppercase()
        )
    }
}

/// The JSON schema of the configuration file, draft 2020-12. Unknown keys are refused by it.
pub fn json_schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
}

/// Sections and keys in the order of the schema, each section before its keys.
pub(super) static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut entries = Vec::new();
    collect("", &json_schema(), &mut entries);
    entries
});

fn collect(parent: &str, schema: &Value, entries: &mut Vec<Entry>) {
    for (name, schema) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = if parent.is_empty() {
            name.clone()
        } else {
            format!("{parent}.{name}")
        };
        let meaning = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        entries.push(Entry {
            path: path.clone(),
            shape: shape(schema),
            meaning: meaning.split_whitespace().collect::<Vec<_>>().join(" "),
            schema: schema.as_object().cloned().unwrap_or_default(),
        });
        collect(&path, schema, entries);
    }
}

fn shape(schema: &Value) -> Shape {
    let is = |name: &str| match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|one| one == name),
        one => one.is_some_and(|one| one == name),
    };
    if schema.get("properties").is_some() {
        Shape::Section
    } else if is("object") {
        Shape::Map
    } else if is("array") {
        Shape::List
    } else {
        Shape::Text
    }
}

/// The entry for a dotted path.
pub(super) fn find(path: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.path == path)
}

/// Keys only, without the sections.
pub(super) fn keys() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().filter(|entry| entry.shape != Shape::Section)
}

/// The names right beneath a section, or at the top for the empty path.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    let beneath = ENTRIES.iter().filter_map(|entry| match section {
        "" => Some(entry.path.as_str()),
        _ => entry.path.strip_prefix(section)?.strip_prefix('.'),
    });
    beneath.filter(|name| !name.contains('.')).collect()
}

/// The candidate most like `wanted`, if one is alike enough to be meant.
/// A candidate's last dotted part may match alone: `listen` is like `prometheus.listen`.
pub(super) fn nearest<'a>(
    wanted: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    const LONGEST: usize = 80;
    if wanted.is_empty() || wanted.len() > LONGEST {
        return None;
    }
    let limit = (wanted.chars().count() / 3).max(1);
    let near = candidates.map(|candidate| {
        let whole = distance(wanted, candidate);
        let part = candidate
            .rsplit('.')
            .next()
            .map_or(whole, |part| distance(wanted, part));
        // Whole matches first where both are as good; then what users look at first.
        ((whole.min(part), whole > part), candidate)
    });
    near.filter(|((best, _), _)| *best <= limit)
        .min_by_key(|(score, _)| *score)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, removals and replacements that lead from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (position, c) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = position + 1;
        for (index, d) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(c != *d);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_is_documented_and_has_a_variable_of_its_own() {
        let variables: BTreeSet<_> = keys().map(Entry::variable).collect();
        assert_eq!(variables.len(), keys().count());
        for entry in ENTRIES.iter() {
            assert!(
                entry.meaning.ends_with('.'),
                "{}: {:?}",
                entry.path,
                entry.meaning
            );
        }
    }

    #[test]
    fn every_section_refuses_unknown_keys() {
        let sections = ENTRIES.iter().filter(|entry| entry.shape == Shape::Section);
        let root = json_schema();
        assert_eq!(root["additionalProperties"], false);
        for entry in sections {
            assert_eq!(
                entry.schema["additionalProperties"], false,
                "{}",
                entry.path
            );
        }
    }

    #[test]
    fn distances_count_edits() {
        let check = |from, to, expected| assert_eq!(distance(from, to), expected, "{from} {to}");
        check("", "", 0);
        check("", "abc", 3);
        check("kitten", "sitting", 3);
        check("same", "same", 0);
        check("flaw", "lawn", 2);
    }

    #[test]
    fn the_nearest_key_is_the_one_meant() {
        let check = |wanted: &str, expected: Option<&str>| {
            assert_eq!(
                nearest(wanted, keys().map(|entry| entry.path.as_str())),
                expected,
                "{wanted}"
            );
        };
        check("memory_bugdet", Some("memory_budget"));
        check("otlp.endpiont", Some("otlp.endpoint"));
        check("listen", Some("prometheus.listen"));
        check("nothing_like_it", None);
        check("", None);
    }
}
