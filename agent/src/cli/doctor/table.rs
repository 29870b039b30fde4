//! What `wellhead doctor` shows to people.

use std::fmt::Write as _;

use super::Report;
use crate::kernel::{Ability, FeatureReport};

/// Lines of columns.
#[derive(Default)]
struct Table(String);

impl Table {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn row(&mut self, name: &str, value: &str) {
        self.line(&format!("{name:<26} {value}"));
    }
}

pub(super) fn render(report: &Report) -> String {
    let mut table = Table::default();
    for fact in &report.environment.facts {
        let value = fact.value();
        match fact.hint() {
            None => table.row(fact.name(), value),
            Some(hint) => table.row(fact.name(), &format!("{value} ({hint})")),
        }
    }
    table.row("kubernetes", &report.kubernetes);
    for (signal, state) in &report.receivers {
        table.row(&format!("otlp {signal}"), state);
    }
    for files in &report.files {
        table.row(&files.key, super::state(files));
    }
    if let Some(problem) = &report.problem {
        table.row("problem", problem);
    }
    features(&mut table, &report.features);
    abilities(&mut table, &report.abilities);
    table.0
}

fn features(table: &mut Table, features: &[FeatureReport]) {
    table.line("");
    table.line(&format!(
        "{:<18}{:<9}{:<16}WHY",
        "FEATURE", "STATE", "MECHANISM"
    ));
    for report in features {
        let FeatureReport {
            feature,
            state,
            mechanism,
            ..
        } = report;
        table.line(&format!(
            "{feature:<18}{state:<9}{mechanism:<16}{}",
            report.why()
        ));
        let mut needs = report.capabilities.join(", ");
        // Writing to a string cannot fail.
        let _infallible = match &report.missing_capabilities {
            None => write!(needs, "; unknown whether they are there"),
            Some(missing) if missing.is_empty() => Ok(()),
            Some(missing) => write!(needs, "; missing {}", missing.join(", ")),
        };
        table.row("  needs", &needs);
        for program in &report.programs {
            let state = program.problem.as_deref().unwrap_or("attached");
            table.line(&format!("  {:<28}{state}", program.program));
        }
    }
}

fn abilities(table: &mut Table, abilities: &[Ability]) {
    table.line("");
    table.line(&format!("{:<27}{:<9}NEEDS", "OPTIONAL", "STATE"));
    for each in abilities {
        let Ability {
            ability,
            state,
            purpose,
            capabilities,
            ..
        } = each;
        let needs = capabilities.join(", ");
        table.line(&format!("{ability:<27}{state:<9}{needs}: {purpose}"));
    }
}
