//! What both formats look like.
#![expect(clippy::float_cmp, reason = "sums of few whole numbers are exact")]

mod escaping;
mod parser;
mod property;

use std::sync::Arc;

use expect_test::{Expect, expect};

use self::parser::{Page, parse};
use super::negotiation::Format;
use super::page::{Page as Written, Scope};
use super::standard;
use crate::identity::{Resource, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::snapshot::{Exemplar, Family, HistogramValue, Point, PointValue, Snapshot};
use crate::telemetry::store::SeriesId;

fn resource(attributes: &[(&str, &str)], labels: &[(&'static str, &str)]) -> Arc<Resource> {
    Arc::new(Resource {
        attributes: attributes
            .iter()
            .map(|(key, value)| (Arc::from(*key), Value::Str(Arc::from(*value))))
            .collect(),
        labels: labels
            .iter()
            .map(|(key, value)| (*key, Arc::from(*value)))
            .collect(),
    })
}

fn point(resource: usize, attributes: &[(Attr, Value)], value: PointValue) -> Point {
    Point {
        resource,
        attributes: Arc::from(attributes),
        start_unix_nano: 1,
        value,
        series: SeriesId::NONE,
    }
}

fn snapshot(resources: Vec<Arc<Resource>>, families: Vec<(Metric, Vec<Point>)>) -> Arc<Snapshot> {
    let families = families
        .into_iter()
        .map(|(metric, points)| Family { metric, points })
        .collect();
    Arc::new(Snapshot {
        time_unix_nano: 1,
        resources,
        families,
        ..Snapshot::default()
    })
}

fn encode(format: Format, snapshot: &Arc<Snapshot>) -> String {
    whole(Written::new(
        format,
        Scope::Left,
        Arc::clone(snapshot),
        Vec::new(),
    ))
}

fn whole(mut page: Written) -> String {
    let mut text = String::new();
    assert!(!page.write(&mut text, usize::MAX).unwrap());
    text
}

fn check(snapshot: &Arc<Snapshot>, openmetrics: &Expect, text: &Expect) {
    openmetrics.assert_eq(&encode(Format::OpenMetrics, snapshot));
    text.assert_eq(&encode(Format::Text, snapshot));
}

fn histogram(metric: Metric, observations: &[(usize, u64)], sum: f64) -> PointValue {
    let mut counts = vec![0; metric.bounds().len() + 1];
    for (bucket, count) in observations {
        counts[*bucket] = *count;
    }
    HistogramValue {
        counts,
        sum,
        ..HistogramValue::new(metric.bounds())
    }
    .into()
}

#[test]
fn exemplars_are_on_buckets_of_openmetrics_alone() {
    let exemplar = |bucket, value| Exemplar {
        bucket,
        value,
        time_unix_nano: 1_700_000_000_012_345_678,
        trace_id: [0xab; 16],
        span_id: [1, 2, 3, 4, 5, 6, 7, 8],
        mark: 0,
    };
    let histogram = HistogramValue {
        counts: vec![1, 0, 2, 0, 0, 0, 0, 3],
        sum: 12_000.5,
        exemplars: vec![exemplar(2, 0.25), exemplar(7, 4_000.0)],
        ..HistogramValue::new(Metric::ProcessDuration.bounds())
    };
    let families = vec![(
        Metric::ProcessDuration,
        vec![point(0, &[], histogram.into())],
    )];
    let snapshot = snapshot(vec![resource(&[], &[])], families);
    let page = encode(Format::OpenMetrics, &snapshot);
    let ids = r#"# {trace_id="abababababababababababababababab",span_id="0102030405060708"}"#;
    let expected = [
        format!(r#"le="1.0"}} 3 {ids} 0.25 1700000000.012345678"#),
        format!(r#"le="+Inf"}} 6 {ids} 4000.0 1700000000.012345678"#),
    ];
    let found: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("wellhead_process_duration_seconds_bucket{"))
        .filter(|line| line.contains('#'))
        .collect();
    assert_eq!(found, expected);
    // Names and values of the labels: OpenMetrics allows 128 characters.
    assert_eq!("trace_id".len() + 32 + "span_id".len() + 16, 63);
    let samples = |page: &str| {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        lines.filter(|line| line.contains('#')).count()
    };
    assert_eq!(samples(&page), 2);
    for format in [Format::Text, Format::Text1] {
        assert_eq!(samples(&encode(format, &snapshot)), 0);
    }
}

/// A point of every instrument and value kind, and a family without points.
fn every_instrument() -> Arc<Snapshot> {
    let node = resource(
        &[("service.name", "wellhead"), ("host.name", "node-1")],
        &[],
    );
    let pod = resource(
        &[("container.id", "c1")],
        &[("k8s_pod_name", "web-0"), ("service_name", "web")],
    );
    let transmit = [(Attr::NetworkIoDirection, Value::Static("transmit"))];
    let families = vec![
        (
            Metric::TcpConnectionsActive,
            vec![point(1, &[], PointValue::Int(3))],
        ),
        (
            Metric::TcpIo,
            vec![
                point(1, &transmit, PointValue::Int(1_500)),
                point(0, &[], PointValue::Int(7)),
            ],
        ),
        (
            Metric::ProcessDuration,
            vec![point(
                1,
                &[],
                histogram(Metric::ProcessDuration, &[(0, 2), (2, 1), (7, 1)], 4000.25),
            )],
        ),
        (
            Metric::AgentCompleteness,
            vec![point(
                0,
                &[(Attr::Signal, Value::Static("tcp"))],
                PointValue::Float(0.5),
            )],
        ),
        (
            Metric::AgentProgramRunTime,
            vec![point(0, &[], PointValue::Float(2.0))],
        ),
        (Metric::AgentExportItems, Vec::new()),
    ];
    snapshot(vec![node, pod], families)
}

#[test]
fn every_instrument_in_both_formats() {
    check(
        &every_instrument(),
        &expect![[r#"
            # TYPE target info
            # HELP target Resource of the agent itself.
            target_info{host_name="node-1",service_name="wellhead"} 1
            # TYPE wellhead_tcp_connections_active gauge
            # HELP wellhead_tcp_connections_active Connections established and not closed yet.
            wellhead_tcp_connections_active{k8s_pod_name="web-0",service_name="web"} 3
            # TYPE wellhead_tcp_io_bytes counter
            # UNIT wellhead_tcp_io_bytes bytes
            # HELP wellhead_tcp_io_bytes Bytes applications sent and received, without headers and retransmissions.
            wellhead_tcp_io_bytes_total{k8s_pod_name="web-0",service_name="web",network_io_direction="transmit"} 1500
            wellhead_tcp_io_bytes_total 7
            # TYPE wellhead_process_duration_seconds histogram
            # UNIT wellhead_process_duration_seconds seconds
            # HELP wellhead_process_duration_seconds Time from the start of a process to its end.
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="0.01"} 2
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="0.1"} 2
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="1.0"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="10.0"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="60.0"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="600.0"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="3600.0"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="+Inf"} 4
            wellhead_process_duration_seconds_sum{k8s_pod_name="web-0",service_name="web"} 4000.25
            wellhead_process_duration_seconds_count{k8s_pod_name="web-0",service_name="web"} 4
            # TYPE wellhead_agent_completeness_ratio gauge
            # UNIT wellhead_agent_completeness_ratio ratio
            # HELP wellhead_agent_completeness_ratio Records read ÷ (records read + records that found their ring full + runs of programs that the kernel skipped + ends of connections that were missed), of a signal since the agent started. 1: nothing is known to be lost. Of records that found their ring full the details are missing and the totals are counted all the same; what skipped runs and missed ends would have told is not counted.
            wellhead_agent_completeness_ratio{wellhead_signal="tcp"} 0.5
            # TYPE wellhead_agent_program_run_time_seconds counter
            # UNIT wellhead_agent_program_run_time_seconds seconds
            # HELP wellhead_agent_program_run_time_seconds Time a kernel program ran; needs `program_stats`.
            wellhead_agent_program_run_time_seconds_total 2.0
            # EOF
        "#]],
        &expect![[r#"
            # HELP target_info Resource of the agent itself.
            # TYPE target_info gauge
            target_info{host_name="node-1",service_name="wellhead"} 1
            # HELP wellhead_tcp_connections_active Connections established and not closed yet.
            # TYPE wellhead_tcp_connections_active gauge
            wellhead_tcp_connections_active{k8s_pod_name="web-0",service_name="web"} 3
            # HELP wellhead_tcp_io_bytes_total Bytes applications sent and received, without headers and retransmissions.
            # TYPE wellhead_tcp_io_bytes_total counter
            wellhead_tcp_io_bytes_total{k8s_pod_name="web-0",service_name="web",network_io_direction="transmit"} 1500
            wellhead_tcp_io_bytes_total 7
            # HELP wellhead_process_duration_seconds Time from the start of a process to its end.
            # TYPE wellhead_process_duration_seconds histogram
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="0.01"} 2
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="0.1"} 2
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="1"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="10"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="60"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="600"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="3600"} 3
            wellhead_process_duration_seconds_bucket{k8s_pod_name="web-0",service_name="web",le="+Inf"} 4
            wellhead_process_duration_seconds_sum{k8s_pod_name="web-0",service_name="web"} 4000.25
            wellhead_process_duration_seconds_count{k8s_pod_name="web-0",service_name="web"} 4
            # HELP wellhead_agent_completeness_ratio Records read ÷ (records read + records that found their ring full + runs of programs that the kernel skipped + ends of connections that were missed), of a signal since the agent started. 1: nothing is known to be lost. Of records that found their ring full the details are missing and the totals are counted all the same; what skipped runs and missed ends would have told is not counted.
            # TYPE wellhead_agent_completeness_ratio gauge
            wellhead_agent_completeness_ratio{wellhead_signal="tcp"} 0.5
            # HELP wellhead_agent_program_run_time_seconds_total Time a kernel program ran; needs `program_stats`.
            # TYPE wellhead_agent_program_run_time_seconds_total counter
            wellhead_agent_program_run_time_seconds_total 2
        "#]],
    );
}

#[test]
fn labels_that_become_one_are_joined_and_empty_ones_left_out() {
    let node = resource(
        &[("b_c", "2"), ("b.c", "1"), ("empty", ""), ("9", "digit")],
        &[],
    );
    let pod = resource(&[], &[("error_type", "first")]);
    let attributes = [
        (Attr::ErrorType, Value::Static("second")),
        (Attr::NetworkIoDirection, Value::Static("")),
        (Attr::ProcessExitCode, Value::Int(-1)),
        (
            Attr::SourceWorkload,
            Value::List(Arc::from([Arc::from("a\"b"), Arc::from("c")])),
        ),
    ];
    let families = vec![(
        Metric::TcpConnectionFailures,
        vec![point(1, &attributes, PointValue::Int(1))],
    )];
    check(
        &snapshot(vec![node, pod], families),
        &expect![[r#"
            # TYPE target info
            # HELP target Resource of the agent itself.
            target_info{key_9="digit",b_c="1;2"} 1
            # TYPE wellhead_tcp_connection_failures counter
            # HELP wellhead_tcp_connection_failures Connections that never reached ESTABLISHED.
            wellhead_tcp_connection_failures_total{error_type="first;second",process_exit_code="-1",source_k8s_workload_name="[\"a\\\"b\",\"c\"]"} 1
            # EOF
        "#]],
        &expect![[r#"
            # HELP target_info Resource of the agent itself.
            # TYPE target_info gauge
            target_info{key_9="digit",b_c="1;2"} 1
            # HELP wellhead_tcp_connection_failures_total Connections that never reached ESTABLISHED.
            # TYPE wellhead_tcp_connection_failures_total counter
            wellhead_tcp_connection_failures_total{error_type="first;second",process_exit_code="-1",source_k8s_workload_name="[\"a\\\"b\",\"c\"]"} 1
        "#]],
    );
}

/// Two resources that differ only in what is not a label, each with one point per family.
fn same_labels(labels: &[(&'static str, &str)]) -> Page {
    let resources = vec![
        resource(&[], &[]),
        resource(&[("container.id", "old")], labels),
        resource(&[("container.id", "new")], labels),
    ];
    let forks = |resource, start_unix_nano, count| Point {
        start_unix_nano,
        ..point(resource, &[], PointValue::Int(count))
    };
    let duration = |resource, start_unix_nano, bucket| Point {
        start_unix_nano,
        ..point(
            resource,
            &[],
            histogram(Metric::ProcessDuration, &[(bucket, 1)], 2.0),
        )
    };
    let families = vec![
        (Metric::ProcessForks, vec![forks(2, 20, 5), forks(1, 10, 4)]),
        (
            Metric::ProcessDuration,
            vec![duration(1, 10, 1), duration(2, 20, 7)],
        ),
    ];
    parse(&encode(Format::Text, &snapshot(resources, families)))
}

/// Values of the only label set: forks, durations up to 0.1 s, all durations, and their sum.
fn values(page: &Page) -> [f64; 4] {
    assert_eq!(page.samples.len(), 1 + 8 + 2);
    let value = |name: &str, le: &str| {
        let of_bound = |labels: &[(String, String)]| {
            le.is_empty() || labels.contains(&("le".to_owned(), le.to_owned()))
        };
        let mut samples = page.samples.iter();
        *samples
            .find(|((known, labels), _)| known == name && of_bound(labels))
            .unwrap()
            .1
    };
    [
        value("wellhead_process_forks_total", ""),
        value("wellhead_process_duration_seconds_bucket", "0.1"),
        value("wellhead_process_duration_seconds_bucket", "+Inf"),
        value("wellhead_process_duration_seconds_sum", ""),
    ]
}

#[test]
fn resources_that_share_their_labels_are_summed() {
    let page = same_labels(&[("service_name", "cron")]);
    assert_eq!(values(&page), [9.0, 1.0, 2.0, 4.0]);
}

#[test]
fn of_containers_that_follow_each_other_the_newest_is_shown() {
    let page = same_labels(&[("k8s_pod_name", "web-0"), ("k8s_container_name", "web")]);
    assert_eq!(values(&page), [5.0, 0.0, 1.0, 2.0]);
}

#[test]
fn standard_families_come_after_the_target() {
    let snapshot = snapshot(vec![resource(&[("host.name", "n")], &[])], Vec::new());
    let standard = standard::read(standard::BuildInfo {
        version: "1.2.3",
        revision: "abc",
    });
    let written = |format, standard| {
        whole(Written::new(
            format,
            Scope::Left,
            Arc::clone(&snapshot),
            standard,
        ))
    };
    let page = written(Format::OpenMetrics, standard.clone());
    let types: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    assert_eq!(
        types[..3],
        [
            "target info",
            "wellhead_build info",
            "process_cpu_seconds counter"
        ]
    );
    assert!(page.contains("\nwellhead_build_info{version=\"1.2.3\",revision=\"abc\"} 1\n"));
    let text = written(Format::Text, standard);
    assert!(text.contains("\n# TYPE wellhead_build_info gauge\nwellhead_build_info{"));
    assert!(
        text.contains("\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ")
    );
}

#[test]
fn a_page_in_pieces_is_the_page() {
    for format in [Format::OpenMetrics, Format::Text1, Format::Text] {
        let snapshot = every_instrument();
        let expected = encode(format, &snapshot);
        for bytes in [1, 50, 1_000] {
            let mut page = Written::new(format, Scope::Left, Arc::clone(&snapshot), Vec::new());
            let mut pieces = Vec::new();
            loop {
                let mut piece = String::new();
                let more = page.write(&mut piece, bytes).unwrap();
                pieces.push(piece);
                if !more {
                    break;
                }
            }
            assert_eq!(pieces.concat(), expected);
            assert!(bytes > 50 || pieces.len() > 10, "{}", pieces.len());
        }
    }
}

#[test]
fn text_1_reads_as_text_0_0_4() {
    let snapshot = every_instrument();
    assert_eq!(
        encode(Format::Text1, &snapshot),
        encode(Format::Text, &snapshot)
    );
}

#[test]
fn the_scope_is_on_every_sample_of_the_catalogue_if_wanted() {
    let page = whole(Written::new(
        Format::Text,
        Scope::Shown,
        every_instrument(),
        Vec::new(),
    ));
    let samples = page
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("target_info"));
    let scope = format!(
        "otel_scope_name=\"wellhead\",otel_scope_version=\"{}\",otel_scope_schema_url=\"https://opentelemetry.io/schemas/1.44.0\"",
        env!("CARGO_PKG_VERSION")
    );
    for sample in samples {
        assert_eq!(sample.matches(&scope).count(), 1, "{sample}");
    }
    parse(&page);
}

#[test]
fn labels_that_only_look_alike_are_not_joined() {
    // Without escaping, both would be the same text.
    let split = |value: &str| resource(&[], &[("k8s_pod_name", value)]);
    let attributes = [(Attr::ProcessExecutableName, Value::Static("x"))];
    let resources = vec![split("a"), split("a\",process_executable_name=\"x")];
    let families = vec![(
        Metric::ProcessExecs,
        vec![
            point(0, &attributes, PointValue::Int(1)),
            point(1, &[], PointValue::Int(2)),
        ],
    )];
    let page = parse(&encode(Format::Text, &snapshot(resources, families)));
    assert_eq!(
        page.samples.values().copied().collect::<Vec<_>>(),
        [1.0, 2.0]
    );
}
