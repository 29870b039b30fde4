//! To a person at a terminal: a short table of what the node does, for a first look without any backend.

mod events;
mod human;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use self::events::EventLines;
use crate::identity::{Resource, UNKNOWN_SERVICE, Value};
use crate::printable::escaped;
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::handle::SnapshotHandle;
use crate::telemetry::snapshot::{PointValue, Snapshot};

/// Workloads shown.
const ROWS: usize = 10;

/// Row of the overflow series: what could not be kept apart any more.
const OVERFLOW: &str = "(beyond series_limit)";

/// Prints a table every `interval` until `stop`.
pub async fn run(snapshots: SnapshotHandle, interval: Duration, stop: CancellationToken) {
    let mut before: Option<Arc<Snapshot>> = None;
    let mut ticks = tokio::time::interval(interval);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Some(now) = snapshots.take().await else {
            return;
        };
        if let Some(before) = &before {
            let text = table(before, &now);
            let written = io::stdout().lock().write_all(text.as_bytes());
            if written.is_err() {
                // Whoever looked has closed the terminal.
                return;
            }
        }
        before = Some(now);
    }
}

/// What a workload did between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Activity {
    sent: i64,
    received: i64,
    opened: i64,
    failed: i64,
    execs: i64,
}

impl Activity {
    fn busyness(&self) -> i64 {
        (self.sent + self.received) / 1_000 + self.opened + self.failed + self.execs
    }

    /// Where a metric is shown, if it is.
    fn field(&mut self, metric: Metric, attributes: &[(Attr, Value)]) -> Option<&mut i64> {
        let transmit = (Attr::NetworkIoDirection, Value::Static("transmit"));
        match metric {
            // It does not tell the direction.
            Metric::TcpIo if is_overflow(attributes) => None,
            Metric::TcpIo if attributes.contains(&transmit) => Some(&mut self.sent),
            Metric::TcpIo => Some(&mut self.received),
            Metric::TcpConnectionsOpened => Some(&mut self.opened),
            Metric::TcpConnectionFailures => Some(&mut self.failed),
            Metric::ProcessExecs => Some(&mut self.execs),
            _ => None,
        }
    }
}

fn table(before: &Snapshot, now: &Snapshot) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds between two readings")]
    let seconds =
        (now.time_unix_nano.saturating_sub(before.time_unix_nano) as f64 / 1e9).max(0.001);
    let mut activities: Vec<(String, Activity)> = difference(before, now).into_iter().collect();
    activities.retain(|(_, activity)| *activity != Activity::default());
    activities.sort_by(|(a_name, a), (b_name, b)| {
        b.busyness()
            .cmp(&a.busyness())
            .then_with(|| a_name.cmp(b_name))
    });
    let total =
        |field: fn(&Activity) -> i64| -> i64 { activities.iter().map(|(_, row)| field(row)).sum() };
    let lost = lost(now) - lost(before);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _infallible = writeln!(
        text,
        "\nlast {seconds:.0} s: {:.1} execs/s, {:.1} connections/s, {} failed, {lost} records lost",
        rate(total(|row| row.execs), seconds),
        rate(total(|row| row.opened), seconds),
        total(|row| row.failed),
    );
    if activities.is_empty() {
        return text;
    }
    let _infallible = writeln!(
        text,
        "{:<44} {:>10} {:>10} {:>8} {:>8} {:>8}",
        "WORKLOAD", "SENT", "RECEIVED", "OPENED", "FAILED", "EXECS"
    );
    for (name, activity) in activities.iter().take(ROWS) {
        let Activity {
            sent,
            received,
            opened,
            failed,
            execs,
        } = *activity;
        let bytes = |count| match name.as_str() {
            OVERFLOW => "-".to_owned(),
            _ => bytes(count),
        };
        let name = escaped(name);
        let _infallible = writeln!(
            text,
            "{name:<44.44} {:>10} {:>10} {opened:>8} {failed:>8} {execs:>8}",
            bytes(sent),
            bytes(received),
        );
    }
    text
}

/// What tells a series from others in two readings: the metric, whose it is, its start and its attributes.
type Series = (Metric, String, u64, Arc<[(Attr, Value)]>);

/// How much each series has grown, by workload. One that was forgotten since takes nothing away, and one that
/// started anew counts from 0.
fn difference(before: &Snapshot, now: &Snapshot) -> HashMap<String, Activity> {
    let before = counts(before);
    let mut activities: HashMap<String, Activity> = HashMap::new();
    for (series, count) in counts(now) {
        let grown = count - before.get(&series).copied().unwrap_or(0);
        let (metric, row, _, attributes) = series;
        let activity = activities.entry(row).or_default();
        if let Some(field) = activity.field(metric, &attributes) {
            // Replicas that share a row may share the rest, and one of them may have been forgotten.
            *field += grown.max(0);
        }
    }
    activities
}

/// Where each series stands.
fn counts(snapshot: &Snapshot) -> HashMap<Series, i64> {
    let mut counts = HashMap::new();
    for family in &snapshot.families {
        for point in &family.points {
            let resource = snapshot.resources.get(point.resource);
            let (PointValue::Int(value), Some(resource)) = (&point.value, resource) else {
                continue;
            };
            let row = if is_overflow(&point.attributes) {
                OVERFLOW.to_owned()
            } else {
                name(resource)
            };
            let attributes = Arc::clone(&point.attributes);
            let series = (family.metric, row, point.start_unix_nano, attributes);
            *counts.entry(series).or_default() += value;
        }
    }
    counts
}

