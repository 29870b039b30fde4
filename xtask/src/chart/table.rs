//! The table of values in the chart's README, from its schema and its defaults.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

const BEGIN: &str = "<!-- Generated: `cargo xtask docs` -->\n";
const END: &str = "<!-- End of what is generated -->\n";

/// A page with the table where it belongs.
pub(super) fn put_into(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page
        .split_once(BEGIN)
        .context("the README has no place for the table of values")?;
    let (_, after) = rest
        .split_once(END)
        .context("the README's table of values has no end")?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

/// The table. Every value has to be described, and everything described to have a default.
pub(super) fn of(schema: &Value, values: &Value) -> Result<String> {
    let mut rows = vec!["| value | default | meaning |".to_owned()];
    rows.push("|---|---|---|".to_owned());
    collect("", schema, values, &mut rows)?;
    Ok(rows.join("\n") + "\n")
}

fn collect(parent: &str, schema: &Value, values: &Value, rows: &mut Vec<String>) -> Result<()> {
    let nothing = Map::new();
    let described = schema["properties"].as_object().unwrap_or(&nothing);
    let defaults = values.as_object().unwrap_or(&nothing);
    for name in defaults.keys() {
        ensure!(
            described.contains_key(name),
            "{parent}{name} is in values.yaml and not in values.schema.json"
        );
    }
    for (name, schema) in described {
        let path = format!("{parent}{name}");
        if path == "global" {
            continue;
        }
        let default = defaults
            .get(name)
            .with_context(|| format!("{path} is in values.schema.json and not in values.yaml"))?;
        let meaning = schema["description"]
            .as_str()
            .with_context(|| format!("{path} has no description in values.schema.json"))?;
        let section = is_section(&path, schema);
        let default = if section {
            String::new()
        } else {
            shown(default)?
        };
        rows.push(format!("| `{path}` | {default} | {meaning} |"));
        if section {
            collect(&format!("{path}."), schema, &defaults[name], rows)?;
        }
    }
    Ok(())
}

/// Whether the parts of a value are described one by one. The agent's configuration has a page of its own.
fn is_section(path: &str, schema: &Value) -> bool {
    let parts = schema["properties"].as_object();
    let described = |part: &Value| part.get("description").is_some();
    path != "config" && parts.is_some_and(|parts| parts.values().all(described))
}

fn shown(default: &Value) -> Result<String> {
    Ok(match default {
        Value::Null => "derived".to_owned(),
        Value::String(text) if text.is_empty() => "`\"\"`".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{}`", serde_json::to_string(other)?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({ "properties": {
            "name": { "description": "Its name." },
            "config": { "description": "C.", "properties": { "a": { "description": "A." } } },
            "part": { "description": "P.", "properties": { "on": { "description": "Whether." } } },
            "resources": { "description": "R.", "properties": { "limits": {} } },
            "global": { "description": "G." },
        } })
    }

    #[test]
    fn sections_are_told_part_by_part() {
        let values = json!({
            "name": "", "config": {}, "part": { "on": false }, "resources": { "limits": { "cpu": 1 } },
        });
        let table = of(&schema(), &values).unwrap();
        let expected = "| value | default | meaning |\n|---|---|---|\n\
            | `name` | `\"\"` | Its name. |\n\
            | `config` | `{}` | C. |\n\
            | `part` |  | P. |\n\
            | `part.on` | `false` | Whether. |\n\
            | `resources` | `{\"limits\":{\"cpu\":1}}` | R. |\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn what_is_only_in_one_of_the_two_is_an_error() {
        let check = |values: Value, expected: &str| {
            let error = of(&schema(), &values).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(json!({ "name": "", "more": 1 }), "more is in values.yaml");
        check(json!({}), "name is in values.schema.json");
    }

    #[test]
    fn the_table_takes_the_place_of_the_old_one() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        let expected = format!("a\n{BEGIN}\nnew\n\n{END}b\n");
        assert_eq!(put_into(&page, "new\n").unwrap(), expected);
        assert!(put_into("a\n", "new\n").is_err());
    }
}
