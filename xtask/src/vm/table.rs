//! The results of all kernels, side by side.

use std::time::Duration;

use super::matrix::Column;
use super::report::{Outcome, Test};

const SKIPPED_RUNS: &str = "skipped runs";

/// A row for each test, a column for each kernel, and below it what a sign cannot say.
pub(crate) fn lines(columns: &[Column]) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for test in columns.iter().flat_map(|column| &column.tests) {
        if !names.contains(&test.name.as_str()) {
            names.push(&test.name);
        }
    }
    let first = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let first = first.max(SKIPPED_RUNS.len());
    let row = |name: &str, cells: Vec<String>| {
        let cells = cells.iter().zip(columns).map(|(cell, column)| {
            let width = column.title.chars().count().max(7);
            format!("  {cell:>width$}")
        });
        format!("{name:<first$}{}", cells.collect::<String>())
    };
    let each = |cell: &dyn Fn(&Column) -> String| columns.iter().map(cell).collect::<Vec<_>>();
    let mut lines = vec![row("", each(&|column| column.title.clone()))];
    for name in &names {
        lines.push(row(name, each(&|column| sign(of(column, name)).to_owned())));
    }
    lines.push(row("total", each(&|column| seconds(column.took))));
    lines.push(row(
        "retries",
        each(&|column| sum(column, |test| test.retries)),
    ));
    lines.push(row(
        SKIPPED_RUNS,
        each(&|column| sum(column, |test| test.skipped_runs)),
    ));
    for column in columns {
        lines.push(format!("{}: {}", column.title, column.note));
        for test in &column.tests {
            lines.extend(took(test));
            match &test.outcome {
                Outcome::Passed => {}
                Outcome::Failed(reason) => lines.push(format!("  ✗ {}: {reason}", test.name)),
                Outcome::Skipped(reason) => lines.push(format!("  – {}: {reason}", test.name)),
            }
        }
        if let Some(trouble) = &column.trouble {
            lines.push(format!("  ✗ {trouble}"));
        }
    }
    lines
}

fn sum(column: &Column, number: impl Fn(&Test) -> u64) -> String {
    column.tests.iter().map(number).sum::<u64>().to_string()
}

/// A line about a test that did not pass at once, or missed something on its way.
fn took(test: &Test) -> Option<String> {
    let Test {
        name,
        retries,
        skipped_runs,
        ..
    } = test;
    (*retries > 0 || *skipped_runs > 0)
        .then(|| format!("  ! {name}: retries {retries}, skipped runs {skipped_runs}"))
}

fn of<'a>(column: &'a Column, name: &str) -> Option<&'a Test> {
    column.tests.iter().find(|test| test.name == name)
}

fn sign(test: Option<&Test>) -> &'static str {
    match test.map(|test| &test.outcome) {
        Some(Outcome::Passed) => "✓",
        Some(Outcome::Failed(_)) => "✗",
        Some(Outcome::Skipped(_)) => "–",
        None => "not run",
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(title: &str, tests: &[(&str, Outcome)], trouble: Option<&str>) -> Column {
        let mut column = Column::new(title, format!("about {title}"));
        for (name, outcome) in tests {
            column.tests.push(Test {
                name: (*name).to_owned(),
                outcome: outcome.clone(),
                milliseconds: 5,
                retries: 0,
                skipped_runs: 0,
            });
        }
        column.took = Duration::from_millis(12_400);
        column.trouble = trouble.map(str::to_owned);
        column
    }

    #[test]
    fn every_test_has_a_row_and_every_kernel_a_column() {
        let skipped = Outcome::Skipped("no such thing".to_owned());
        let failed = Outcome::Failed("1 is not 2".to_owned());
        let mut columns = [
            column("host", &[("one", Outcome::Passed), ("other", failed)], None),
            column("5.10", &[("one", skipped)], Some("the guest crashed")),
        ];
        columns[0].tests[0].retries = 1;
        columns[0].tests[0].skipped_runs = 20;
        columns[0].tests[1].skipped_runs = 3;
        let expected = "                 host     5.10\n\
                        one                 ✓        –\n\
                        other               ✗  not run\n\
                        total            12 s     12 s\n\
                        retries             1        0\n\
                        skipped runs       23        0\n\
                        host: about host\n\
                        \u{20} ! one: retries 1, skipped runs 20\n\
                        \u{20} ! other: retries 0, skipped runs 3\n\
                        \u{20} ✗ other: 1 is not 2\n\
                        5.10: about 5.10\n\
                        \u{20} – one: no such thing\n\
                        \u{20} ✗ the guest crashed";
        assert_eq!(lines(&columns).join("\n"), expected);
    }
}
