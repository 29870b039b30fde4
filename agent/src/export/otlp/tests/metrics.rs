//! Readings on the wire: their shape, and that cutting them up loses nothing.

use std::sync::Arc;

use expect_test::expect;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue, any_value},
    metrics::v1::{Metric, NumberDataPoint, metric::Data, number_data_point},
};
use proptest::{collection::vec, prelude::*, sample::select};
use prost::Message as _;

use super::{
    super::{
        common::SCHEMA_URL,
        metrics::{Form, MetricRequests},
        size::MAX_REQUEST,
    },
    support,
};
use crate::{
    identity::{Resource, Value},
    telemetry::{
        catalogue::{Attr, Instrument, Metric as Catalogued},
        snapshot::{Family, HistogramValue, Point, PointValue, Snapshot},
        store::SeriesId,
    },
};

fn requests(snapshot: Snapshot, limit: usize) -> (Vec<ExportMetricsServiceRequest>, u64) {
    let mut requests = MetricRequests::new(Arc::new(snapshot), Form::default(), limit);
    let messages = requests
        .by_ref()
        .map(|request| {
            assert!(request.body.len() <= limit);
            let message = ExportMetricsServiceRequest::decode(request.body).unwrap();
            assert_eq!(request.items, flatten(&message).len() as u64);
            message
        })
        .collect();
    (messages, requests.too_large())
}

/// One line per data point, with everything that tells it from others.
fn flatten(request: &ExportMetricsServiceRequest) -> Vec<String> {
    let mut lines = Vec::new();
    for resource in &request.resource_metrics {
        assert_eq!(resource.schema_url, SCHEMA_URL);
        let who = attributes(&resource.resource.as_ref().unwrap().attributes);
        for scope in &resource.scope_metrics {
            assert_eq!(scope.schema_url, SCHEMA_URL);
            assert_eq!(scope.scope.as_ref().unwrap().name, "wellhead");
            for metric in &scope.metrics {
                let what = format!("{who} {} {}", metric.name, metric.unit);
                points(metric, &what, &mut lines);
            }
        }
    }
    lines
}

fn points(metric: &Metric, what: &str, lines: &mut Vec<String>) {
    let number = |point: &NumberDataPoint, kind: &str| {
        let value = match point.value.unwrap() {
            number_data_point::Value::AsInt(value) => format!("{value}"),
            number_data_point::Value::AsDouble(value) => format!("{value:?}"),
        };
        let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
        format!(
            "{what} {kind} {} {start}..{time} {value}",
            attributes(&point.attributes)
        )
    };
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            let kind = format!("sum/{}/{}", sum.aggregation_temporality, sum.is_monotonic);
            lines.extend(sum.data_points.iter().map(|point| number(point, &kind)));
        }
        Data::Gauge(gauge) => {
            lines.extend(gauge.data_points.iter().map(|point| number(point, "gauge")));
        }
        Data::Histogram(histogram) => lines.extend(histogram.data_points.iter().map(|point| {
            assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
            assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
            let attributes = attributes(&point.attributes);
            let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
            let temporality = histogram.aggregation_temporality;
            format!(
                "{what} histogram/{temporality} {attributes} {start}..{time} {:?} {:?} {:?}",
                point.bucket_counts,
                point.explicit_bounds,
                point.sum.unwrap()
            )
        })),
        other => panic!("{other:?}"),
    }
}

fn attributes(attributes: &[KeyValue]) -> String {
    let one = |attribute: &KeyValue| {
        let value = match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
            any_value::Value::StringValue(text) => format!("{text:?}"),
            any_value::Value::IntValue(number) => number.to_string(),
            any_value::Value::BoolValue(truth) => truth.to_string(),
            any_value::Value::ArrayValue(list) => format!("list of {}", list.values.len()),
            other => panic!("{other:?}"),
        };
        format!("{}={value}", attribute.key)
    };
    format!(
        "{{{}}}",
        attributes.iter().map(one).collect::<Vec<_>>().join(",")
    )
}

