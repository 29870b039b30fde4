//! What a benchmark run found out, as it is kept in JSON, and the lines by which programs tell it.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::Part;
use super::machine::Machine;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    /// The day, in UTC: `YYYY-MM-DD`.
    pub(super) taken: String,
    /// Of the agent.
    pub(super) version: String,
    /// How long all of it took, with building what was not built.
    pub(super) seconds: u64,
    pub(super) machine: Machine,
    pub(super) parts: Vec<Measured>,
}

/// What one part found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    pub(super) name: Part,
    pub(super) seconds: u64,
    pub(super) items: Vec<Item>,
}

/// A line of a program, as an object whose only key is the kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Item {
    Table(Table),
    Plot(Plot),
    Goal(Goal),
    Fact(Fact),
}

const KINDS: [&str; 4] = ["table", "plot", "goal", "fact"];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Cell {
    Number(Number),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plot {
    /// Of its file.
    pub(super) name: String,
    pub(super) title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

/// How many lines of one plot can be told apart.
pub(super) const MAX_SERIES: usize = 8;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Axis {
    pub(super) label: String,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) log: bool,
    /// Zero is on it, whatever the values are.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) zero: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<[f64; 2]>,
}

/// What is to be reached, and whether it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Goal {
    pub(super) name: String,
    /// In words: "at least 0.97".
    pub(super) limit: String,
    pub(super) value: String,
    pub(super) met: bool,
}

/// A number for whoever compares runs. It is not shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: Number,
    pub(super) unit: String,
}

impl Report {
    /// What is to be reached, of all parts.
    pub(super) fn goals(&self) -> impl Iterator<Item = &Goal> {
        self.items().filter_map(|item| match item {
            Item::Goal(goal) => Some(goal),
            _ => None,
        })
    }

    pub(super) fn plots(&self) -> impl Iterator<Item = &Plot> {
        self.items().filter_map(|item| match item {
            Item::Plot(plot) => Some(plot),
            _ => None,
        })
    }

    fn items(&self) -> impl Iterator<Item = &Item> {
        self.parts.iter().flat_map(|part| &part.items)
    }
}

/// The item that a line is, or `None` for a line meant for whoever watches.
///
/// # Errors
/// It says that it is an item, and is not like one.
pub(super) fn item(line: &str) -> Result<Option<Item>> {
    let Ok(Value::Object(object)) = serde_json::from_str(line) else {
        return Ok(None);
    };
    let mut keys = object.keys();
    let (Some(kind), None) = (keys.next(), keys.next()) else {
        return Ok(None);
    };
    if !KINDS.contains(&kind.as_str()) {
        return Ok(None);
    }
    let wrong = || format!("no such item of a report is known: {line}");
    let item: Item = serde_json::from_value(Value::Object(object)).with_context(wrong)?;
    item.check().with_context(wrong)?;
    Ok(Some(item))
}

impl Item {
    /// What types do not say.
    fn check(&self) -> Result<()> {
        match self {
            Self::Table(Table { columns, rows, .. }) => {
                let is_full = |row: &Vec<Cell>| row.len() == columns.len();
                ensure!(
                    rows.iter().all(is_full),
                    "a row has not a cell for each column"
                );
            }
            Self::Plot(Plot { name, series, .. }) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                ensure!(
                    !name.is_empty() && name.chars().all(plain),
                    "the name is none for a file"
                );
                ensure!(series.len() <= MAX_SERIES, "more than {MAX_SERIES} series");
            }
            Self::Goal(_) | Self::Fact(_) => {}
        }
        Ok(())
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEMS: [&str; 5] = [
        r#"{"table":{"title":"t","note":"n","columns":["a","b"],"rows":[["x",1],["y",2.5]]}}"#,
        r#"{"table":{"title":"t","columns":[],"rows":[]}}"#,
        r#"{"plot":{"name":"p-1","title":"t","x":{"label":"x","log":true},"y":{"label":"y","zero":true},"series":[{"name":"s","points":[[1.0,2.5]]}]}}"#,
        r#"{"goal":{"name":"g","limit":"at least 1","value":"2","met":true}}"#,
        r#"{"fact":{"name":"f","value":12,"unit":"ns"}}"#,
    ];

    #[test]
    fn an_item_is_kept_as_it_was_told() {
        for line in ITEMS {
            let item = item(line).unwrap().unwrap();
            assert_eq!(serde_json::to_string(&item).unwrap(), line);
        }
    }

    #[test]
    fn other_lines_are_for_whoever_watches() {
        for line in [
            "",
            "round 3 of 5",
            "7",
            r#"["table"]"#,
            "{}",
            r#"{"tables":{}}"#,
            r#"{"table":{},"plot":{}}"#,
            r#"{"table":"#,
        ] {
            assert_eq!(item(line).unwrap(), None, "{line}");
        }
    }

    #[test]
    fn what_only_looks_like_an_item_is_an_error_that_shows_it() {
        for line in [
            r#"{"table":7}"#,
            r#"{"table":{"title":"t","columns":["a"],"rows":[[null]]}}"#,
            r#"{"table":{"title":"t","columns":["a"],"rows":[["x","y"]]}}"#,
            r#"{"table":{"title":"t","columns":[],"rows":[],"more":1}}"#,
            r#"{"goal":{"name":"g","limit":"l","value":"v"}}"#,
            r#"{"fact":{"name":"f","value":"12","unit":"ns"}}"#,
            r#"{"plot":{"name":"../p","title":"t","x":{"label":"x"},"y":{"label":"y"},"series":[]}}"#,
            r#"{"plot":{"name":"p","title":"t","x":{"label":"x"},"y":{"label":"y"},"series":[{"name":"s","points":[[1]]}]}}"#,
        ] {
            let error = item(line).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }
}