fn is_overflow(attributes: &[(Attr, Value)]) -> bool {
    attributes.contains(&(Attr::MetricOverflow, Value::Bool(true)))
}

/// `namespace/service` in Kubernetes, else the service.
fn name(resource: &Resource) -> String {
    let named = resource
        .text("service.name")
        .filter(|name| *name != UNKNOWN_SERVICE);
    let service = named
        .or_else(|| resource.text("container.id"))
        .unwrap_or("host");
    match resource.text("k8s.namespace.name") {
        Some(namespace) => format!("{namespace}/{service}"),
        None => service.to_owned(),
    }
}

/// Records that found their ring full. The agent's own series are never forgotten.
fn lost(snapshot: &Snapshot) -> i64 {
    let ring = (Attr::Stage, Value::Static("ring"));
    let families = snapshot.families.iter();
    let discards = families.filter(|family| family.metric == Metric::AgentDiscards);
    let points = discards.flat_map(|family| &family.points);
    let counts = points.filter_map(|point| match point.value {
        PointValue::Int(count) if point.attributes.contains(&ring) => Some(count),
        _ => None,
    });
    counts.sum()
}

#[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
fn rate(count: i64, seconds: f64) -> f64 {
    count as f64 / seconds
}

fn bytes(count: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.0} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::snapshot::{Family, Point};
    use crate::telemetry::store::SeriesId;

    fn reading(time: u64, sent: i64, execs: i64) -> Snapshot {
        let resource = |service: &str| {
            Arc::new(Resource {
                attributes: vec![
                    ("service.name".into(), Value::Str(service.into())),
                    ("k8s.namespace.name".into(), Value::Static("shop")),
                ],
                labels: Vec::new(),
            })
        };
        let point = |resource, value, attributes: &[(Attr, Value)]| Point {
            resource,
            attributes: attributes.into(),
            start_unix_nano: 0,
            value: PointValue::Int(value),
            series: SeriesId::NONE,
        };
        let transmit = [(Attr::NetworkIoDirection, Value::Static("transmit"))];
        Snapshot {
            time_unix_nano: time * 1_000_000_000,
            resources: vec![resource("wellhead"), resource("web")],
            families: vec![
                Family {
                    metric: Metric::TcpIo,
                    points: vec![point(1, sent, &transmit)],
                },
                Family {
                    metric: Metric::ProcessExecs,
                    points: vec![point(0, execs, &[])],
                },
            ],
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_table_shows_what_changed() {
        let text = table(&reading(10, 1_000, 5), &reading(15, 5_000_000, 15));
        expect_test::expect![[r"

            last 5 s: 2.0 execs/s, 0.0 connections/s, 0 failed, 0 records lost
            WORKLOAD                                           SENT   RECEIVED   OPENED   FAILED    EXECS
            shop/web                                          5 MiB        0 B        0        0        0
            shop/wellhead                                       0 B        0 B        0        0       10
        "]]
        .assert_eq(&text);
    }

    #[test]
    fn what_is_beyond_the_limit_is_nobodys() {
        let with_overflow = |time, sent, execs| {
            let mut reading = reading(time, 0, 0);
            let overflow = [(Attr::MetricOverflow, Value::Bool(true))];
            for (family, value) in reading.families.iter_mut().zip([sent, execs]) {
                family.points[0].resource = 0;
                family.points[0].attributes = overflow.as_slice().into();
                family.points[0].value = PointValue::Int(value);
            }
            reading
        };
        let text = table(&with_overflow(10, 1, 1), &with_overflow(15, 9_000, 6));
        expect_test::expect![[r"

            last 5 s: 1.0 execs/s, 0.0 connections/s, 0 failed, 0 records lost
            WORKLOAD                                           SENT   RECEIVED   OPENED   FAILED    EXECS
            (beyond series_limit)                                 -          -        0        0        5
        "]]
        .assert_eq(&text);
    }

    #[test]
    fn a_forgotten_series_takes_nothing_away() {
        let before = reading(10, 7_000_000, 100);
        let mut now = reading(15, 0, 103);
        // Idle for too long, and back: its bytes count from 0.
        now.families[0].points.clear();
        let text = table(&before, &now);
        assert!(
            text.contains("0.6 execs/s") && !text.contains("shop/web"),
            "{text}"
        );
        let mut again = reading(20, 2_048, 103);
        again.families[0].points[0].start_unix_nano = 1;
        expect_test::expect![[r"

            last 10 s: 0.3 execs/s, 0.0 connections/s, 0 failed, 0 records lost
            WORKLOAD                                           SENT   RECEIVED   OPENED   FAILED    EXECS
            shop/wellhead                                       0 B        0 B        0        0        3
            shop/web                                          2 KiB        0 B        0        0        0
        "]]
        .assert_eq(&table(&before, &again));
    }

    #[test]
    fn a_quiet_node_is_one_line() {
        let same = reading(10, 1, 1);
        assert_eq!(table(&same, &reading(12, 1, 1)).trim().lines().count(), 1);
    }
}