/// The lines that a reading must come to, worked out without the code under test.
fn expected(snapshot: &Snapshot) -> Vec<String> {
    let show = |value: &Value| match value {
        Value::Str(text) => format!("{text:?}"),
        Value::Static(text) => format!("{text:?}"),
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::List(list) => format!("list of {}", list.len()),
    };
    let braces = |parts: Vec<String>| format!("{{{}}}", parts.join(","));
    let mut lines = Vec::new();
    for family in &snapshot.families {
        let kind = match family.metric.instrument() {
            Instrument::Counter => "sum/2/true",
            Instrument::UpDownCounter => "sum/2/false",
            Instrument::Gauge => "gauge",
            Instrument::Histogram => "histogram/2",
        };
        for point in &family.points {
            let resource = &snapshot.resources[point.resource].attributes;
            let who = braces(
                resource
                    .iter()
                    .map(|(k, v)| format!("{k}={}", show(v)))
                    .collect(),
            );
            let of = point
                .attributes
                .iter()
                .map(|(k, v)| format!("{}={}", k.key(), show(v)));
            let of = braces(of.collect());
            let start = if kind == "gauge" {
                0
            } else {
                point.start_unix_nano
            };
            let value = match &point.value {
                PointValue::Int(value) => value.to_string(),
                PointValue::Float(value) => format!("{value:?}"),
                PointValue::Histogram(h) => format!("{:?} {:?} {:?}", h.counts, h.bounds, h.sum),
            };
            let (name, unit) = (family.metric.name(), family.metric.unit());
            let time = snapshot.time_unix_nano;
            lines.push(format!(
                "{who} {name} {unit} {kind} {of} {start}..{time} {value}"
            ));
        }
    }
    lines.sort();
    lines
}

