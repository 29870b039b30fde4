//! What points of metrics tell: deltas, exponential histograms, exemplars, and ends.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Agent, Format, Need, OtlpPoint, Page, Programs, Receiver, attribute, eventually, judged, ready,
    request, text, until,
};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

/// What arrived of a program's points, and of none else's: a busy machine has many.
#[derive(Default)]
struct Arrived {
    /// How far the receiver's record was read.
    place: u64,
    points: Vec<OtlpPoint>,
}

impl Arrived {
    /// The points of a metric by now, oldest first.
    fn of(&mut self, receiver: &Receiver, metric: &str, program: &str) -> Vec<OtlpPoint> {
        for request in receiver.requests_after(&mut self.place) {
            let points = request["points"].as_array().into_iter().flatten();
            let ours =
                points.filter(|point| attribute(point, "process.executable.name") == program);
            self.points.extend(ours.cloned());
        }
        let points = self
            .points
            .iter()
            .filter(|point| text(point, "name") == metric);
        points.cloned().collect()
    }
}

fn sum(points: &[OtlpPoint], key: &str) -> u64 {
    points.iter().filter_map(|point| point[key].as_u64()).sum()
}

#[test]
fn deltas_add_up_across_an_outage() {
    if !ready(&[Need::Python]) {
        return;
    }
    let mut receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "grpc")
        .env("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta")
        .start();
    let program = Programs::new().link("/bin/true", "true");
    let name = program.name.as_str();
    let mut arrived = Arrived::default();
    let totals = |arrived: &mut Arrived, receiver: &Receiver| {
        (
            sum(
                &arrived.of(receiver, "wellhead.process.execs", name),
                "value",
            ),
            sum(
                &arrived.of(receiver, "wellhead.process.duration", name),
                "count",
            ),
        )
    };
    let failures = |page: &Page| {
        let labels = [("wellhead_signal", "metrics")];
        page.sum("wellhead_agent_export_failures_total", &labels)
    };
    program.run_times(5, &[]);
    eventually("the first five", &(5, 5), || {
        totals(&mut arrived, &receiver)
    });

    // Nothing of ours is under way, so nothing of it can arrive without the agent's knowing.
    receiver.kill();
    program.run_times(6, &[]);
    until("failures", || {
        (failures(&agent.metrics()) > 1).then_some(())
    });
    program.run_times(7, &[]);
    receiver.start_again();
    program.run_times(2, &[]);
    eventually("all twenty", &(20, 20), || totals(&mut arrived, &receiver));

    let page = agent.metrics();
    let labels = [("process_executable_name", name)];
    assert_eq!(page.sum("wellhead_process_execs_total", &labels), 20);
    for metric in ["wellhead.process.execs", "wellhead.process.duration"] {
        let mut end = 0;
        for point in arrived.of(&receiver, metric, name) {
            assert_eq!(point["temporality"], "delta", "{point}");
            let time = |key: &str| point[key].as_u64().expect("a time");
            let (start, until) = (time("start_time_unix_nano"), time("time_unix_nano"));
            assert!(end <= start && start < until, "after {end}: {point}");
            end = until;
        }
    }
    let points = receiver.points();
    let active = points
        .iter()
        .filter(|point| text(point, "name") == "wellhead.tcp.connections.active");
    active.for_each(|point| assert_eq!(point["temporality"], "cumulative"));
    // The last delta leaves when the agent stops.
    program.run_times(3, &[]);
    let stopped = agent.stop(Signal::TERM, Duration::from_secs(10));
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);
    assert_eq!(totals(&mut arrived, &receiver), (23, 23));
}

