//! To a person at a terminal: a short table of what the node does, for a first look without any backend.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::identity::{Resource, UNKNOWN_SERVICE, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::handle::SnapshotHandle;
use crate::telemetry::snapshot::{Family, PointValue, Snapshot};

/// Workloads shown.
const ROWS: usize = 10;

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
    let total = |metric| sum(now, metric, |_| true) - sum(before, metric, |_| true);
    let lost =
        sum(now, Metric::AgentDiscards, is_lost) - sum(before, Metric::AgentDiscards, is_lost);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _infallible = writeln!(
        text,
        "\nlast {seconds:.0} s: {:.1} execs/s, {:.1} connections/s, {} failed, {lost} records lost",
        rate(total(Metric::ProcessExecs), seconds),
        rate(total(Metric::TcpConnectionsOpened), seconds),
        total(Metric::TcpConnectionFailures),
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
        let _infallible = writeln!(
            text,
            "{name:<44.44} {:>10} {:>10} {opened:>8} {failed:>8} {execs:>8}",
            bytes(sent),
            bytes(received),
        );
    }
    text
}

fn difference(before: &Snapshot, now: &Snapshot) -> HashMap<String, Activity> {
    let mut activities = HashMap::new();
    for (snapshot, sign) in [(before, -1), (now, 1)] {
        for family in &snapshot.families {
            add_family(&mut activities, snapshot, family, sign);
        }
    }
    activities
}

fn add_family(
    activities: &mut HashMap<String, Activity>,
    snapshot: &Snapshot,
    family: &Family,
    sign: i64,
) {
    for point in &family.points {
        let (PointValue::Int(value), Some(resource)) =
            (&point.value, snapshot.resources.get(point.resource))
        else {
            continue;
        };
        let transmit = (Attr::NetworkIoDirection, Value::Static("transmit"));
        let field: fn(&mut Activity) -> &mut i64 = match family.metric {
            Metric::TcpIo if point.attributes.contains(&transmit) => |activity| &mut activity.sent,
            Metric::TcpIo => |activity| &mut activity.received,
            Metric::TcpConnectionsOpened => |activity| &mut activity.opened,
            Metric::TcpConnectionFailures => |activity| &mut activity.failed,
            Metric::ProcessExecs => |activity| &mut activity.execs,
            _ => return,
        };
        *field(activities.entry(name(resource)).or_default()) += sign * value;
    }
}

/// `namespace/service` in Kubernetes, else the service.
fn name(resource: &Resource) -> String {
    let text = |key: &str| {
        let found = resource.attributes.iter().find(|(name, _)| &**name == key);
        found.and_then(|(_, value)| value.as_str())
    };
    let named = text("service.name").filter(|name| *name != UNKNOWN_SERVICE);
    let service = named.or_else(|| text("container.id")).unwrap_or("host");
    match text("k8s.namespace.name") {
        Some(namespace) => format!("{namespace}/{service}"),
        None => service.to_owned(),
    }
}

fn sum(snapshot: &Snapshot, metric: Metric, counts: impl Fn(&[(Attr, Value)]) -> bool) -> i64 {
    let families = snapshot
        .families
        .iter()
        .filter(|family| family.metric == metric);
    let points = families
        .flat_map(|family| &family.points)
        .filter(|point| counts(&point.attributes));
    points
        .map(|point| {
            if let PointValue::Int(value) = point.value {
                value
            } else {
                0
            }
        })
        .sum()
}

fn is_lost(attributes: &[(Attr, Value)]) -> bool {
    attributes.contains(&(Attr::Stage, Value::Static("ring")))
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
    use crate::telemetry::snapshot::Point;

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
    fn a_quiet_node_is_one_line() {
        let same = reading(10, 1, 1);
        assert_eq!(table(&same, &reading(12, 1, 1)).trim().lines().count(), 1);
    }
}