#[test]
fn every_instrument_and_value() {
    let point = |resource, attributes: &[(Attr, Value)], value| Point {
        resource,
        attributes: attributes.into(),
        start_unix_nano: 100,
        value,
        series: SeriesId::NONE,
    };
    let resources = vec![
        Arc::new(Resource {
            attributes: vec![
                ("host.name".into(), Value::Str("n1".into())),
                (
                    "container.image.tags".into(),
                    Value::List(["a".into(), "b".into()].into()),
                ),
            ],
            labels: vec![("not", "exported".into())],
        }),
        support::resource("shop"),
    ];
    let port = (Attr::DestinationPort, Value::Int(443));
    let overflow = (Attr::MetricOverflow, Value::Bool(true));
    let histogram = HistogramValue {
        bounds: &[0.1, 1.0],
        counts: vec![1, 0, 2],
        sum: 7.5,
        ..HistogramValue::new(&[])
    };
    let families = [
        (
            Catalogued::TcpConnectionsOpened,
            point(1, &[port], PointValue::Int(3)),
        ),
        (
            Catalogued::TcpConnectionsOpened,
            point(0, &[overflow], PointValue::Int(4)),
        ),
        (
            Catalogued::TcpConnectionsActive,
            point(1, &[], PointValue::Int(-1)),
        ),
        (
            Catalogued::TcpConnectDuration,
            point(1, &[], histogram.into()),
        ),
        (
            Catalogued::AgentCompleteness,
            point(0, &[], PointValue::Float(0.5)),
        ),
        (
            Catalogued::AgentProgramRunTime,
            point(0, &[], PointValue::Float(2.0)),
        ),
    ];
    let families = families
        .chunk_by(|a, b| a.0 == b.0)
        .map(|same| Family {
            metric: same[0].0,
            points: same.iter().map(|(_, point)| point.clone()).collect(),
        })
        .collect();
    let snapshot = Snapshot {
        time_unix_nano: 200,
        resources,
        families,
        ..Snapshot::default()
    };

    let (requests, too_large) = requests(snapshot, 1 << 20);
    assert_eq!((requests.len(), too_large), (1, 0));
    assert_eq!(requests[0].resource_metrics.len(), 2);
    let expected = expect![[r#"
        {host.name="n1",container.image.tags=list of 2} wellhead.tcp.connections.opened {connection} sum/2/true {otel.metric.overflow=true} 100..200 4
        {host.name="n1",container.image.tags=list of 2} wellhead.agent.completeness 1 gauge {} 0..200 0.5
        {host.name="n1",container.image.tags=list of 2} wellhead.agent.program.run.time s sum/2/true {} 100..200 2.0
        {service.name="shop"} wellhead.tcp.connections.opened {connection} sum/2/true {destination.port=443} 100..200 3
        {service.name="shop"} wellhead.tcp.connections.active {connection} sum/2/false {} 100..200 -1
        {service.name="shop"} wellhead.tcp.connect.duration s histogram/2 {} 100..200 [1, 0, 2] [0.1, 1.0] 7.5"#]];
    expected.assert_eq(&flatten(&requests[0]).join("\n"));
}

#[test]
fn an_empty_reading_makes_no_request() {
    assert!(
        MetricRequests::new(Arc::default(), Form::default(), 1000)
            .next()
            .is_none()
    );
    let snapshot = support::snapshot(1, 0);
    assert!(
        MetricRequests::new(snapshot, Form::default(), 1000)
            .next()
            .is_none()
    );
}

#[test]
fn large_readings_fill_their_requests() {
    let snapshot = support::snapshot(1, u16::MAX);
    let sizes: Vec<_> = MetricRequests::new(snapshot, Form::default(), MAX_REQUEST / 2)
        .map(|request| request.body.len())
        .collect();
    let (last, full) = sizes.split_last().unwrap();
    assert!(*last <= MAX_REQUEST / 2);
    assert!(!full.is_empty());
    for size in full {
        assert!(
            (MAX_REQUEST / 5 * 2..=MAX_REQUEST / 2).contains(size),
            "{size}"
        );
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        vec(any::<char>(), 0..300)
            .prop_map(|s| Value::Str(s.into_iter().collect::<String>().into())),
        vec("[a-z]{0,9}", 0..5).prop_map(|list| {
            let list: Vec<Arc<str>> = list.into_iter().map(Arc::from).collect();
            Value::List(list.into())
        }),
    ]
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let point = (
        0_usize..4,
        vec((select(Attr::ALL), any_value()), 0..6),
        any::<u64>(),
        any::<u32>(),
    );
    let family = (select(Catalogued::ALL), vec(point, 0..20));
    (any::<u64>(), vec(family, 0..8)).prop_map(|(time_unix_nano, families)| {
        let value = |metric: Catalogued, number: u32| {
            let bounds = metric.bounds();
            match metric.instrument() {
                Instrument::Histogram => HistogramValue {
                    bounds,
                    counts: (0..=bounds.len() as u64)
                        .map(|i| i * u64::from(number))
                        .collect(),
                    sum: f64::from(number),
                    ..HistogramValue::new(bounds)
                }
                .into(),
                _ if number.is_multiple_of(2) => PointValue::Float(f64::from(number) / 3.0),
                _ => PointValue::Int(-i64::from(number)),
            }
        };
        let families = families.into_iter().map(|(metric, points)| Family {
            metric,
            points: points
                .into_iter()
                .map(|(resource, attributes, start_unix_nano, number)| Point {
                    resource,
                    attributes: attributes.into(),
                    start_unix_nano,
                    value: value(metric, number),
                    series: SeriesId::NONE,
                })
                .collect(),
        });
        Snapshot {
            time_unix_nano,
            resources: ["a", "b", "c", "d"].map(support::resource).to_vec(),
            families: families.collect(),
            ..Snapshot::default()
        }
    })
}

proptest! {
    #[test]
    fn cut_up_readings_are_whole(snapshot in any_snapshot(), limit in 200_usize..10_000) {
        let mut missing = expected(&snapshot);
        let all = missing.len();
        let (requests, too_large) = requests(snapshot, limit);
        let mut sent = 0;
        for request in &requests {
            prop_assert!(request.encoded_len() <= limit);
            let lines = flatten(request);
            prop_assert!(!lines.is_empty());
            sent += lines.len();
            for line in lines {
                let at = missing.iter().position(|expected| *expected == line);
                prop_assert!(at.is_some(), "not in the reading, or sent twice: {line}");
                missing.swap_remove(at.unwrap());
            }
            for resource in &request.resource_metrics {
                let metrics = &resource.scope_metrics[0].metrics;
                prop_assert!(!metrics.is_empty());
            }
        }
        prop_assert_eq!(missing.len() as u64, too_large);
        prop_assert_eq!(sent + missing.len(), all);
        // Six attributes of at most 300 characters of four bytes, and the envelopes.
        prop_assert!(limit < 8500 || too_large == 0);
    }
}
