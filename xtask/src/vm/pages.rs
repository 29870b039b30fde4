//! `docs/kernels.md`: the kernels of the matrix, side by side.

use serde_json::Value;

use super::golden::Facts;
use super::kernels::Kernel;

const HEAD: &str = "# Kernels\n\n\
    <!-- Generated: `cargo xtask test vm --bless` -->\n\n\
    The kernel tests run on these kernels of Debian's, and on the kernel of whoever runs them (`cargo xtask test vm`). One object\n\
    file serves them all: it is told at start where each kernel keeps what it reads, and how tracepoints pass it.\n";

/// The whole page.
pub(crate) fn kernels(kernels: &[(&Kernel, Facts)]) -> String {
    let mut page = HEAD.to_owned();
    let mut rows = vec![row([
        "kernel",
        "release",
        "package",
        "cgroups in the tests",
    ])];
    rows.push(rule(4));
    for (kernel, facts) in kernels {
        let text = |key: &str| facts.get(key).and_then(Value::as_str).unwrap_or_default();
        rows.push(row([
            kernel.name,
            text("release"),
            text("package"),
            kernel.cgroups.name(),
        ]));
    }
    page.push_str(&section("", &rows));
    page.push_str(&compared(
        "Programs: instructions the verifier walked (from 5.16 on), bytes as translated, bytes of machine code",
        "program",
        "programs",
        kernels,
        costs,
    ));
    page.push_str(&compared(
        "Arguments of tracepoints",
        "tracepoint",
        "tracepoints",
        kernels,
        arguments,
    ));
    page.push_str(&compared(
        "Offsets of fields",
        "field",
        "fields",
        kernels,
        |value| {
            value
                .as_u64()
                .map_or("–".to_owned(), |offset| offset.to_string())
        },
    ));
    page
}

/// A table with a row for each thing of a kind and a column for each kernel.
fn compared(
    title: &str,
    first: &str,
    kind: &str,
    kernels: &[(&Kernel, Facts)],
    cell: impl Fn(&Value) -> String,
) -> String {
    let of = |facts: &'_ Facts| {
        facts
            .get(kind)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let mut names: Vec<String> = Vec::new();
    for (_, facts) in kernels {
        for name in of(facts).keys() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    let head = [first]
        .into_iter()
        .chain(kernels.iter().map(|(kernel, _)| kernel.name));
    let mut rows = vec![row(head), rule(kernels.len() + 1)];
    for name in names {
        let cells = kernels.iter().map(|(_, facts)| {
            let facts = of(facts);
            facts.get(&name).map_or("–".to_owned(), &cell)
        });
        rows.push(row([format!("`{name}`")].into_iter().chain(cells)));
    }
    section(&format!("## {title}\n\n"), &rows)
}

fn costs(value: &Value) -> String {
    let of = |cost: &str| match value.get(cost).and_then(Value::as_u64) {
        None | Some(0) => "–".to_owned(),
        Some(number) => number.to_string(),
    };
    let [verified, translated, machine] = [
        "verified_instructions",
        "translated_bytes",
        "machine_code_bytes",
    ]
    .map(of);
    format!("{verified} / {translated} / {machine}")
}

fn arguments(value: &Value) -> String {
    let Some(arguments) = value.as_array() else {
        return "–".to_owned();
    };
    let arguments: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    arguments.join(", ")
}

fn section(title: &str, rows: &[String]) -> String {
    format!("\n{title}{}\n", rows.join("\n"))
}

fn row<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> String {
    let cells = cells
        .into_iter()
        .map(|cell| format!(" {} |", cell.as_ref()));
    format!("|{}", cells.collect::<String>())
}

fn rule(columns: usize) -> String {
    format!("|{}", "---|".repeat(columns))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kernels::KERNELS;
    use super::*;

    #[test]
    fn kernels_stand_side_by_side() {
        let facts = |offset: Value| {
            let facts = json!({
                "release": "6.1.0-1", "package": "6.1.2-1",
                "fields": { "SOCK_NUM": offset },
                "tracepoints": { "one": ["pointer", "value"] },
                "programs": { "one": { "verified_instructions": 0, "translated_bytes": 80, "machine_code_bytes": 40 } },
            });
            facts.as_object().unwrap().clone()
        };
        let page = kernels(&[
            (&KERNELS[0], facts(json!(14))),
            (&KERNELS[1], facts(Value::Null)),
        ]);
        for line in [
            "| 5.10 | 6.1.0-1 | 6.1.2-1 | hybrid |",
            "| program | 5.10 | 6.1 |",
            "| `one` | – / 80 / 40 | – / 80 / 40 |",
            "| `one` | pointer, value | pointer, value |",
            "| `SOCK_NUM` | 14 | – |",
        ] {
            assert!(
                page.lines().any(|known| known == line),
                "{line} is not in\n{page}"
            );
        }
    }
}
