//! The reference of metrics, `docs/metrics.md`, written from the catalogue. It lives here, where both
//! names of a metric are known.

use std::fmt::Write as _;
use std::iter;

use super::names::FamilyName;
use super::standard::{self, BuildInfo};
use crate::counters::{Discard, ExportFailure, RecordKind};
use crate::telemetry::catalogue::{Attr, FLOW, Instrument, Invariant, Metric};

const INTRODUCTION: &str = "\
# Metrics

<!-- Generated from the code by `cargo xtask docs`; do not edit. -->

Each metric has two names: the OpenTelemetry one, under which it leaves over OTLP, and the Prometheus one on `/metrics`.
Whom a point belongs to is said by its OTLP Resource, one per container, and on `/metrics` by the labels
`k8s_namespace_name`, `k8s_pod_name`, `k8s_container_name`, `k8s_workload_name`, `k8s_workload_kind` and `service_name`
(`container_id` only where there is no pod). What describes the agent itself is in `target_info`. Containers of one
name that follow each other in a pod share their labels: `/metrics` shows the newest of them, so that a restart looks like
the reset of a counter it is. Other resources with the same labels are summed.

Sums are cumulative, over OTLP unless `otlp.metrics.temporality` says otherwise. A series starts with its first measurement
and ends when nothing was measured for `series_idle_timeout`, whether its container is gone or not; if it comes back, it starts anew
with a new start time. How ends, deltas, exponential histograms and exemplars are told:
[operations.md](operations.md#how-metrics-are-told).

In the tables, **F** stands for the flow attributes: both ends of a connection, as far as they are known. *Source* is the
end that opened it.
";

const CONVENTIONS: &str = "
## Semantic conventions

Where names and values depart from OpenTelemetry's conventions on purpose is listed in
[semantic-conventions.md](semantic-conventions.md).
";

/// Tables of metrics, and how the names in each begin.
const GROUPS: [(&str, &str); 9] = [
    ("TCP", "wellhead.tcp."),
    ("UDP", "wellhead.udp."),
    ("DNS", "dns."),
    ("Dropped packets", "wellhead.packet."),
    ("Processes", "wellhead.process."),
    ("What processes use", "process."),
    ("Containers", "wellhead.container."),
    ("The agent itself", "wellhead.agent."),
    ("The resolver", "wellhead.resolver."),
];

/// The text of `docs/metrics.md`.
pub fn metrics_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (title, prefix) in GROUPS {
        let metrics = Metric::ALL
            .iter()
            .filter(|metric| metric.name().starts_with(prefix));
        section(
            &mut page,
            title,
            "Name | Prometheus | Instrument | Unit | Attributes | Meaning",
            metrics.copied().map(metric_row),
        );
    }
    let standard = standard::read(BuildInfo {
        version: "",
        revision: "",
    });
    let target = "`target_info` | Resource of the agent itself.".to_owned();
    let rows = standard
        .iter()
        .map(|family| format!("`{}` | {}", family.name().sample(), family.help()));
    section(
        &mut page,
        "On `/metrics` only",
        "Name | Meaning",
        iter::once(target).chain(rows),
    );

    let histograms = Metric::ALL
        .iter()
        .filter(|metric| metric.instrument() == Instrument::Histogram);
    let rows = histograms.map(|metric| {
        let bounds: Vec<_> = metric.bounds().iter().map(f64::to_string).collect();
        format!("`{}` | {}", metric.name(), bounds.join(", "))
    });
    section(
        &mut page,
        "Buckets",
        "Histogram | Upper bounds in seconds",
        rows,
    );
    lists(&mut page);
    page.push_str(CONVENTIONS);
    page
}

fn lists(page: &mut String) {
    let rows = Attr::ALL.iter().map(|attribute| {
        let flow = if FLOW.contains(attribute) { "F" } else { "" };
        let help = attribute.help().trim();
        format!(
            "`{}` | `{}` | {flow} | {help}",
            attribute.key(),
            attribute.label()
        )
    });
    section(
        page,
        "Attributes",
        "Attribute | Prometheus label | | Meaning",
        rows,
    );

    let rows = Discard::ALL.iter().map(|why| {
        format!(
            "`{}` | `{}` | {}",
            why.stage().as_str(),
            why.reason(),
            why.help().trim()
        )
    });
    let heading = "`wellhead.stage` | `wellhead.reason` | Meaning";
    section(page, "Discards", heading, rows);

    let rows = Invariant::ALL
        .iter()
        .map(|invariant| format!("`{}` | {}", invariant.as_str(), invariant.help().trim()));
    section(
        page,
        "Checks of itself",
        "`wellhead.invariant` | Compares",
        rows,
    );

    let rows = ExportFailure::ALL
        .iter()
        .map(|why| format!("`{}` | {}", why.as_str(), why.help().trim()));
    section(page, "Export failures", "`error.type` | Meaning", rows);

    let rows = RecordKind::ALL
        .iter()
        .map(|kind| format!("`{}`", kind.as_str()));
    section(page, "Record kinds", "`wellhead.record.kind`", rows);
}

fn metric_row(metric: Metric) -> String {
    let definition = metric.definition();
    let flow = definition.flow.then(|| "**F**".to_owned());
    let own = definition
        .own_attributes
        .iter()
        .map(|attribute| format!("`{}`", attribute.key()));
    let attributes: Vec<_> = flow.into_iter().chain(own).collect();
    format!(
        "`{}` | `{}` | {} | `{}` | {} | {}",
        definition.name,
        FamilyName::of(metric).sample(),
        definition.instrument.as_str(),
        definition.unit,
        attributes.join(", "),
        definition.description,
    )
}

/// A heading and a table; `heading` and the rows are cells joined by `|`.
fn section(page: &mut String, title: &str, heading: &str, rows: impl Iterator<Item = String>) {
    let columns = "---|".repeat(heading.split('|').count());
    // Writing to a String cannot fail.
    _ = write!(page, "\n## {title}\n\n| {heading} |\n|{columns}\n");
    for row in rows {
        _ = writeln!(page, "| {row} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_one_table() {
        for metric in Metric::ALL {
            let tables = GROUPS
                .iter()
                .filter(|(_, prefix)| metric.name().starts_with(prefix));
            assert_eq!(tables.count(), 1, "{}", metric.name());
        }
    }
}