#[test]
fn exemplars_point_to_spans_that_were_exported() {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_spans_to(&receiver, "http/protobuf")
        .set(
            "otlp.metrics.histogram_aggregation",
            "base2_exponential_bucket_histogram",
        )
        .start();
    let program = Programs::new().link("/bin/true", "true");
    let name = program.name.as_str();
    let mut arrived = Arrived::default();
    program.run_times(9, &[]);
    let exemplars = until("exemplars", || {
        let points = arrived.of(&receiver, "wellhead.process.duration", name);
        let last = points.last().filter(|point| point["count"] == 9)?;
        assert_eq!(last["type"], "exponential_histogram", "{last}");
        assert_eq!(last["zero_count"], 0);
        let buckets = last["buckets"].as_array().expect("a list");
        let counts: u64 = buckets.iter().filter_map(Value::as_u64).sum();
        assert!(counts == 9 && buckets.len() <= 160, "{last}");
        let exemplars = points.iter().flat_map(|point| {
            let exemplars = point["exemplars"].as_array().cloned();
            exemplars.unwrap_or_default()
        });
        Some(exemplars.collect::<Vec<_>>()).filter(|all| !all.is_empty())
    });
    let spans: BTreeMap<String, Value> = until("spans", || {
        let spans = receiver.spans();
        let ours = spans.into_iter().filter(|span| text(span, "name") == name);
        let ours: BTreeMap<_, _> = ours
            .map(|span| (text(&span, "span_id").to_owned(), span))
            .collect();
        (ours.len() == 9).then_some(ours)
    });
    for exemplar in &exemplars {
        let span = &spans[text(exemplar, "span_id")];
        assert_eq!(span["trace_id"], exemplar["trace_id"]);
        assert_eq!(span["end_time_unix_nano"], exemplar["time_unix_nano"]);
    }

    // The page has explicit buckets all the same, and the text format has no place for exemplars.
    let page = request(agent.address, "GET", "/metrics", &[("accept", OPENMETRICS)]).text();
    judged(Format::OpenMetrics, &page);
    let buckets: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("wellhead_process_duration_seconds_bucket"))
        .filter(|line| line.contains(name))
        .collect();
    assert_eq!(buckets.len(), 8, "{buckets:?}");
    let shown: Vec<_> = buckets
        .iter()
        .filter_map(|line| line.split_once("span_id=\""))
        .map(|(_, rest)| &rest[..16])
        .collect();
    assert!(!shown.is_empty() && shown.iter().all(|id| spans.contains_key(*id)));
    let page = agent.get("/metrics").text();
    assert!(!page.contains("span_id"));
}

#[test]
fn an_end_is_told_once() {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "grpc")
        .set("series_idle_timeout", "1s")
        .start();
    let program = Programs::new().link("/bin/true", "true");
    let name = program.name.as_str();
    let marks = |points: &[OtlpPoint]| {
        let marked = points.iter().filter(|point| point["flags"] == 1);
        marked.count()
    };
    let mut arrived = Arrived::default();
    program.run_times(2, &[]);
    let points = until("an end", || {
        let points = arrived.of(&receiver, "wellhead.process.execs", name);
        (marks(&points) > 0).then_some(points)
    });
    let (last, before) = points.split_last().expect("a point");
    assert_eq!(
        (&last["flags"], &last["value"]),
        (&Value::from(1), &Value::Null)
    );
    // The first of two executions may be told before the second.
    assert_eq!(before.last().expect("what it came to")["value"], 2);
    let labels = [("process_executable_name", name)];
    let page = agent.metrics();
    let left = page.select("wellhead_process_execs_total", &labels);
    assert_eq!(left.count(), 0);

    // It comes back as another one, which ends as well.
    program.run_times(1, &[]);
    let points = until("another end", || {
        let points = arrived.of(&receiver, "wellhead.process.execs", name);
        (marks(&points) == 2).then_some(points)
    });
    let starts: Vec<_> = points
        .iter()
        .filter(|point| point["flags"] == 1)
        .map(|point| point["start_time_unix_nano"].as_u64())
        .collect();
    assert!(starts[0] < starts[1], "{starts:?}");
}
