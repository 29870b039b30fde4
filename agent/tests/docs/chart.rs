//! The part of the chart's schema of values that is the agent's own configuration.

use serde_json::{Map, Value, json};

/// Keys that the chart sets by itself, from where a pod runs.
const THE_CHARTS: [&str; 5] = [
    "node_name",
    "prometheus.listen",
    "prometheus.tls",
    "prometheus.bearer_token_file",
    "runtime_directory",
];

/// How the documentation of a key ends that can only be off.
const NOT_BUILT: &str = "Not built in this version.";

/// The schema of the whole file, with its `config` as the agent has it.
pub(crate) fn with_config(chart: &str, agent: &Value) -> String {
    let mut chart: Value = serde_json::from_str(chart).expect("the chart's schema is JSON");
    let mut config = section("", agent);
    config["description"] = json!(
        "The agent's configuration, as in docs/configuration.md; what is left out has its default."
    );
    chart["properties"]["config"] = config;
    serde_json::to_string_pretty(&chart).expect("JSON can be written") + "\n"
}

fn section(path: &str, schema: &Value) -> Value {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let properties: Map<String, Value> = properties
        .map(|(name, schema)| (join(path, name), name, schema))
        .filter(|(path, _, _)| !THE_CHARTS.contains(&path.as_str()))
        .map(|(path, name, schema)| (name.clone(), key(&path, schema)))
        .collect();
    json!({
        "description": schema["description"],
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn key(path: &str, schema: &Value) -> Value {
    if schema.get("properties").is_some() {
        return section(path, schema);
    }
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    if schema
        .get("format")
        .is_some_and(|format| format == "wellhead-duration")
    {
        // Of numbers only 0 is a duration; that Helm says of others that they are too large helps nobody.
        for number in ["minimum", "maximum"] {
            schema.remove(number);
        }
        let types = schema.get_mut("type").and_then(Value::as_array_mut);
        types
            .expect("a text or a number")
            .retain(|name| name != "integer");
    }
    for annotation in ["default", "x-default", "format"] {
        schema.remove(annotation);
    }
    if let Some(choices) = choices(&Value::Object(schema.clone())) {
        schema.retain(|name, _| name == "description");
        schema.insert("enum".to_owned(), Value::Array(choices));
    }
    let description = schema.get("description").and_then(Value::as_str);
    if description.is_some_and(|text| text.ends_with(NOT_BUILT)) {
        schema.insert("enum".to_owned(), json!(["off", false]));
    }
    // The empty text is no duration and no size, though their patterns take it.
    if schema.contains_key("pattern") {
        schema.insert("minLength".to_owned(), json!(1));
    }
    if path == "pins.directory" {
        schema.insert("pattern".to_owned(), json!("^/sys/fs/bpf/."));
    }
    Value::Object(schema)
}

/// What a key with a fixed set of values may be. Helm reads YAML 1.1, where an unquoted `off` is a boolean; the agent knows.
fn choices(schema: &Value) -> Option<Vec<Value>> {
    if let Some(known) = schema.get("enum") {
        return known.as_array().cloned();
    }
    let mut found = Vec::new();
    let alternatives = schema.get("oneOf").or_else(|| schema.get("anyOf"))?;
    for alternative in alternatives.as_array()? {
        match alternative.get("const") {
            Some(value) => found.push(value.clone()),
            None if alternative["type"] == "null" => found.push(Value::Null),
            None => found.extend(choices(alternative)?),
        }
    }
    for (text, truth) in [("on", true), ("off", false)] {
        if found.contains(&json!(text)) {
            found.push(json!(truth));
        }
    }
    Some(found)
}
