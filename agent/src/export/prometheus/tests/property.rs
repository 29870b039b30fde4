//! Both formats say the same for any input, and no label value breaks out of its quotes.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::parser::{Page, parse};
use super::{Format, encode, point, resource, snapshot};
use crate::identity::Value;
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::snapshot::{HistogramValue, PointValue, Snapshot};

/// Label values as hostile as they come.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\"\\\\\n\r\0{},= a]{0,12}",
        Just("\\n\"} 1\n# EOF\nfake{a=\"".to_owned()),
        Just("x\\".repeat(5_000)),
        proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

fn any_snapshot() -> impl Strategy<Value = Arc<Snapshot>> {
    let value = (
        any::<u32>(),
        proptest::collection::vec(any::<u16>(), 8),
        0.0..1e9,
    );
    let points = proptest::collection::vec((0..3_usize, hostile(), value), 1..12);
    (hostile(), hostile(), points).prop_map(|(target, label, points)| {
        let resources = vec![
            resource(&[("host.name", &target)], &[]),
            resource(&[], &[("k8s_pod_name", &label)]),
            resource(&[("container.id", "2")], &[("k8s_pod_name", &label)]),
        ];
        let mut families = vec![
            (Metric::ProcessExecs, Vec::new()),
            (Metric::ProcessDuration, Vec::new()),
            (Metric::AgentProgramRunTime, Vec::new()),
        ];
        let mut seen = HashSet::new();
        for (resource, name, (count, counts, sum)) in points {
            if !seen.insert((resource, name.clone())) {
                continue;
            }
            let attributes = [(Attr::ProcessExecutableName, Value::Str(Arc::from(name)))];
            let histogram = HistogramValue {
                bounds: Metric::ProcessDuration.bounds(),
                counts: counts.into_iter().map(u64::from).collect(),
                sum,
                ..HistogramValue::new(&[])
            };
            families[0]
                .1
                .push(point(resource, &attributes, PointValue::Int(count.into())));
            families[1]
                .1
                .push(point(resource, &attributes, histogram.into()));
            families[2]
                .1
                .push(point(resource, &attributes, PointValue::Float(sum)));
        }
        snapshot(resources, families)
    })
}

/// Integral bounds read `1.0` in OpenMetrics and `1` in text.
fn with_plain_bounds(page: Page) -> Page {
    let samples = page.samples.into_iter().map(|((name, mut labels), value)| {
        for (label, bound) in &mut labels {
            if label == "le" {
                assert!(
                    bound.contains('.') || bound == "+Inf",
                    "{bound} is not canonical"
                );
                *bound = bound.trim_end_matches(".0").to_owned();
            }
        }
        ((name, labels), value)
    });
    Page {
        samples: samples.collect(),
    }
}

/// Sum over all samples of one name.
fn total(page: &Page, name: &str) -> f64 {
    page.samples
        .iter()
        .filter(|((sample, _), _)| sample == name)
        .map(|(_, value)| value)
        .sum()
}

const EXECS: &str = "wellhead_process_execs_total";

/// Names of programs as the page shows them.
fn shown_names(page: &Page) -> BTreeSet<String> {
    let execs = page.samples.keys().filter(|(name, _)| name == EXECS);
    let names = execs.map(|(_, labels)| {
        let name = labels
            .iter()
            .find(|(label, _)| label == "process_executable_name");
        name.map(|(_, value)| value.clone()).unwrap_or_default()
    });
    names.collect()
}

/// Names of programs as they were counted.
fn counted_names(snapshot: &Snapshot) -> BTreeSet<String> {
    let points = snapshot.families[0].points.iter();
    let names = points.map(|point| {
        point.attributes[0]
            .1
            .as_str()
            .unwrap()
            .replace('\0', "\u{fffd}")
    });
    names.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn both_formats_say_the_same_and_no_value_breaks_out(snapshot in any_snapshot()) {
        let openmetrics = encode(Format::OpenMetrics, &snapshot);
        let body = openmetrics.strip_suffix("# EOF\n").unwrap();
        prop_assert!(!body.contains("\n# EOF"));
        let openmetrics = with_plain_bounds(parse(body));
        let text = parse(&encode(Format::Text, &snapshot));
        prop_assert_eq!(&openmetrics, &text);

        let execs = snapshot.families[0].points.iter().map(|point| match point.value {
            PointValue::Int(value) => value,
            PointValue::Float(_) | PointValue::Histogram(_) => 0,
        });
        #[expect(clippy::cast_precision_loss, reason = "a dozen 32-bit numbers")]
        let execs = execs.sum::<i64>() as f64;
        prop_assert!((total(&text, EXECS) - execs).abs() < 0.5);
        prop_assert_eq!(shown_names(&text), counted_names(&snapshot));
    }
}
