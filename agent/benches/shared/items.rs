//! What a benchmark measures, told to whoever runs it: one JSON object a line, of which `cargo xtask bench` makes its report.

use serde_json::{Value, json};

/// A table.
pub(crate) fn table(title: &str, note: &str, columns: &[&str], rows: &[Vec<Value>]) {
    println!(
        "{}",
        json!({ "table": { "title": title, "note": note, "columns": columns, "rows": rows } })
    );
}

/// A number that others are computed from.
pub(crate) fn fact(name: &str, value: f64, unit: &str) {
    println!(
        "{}",
        json!({ "fact": { "name": name, "value": value, "unit": unit } })
    );
}

/// What is to be reached, and whether it was.
pub(crate) fn goal(name: &str, limit: &str, value: &str, met: bool) {
    println!(
        "{}",
        json!({ "goal": { "name": name, "limit": limit, "value": value, "met": met } })
    );
}

/// One line of a plot: its name, and its points.
pub(crate) type Line = (String, Vec<[f64; 2]>);

/// A plot over a logarithmic axis. Its file has this name.
pub(crate) fn plot(name: &str, title: &str, across: &str, up: &str, lines: &[Line]) {
    let series = lines
        .iter()
        .map(|(name, points)| json!({ "name": name, "points": points }));
    println!(
        "{}",
        json!({ "plot": {
            "name": name,
            "title": title,
            "x": { "label": across, "log": true },
            "y": { "label": up, "zero": true },
            "series": series.collect::<Vec<_>>(),
        } })
    );
}
