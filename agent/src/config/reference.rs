//! The users' reference of all keys and the example file, generated from the keys' doc comments.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{
    catalogue::{self, Entry, Shape},
    otel, print,
};

const INTRODUCTION: &str = "\
<!-- Generated from the doc comments in agent/src/config; `cargo xtask docs` writes it anew. -->
# Configuration

A setting is looked for in this order; the first place that has it wins:

1. `--set key=value` flags,
2. `WELLHEAD_*` environment variables,
3. the OpenTelemetry variables [listed below](#opentelemetry-variables),
4. the YAML file named by `--config` or `WELLHEAD_CONFIG` (no file is fine),
5. the defaults.

Maps are joined key by key over these places; everything else is replaced as a whole. A key without a value (`key:`, `null`)
and an empty variable count as not set. Everything is checked before anything starts: an unknown key or a value that
will not do ends the agent with exit code 64 and one line for each problem. `wellhead config check FILE` does only that,
and reads the files of certificates and keys that it names (the file may be `/dev/stdin`), `wellhead config print` shows what is in effect
(not what follows from other keys, such as the interval of a signal), and `wellhead config schema` prints the JSON schema.

Keys that are \"taken up while the agent runs\" are in effect as soon as the file [has changed](operations.md#changing-the-configuration); all others
wait for the next start.

Values are written so:

| type | written |
|---|---|
| duration | whole numbers with units, largest first: `2h`, `1m30s`, `10s`, `500ms`, `20us`; only `0` needs no unit |
| size | a whole number with `KiB`, `MiB`, `GiB`, `kB`, `MB` or `GB`; without a unit it counts bytes |
| `on`, `off` | as they are; `true` and `false` will do |
| map | YAML; in a variable or flag also `key=value,key=value`. `--set resource_attributes.team=core` sets one entry |
| list | YAML; in a variable or flag on one line: `[team, app.kubernetes.io/*]`, `[{name: office, cidr: 192.0.2.0/24}]`. A text that begins with `*` needs quotes: `['*']` |

Anchors, aliases and tags of YAML are not supported in the file.
";

const OPENTELEMETRY: &str = "
## OpenTelemetry variables

Honoured as the [OpenTelemetry specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)
says. A number, boolean or choice that cannot be read is logged and ignored; the case of the latter two does not matter.
A key of one signal (`otlp.metrics.*`, `otlp.traces.*`) wins over the general one wherever the two were set.

| variable | key | written |
|---|---|---|
";

const NOT_HONOURED: &str = "
These set nothing; one that asks for something else than what is done anyway is logged as a warning.

| variable | instead |
|---|---|
";

const OTHER_VARIABLES: &str = "
## Other variables

| variable | meaning |
|---|---|
| `WELLHEAD_CONFIG` | The configuration file, where `--config` is not given. |
| `NODE_NAME` | The default of `node_name`; in Kubernetes set from `spec.nodeName`. |

Any other variable starting with `WELLHEAD_` is an error, but for those that Kubernetes makes for Services
(`WELLHEAD_SERVICE_HOST`, and beside it `WELLHEAD_PORT_9464_TCP` and so on) and those that build and tests use
(`WELLHEAD_BIN`, `WELLHEAD_EBPF_OBJECT`, `WELLHEAD_REQUIRE_KERNEL`, `WELLHEAD_TEST_*`, `WELLHEAD_TOOLS`).
";

/// The content of `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## General\n\n");
    table(&mut page, "");
    for section in catalogue::ENTRIES
        .iter()
        .filter(|entry| entry.shape == Shape::Section)
    {
        push(
            &mut page,
            format_args!("\n## `{}`\n\n{}\n\n", section.path, section.meaning),
        );
        table(&mut page, &section.path);
    }
    page.push_str(OPENTELEMETRY);
    for variable in otel::variables() {
        push(
            &mut page,
            format_args!(
                "| `{}` | `{}` | {} |\n",
                variable.name, variable.key, variable.note
            ),
        );
    }
    for (name, note) in [
        (otel::PROMETHEUS_HOST, "the IP address, or `localhost`"),
        (otel::PROMETHEUS_PORT, "the port"),
    ] {
        push(
            &mut page,
            format_args!("| `{name}` | `prometheus.listen` | {note} |\n"),
        );
    }
    page.push_str(NOT_HONOURED);
    for variable in otel::NOT_HONOURED {
        push(
            &mut page,
            format_args!("| `{}` | {} |\n", variable.name, variable.instead),
        );
    }
    page.push_str(OTHER_VARIABLES);
    page
}

/// The keys right beneath `section`.
fn table(page: &mut String, section: &str) {
    let mut keys = catalogue::keys()
        .filter(|entry| parent(entry) == section)
        .peekable();
    if keys.peek().is_none() {
        return;
    }
    page.push_str("| key | type | default | variable | meaning |\n|---|---|---|---|---|\n");
    for entry in keys {
        let (path, kind, default) = (&entry.path, kind(entry), default(entry));
        push(
            page,
            format_args!(
                "| `{path}` | {kind} | {default} | `{}` | {} |\n",
                entry.variable(),
                meaning(entry)
            ),
        );
    }
}

fn parent(entry: &Entry) -> &str {
    entry.path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// Appends formatted text; writing to a `String` cannot fail.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    let written = page.write_fmt(text);
    debug_assert!(written.is_ok(), "a String takes any text");
}

/// The values a key chooses from, each with its meaning; empty for other keys.
fn choices(schema: &Map<String, Value>) -> Vec<(&str, &str)> {
    let listed = |list: &'_ str| {
        schema
            .get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let text = |value: &'_ Value| value.as_str().map(|_| ());
    let plain = listed("enum").filter(|value| text(value).is_some());
    let plain = plain.filter_map(|value| Some((value.as_str()?, "")));
    let documented = listed("oneOf").filter_map(|choice| {
        Some((
            choice.get("const")?.as_str()?,
            choice.get("description")?.as_str()?,
        ))
    });
    let optional = listed("anyOf")
        .filter_map(Value::as_object)
        .flat_map(choices);
    plain.chain(documented).chain(optional).collect()
}

/// The type as the reference names it.
fn kind(entry: &Entry) -> String {
    let choices = choices(&entry.schema);
    if !choices.is_empty() {
        let names: Vec<_> = choices
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        return names.join(", ");
    }
    let name = match (entry.shape, attribute(&entry.schema, "format")) {
        (Shape::Map, _) => "map",
        (Shape::List, _) => "list",
        (_, Some("wellhead-duration")) => "duration",
        (_, Some("wellhead-size")) => "size",
        (_, Some("wellhead-listen-address")) => "address",
        (_, Some("wellhead-rate")) => "number, `off`",
        (_, Some("wellhead-ratio" | "uint32")) => "number",
        _ => "text",
    };
    name.to_owned()
}

/// A text attribute of a schema, or of the one it is a choice of.
fn attribute<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let own = schema.get(name).and_then(Value::as_str);
    let choices = schema
        .get("anyOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    own.or_else(|| {
        choices
            .filter_map(Value::as_object)
            .find_map(|choice| attribute(choice, name))
    })
}

/// The default as the reference shows it.
fn default(entry: &Entry) -> String {
    if let Some(described) = attribute(&entry.schema, "x-default") {
        return described.to_owned();
    }
    match entry.schema.get("default") {
        Some(Value::String(text)) => format!("`{text}`"),
        Some(Value::Array(values)) if !values.is_empty() => format!("`{}`", inline(values)),
        Some(Value::Object(_) | Value::Array(_)) => "empty".to_owned(),
        Some(Value::Null) | None => "none".to_owned(),
        Some(other) => format!("`{other}`"),
    }
}

/// The doc comment, followed by what each choice means.
fn meaning(entry: &Entry) -> String {
    let choices = choices(&entry.schema);
    let explained = choices.iter().filter(|(_, meaning)| !meaning.is_empty());
    let explained: Vec<_> = explained
        .map(|(name, meaning)| format!("`{name}`: {meaning}"))
        .collect();
    if explained.is_empty() {
        return entry.meaning.clone();
    }
    format!("{} {}.", entry.meaning, explained.join("; "))
}

/// The content of `docs/wellhead.example.yaml`: every key at its default, commented out. Documentation is on
/// lines with `##`, keys on lines with `#`.
///
/// # Errors
/// A default that cannot be written as YAML.
pub fn example_yaml() -> Result<String, serde_saphyr::SerializeError> {
    let mut page = "\
## Wellhead's configuration: every key with its default, commented out. Take what you need.
## The reference with types and environment variables is docs/configuration.md.
## Generated from the doc comments in agent/src/config.
"
    .to_owned();
    for entry in catalogue::ENTRIES.iter() {
        let depth = entry.path.matches('.').count();
        let indent = "  ".repeat(depth);
        if depth == 0 {
            page.push('\n');
        }
        comment(&mut page, &indent, &meaning(entry));
        let name = entry.path.rsplit('.').next().unwrap_or_default();
        if entry.shape == Shape::Section {
            push(&mut page, format_args!("# {indent}{name}:\n"));
            continue;
        }
        if let Some(described) = attribute(&entry.schema, "x-default") {
            comment(&mut page, &indent, &format!("Default: {described}."));
        }
        push(
            &mut page,
            format_args!("# {indent}{name}:{}\n", example_value(entry)?),
        );
    }
    Ok(page)
}

/// A list on one line, as YAML has it.
fn inline(values: &[Value]) -> String {
    let texts: Vec<String> = values
        .iter()
        .map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
        .collect();
    format!("[{}]", texts.join(", "))
}

/// The default with a space before it; nothing for a key that is not set by default.
fn example_value(entry: &Entry) -> Result<String, serde_saphyr::SerializeError> {
    let described = attribute(&entry.schema, "x-default").is_some();
    match entry.schema.get("default") {
        None | Some(Value::Null) => Ok(String::new()),
        Some(_) if described => Ok(String::new()),
        Some(Value::Array(values)) if !values.is_empty() => Ok(format!(" {}", inline(values))),
        Some(value) => Ok(format!(" {}", print::yaml(value)?.trim_end())),
    }
}

/// Documentation in lines of moderate width.
fn comment(page: &mut String, indent: &str, text: &str) {
    const WIDTH: usize = 110;
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + word.len() >= WIDTH {
            push(page, format_args!("## {indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    push(page, format_args!("## {indent}{line}\n"));
}
