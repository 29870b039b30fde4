//! What the agent says about itself, read as Prometheus text.
#![expect(clippy::float_cmp, reason = "the ratios are exact in binary")]

use expect_test::expect;

use super::*;
use crate::counters::Volume;
use crate::export::prometheus::negotiation::Format;
use crate::export::prometheus::page::{Page, Scope};
use crate::identity::{OwnerId, Resource};
use crate::telemetry::store::AttributesId;

/// Samples other than zero, without comments.
fn page(snapshot: Snapshot) -> String {
    let mut page = String::new();
    Page::new(Format::Text, Scope::Left, Arc::new(snapshot), Vec::new())
        .write(&mut page, usize::MAX)
        .unwrap();
    let told = page
        .lines()
        .filter(|line| !line.starts_with('#') && !line.ends_with(" 0"))
        // The same for each metric.
        .filter(|line| !line.starts_with("wellhead_agent_series_limit{") || line.contains(".io"));
    told.fold(String::new(), |told, line| told + line + "\n")
}

fn empty_snapshot() -> Snapshot {
    Snapshot {
        time_unix_nano: 9,
        resources: vec![Arc::new(Resource::default())],
        ..Snapshot::default()
    }
}

fn some_records() -> Arc<Counters> {
    let counters = Arc::new(Counters::default());
    counters.record(RecordKind::Exec);
    counters.record(RecordKind::Exec);
    counters.record(RecordKind::TcpClose);
    counters.record(RecordKind::CgroupMkdir);
    counters.set_lost(RecordKind::TcpOpen, 3);
    counters.discard(Discard::DecodeShort, 7);
    counters
}

#[test]
fn everything_shows_where_it_belongs() {
    let counters = some_records();
    let mut store = Store::new(20, Arc::clone(&counters));
    store.add(Metric::TcpIo, OwnerId(3), AttributesId::EMPTY, 1, 1);
    let exports = ExportStats::default();
    exports.signal(Signal::Traces).add_items(11);
    exports
        .signal(Signal::Metrics)
        .add_failures(ExportFailure::Timeout, 12);
    exports.signal(Signal::Metrics).set_queue_length(13);
    let mut lag = HistogramValue::new(Metric::AgentKubeLag.bounds());
    for seconds in [0.25, 60.0] {
        lag.observe(seconds);
    }
    let view = SelfView {
        start_unix_nano: 5,
        counters: &counters,
        store: &store,
        features: &[
            Feature {
                name: "process",
                mechanism: "tp_btf",
                state: "on",
            },
            Feature {
                name: "tcp",
                mechanism: "",
                state: "off",
            },
        ],
        programs: &[ProgramStats {
            name: Arc::from("on_exec"),
            run_time_nanos: 1_500_000_000,
            runs: 4,
        }],
        exports: Some(&exports),
        kube: &[KubeWatch {
            kind: "Pod",
            objects: 14,
            events: 15,
            relists: 16,
            errors: 17,
        }],
        kube_lag: Some(&lag),
        memory: &[MemoryShare {
            component: "rings",
            budget: 1_024,
            usage: Some(512),
        }],
        invariants: &[(Invariant::TcpBalance, -1)],
    };
    let mut snapshot = empty_snapshot();
    append(&mut snapshot, &view);
    assert!(snapshot.families.is_sorted_by(|a, b| a.metric < b.metric));
    assert!(
        snapshot
            .families
            .iter()
            .flat_map(|family| &family.points)
            .all(|point| point.start_unix_nano == 5)
    );
    expect![[r#"
        wellhead_agent_records_total{wellhead_record_kind="cgroup_mkdir"} 1
        wellhead_agent_records_total{wellhead_record_kind="exec"} 2
        wellhead_agent_records_total{wellhead_record_kind="tcp_close"} 1
        wellhead_agent_discards_total{wellhead_reason="short_record",wellhead_stage="decode"} 7
        wellhead_agent_completeness_ratio{wellhead_signal="process"} 1
        wellhead_agent_completeness_ratio{wellhead_signal="tcp"} 0.25
        wellhead_agent_completeness_ratio{wellhead_signal="dns"} 1
        wellhead_agent_invariant_drift{wellhead_invariant="tcp_balance"} -1
        wellhead_agent_series{wellhead_metric="wellhead.tcp.io"} 1
        wellhead_agent_series_limit 20
        wellhead_agent_series_limit{wellhead_metric="wellhead.tcp.io"} 20
        wellhead_agent_series_limit{wellhead_metric="wellhead.udp.io"} 20
        wellhead_agent_series_limit{wellhead_metric="process.disk.io"} 20
        wellhead_agent_memory_budget_bytes{wellhead_component="rings"} 1024
        wellhead_agent_memory_usage_bytes{wellhead_component="rings"} 512
        wellhead_agent_feature{wellhead_feature="process",wellhead_mechanism="tp_btf",wellhead_state="on"} 1
        wellhead_agent_feature{wellhead_feature="tcp",wellhead_state="off"} 1
        wellhead_agent_config_last_reload_successful 1
        wellhead_agent_program_run_time_seconds_total{wellhead_program="on_exec"} 1.5
        wellhead_agent_program_runs_total{wellhead_program="on_exec"} 4
        wellhead_agent_export_items_total{wellhead_signal="traces"} 11
        wellhead_agent_export_failures_total{error_type="timeout",wellhead_signal="metrics"} 12
        wellhead_agent_export_queue_length{wellhead_signal="metrics"} 13
        wellhead_agent_kube_objects{wellhead_kind="Pod"} 14
        wellhead_agent_kube_events_total{wellhead_kind="Pod"} 15
        wellhead_agent_kube_relists_total{wellhead_kind="Pod"} 16
        wellhead_agent_kube_errors_total{wellhead_kind="Pod"} 17
        wellhead_agent_kube_lag_seconds_bucket{wellhead_kind="Pod",le="0.25"} 1
        wellhead_agent_kube_lag_seconds_bucket{wellhead_kind="Pod",le="0.5"} 1
        wellhead_agent_kube_lag_seconds_bucket{wellhead_kind="Pod",le="0.75"} 1
        wellhead_agent_kube_lag_seconds_bucket{wellhead_kind="Pod",le="1"} 1
        wellhead_agent_kube_lag_seconds_bucket{wellhead_kind="Pod",le="2.5"} 1
        wellhead_agent_kube_lag_seconds_bucket{wellhead_kind="Pod",le="5"} 1
        wellhead_agent_kube_lag_seconds_bucket{wellhead_kind="Pod",le="7.5"} 1
        wellhead_agent_kube_lag_seconds_bucket{wellhead_kind="Pod",le="10"} 1
        wellhead_agent_kube_lag_seconds_bucket{wellhead_kind="Pod",le="+Inf"} 2
        wellhead_agent_kube_lag_seconds_sum{wellhead_kind="Pod"} 60.25
        wellhead_agent_kube_lag_seconds_count{wellhead_kind="Pod"} 2
    "#]].assert_eq(&page(snapshot));
}

#[test]
fn attributes_are_those_of_the_catalogue_in_its_order() {
    let counters = Arc::new(Counters::default());
    let store = Store::new(1, Arc::clone(&counters));
    let exports = ExportStats::default();
    let exporter = Exporter {
        namespace: "shop".into(),
        service: "cart".into(),
    };
    let volume = Volume { bytes: 1, items: 1 };
    exports.volumes().add(Signal::Logs, exporter, volume);
    let view = SelfView {
        start_unix_nano: 5,
        counters: &counters,
        store: &store,
        features: &[Feature {
            name: "process",
            mechanism: "tp_btf",
            state: "on",
        }],
        programs: &[ProgramStats {
            name: Arc::from("p"),
            run_time_nanos: 0,
            runs: 0,
        }],
        exports: Some(&exports),
        kube: &[KubeWatch {
            kind: "Pod",
            objects: 0,
            events: 0,
            relists: 0,
            errors: 0,
        }],
        kube_lag: Some(&HistogramValue::new(Metric::AgentKubeLag.bounds())),
        memory: &[],
        invariants: &[(Invariant::TcpBalance, 0)],
    };
    let mut snapshot = empty_snapshot();
    append(&mut snapshot, &view);
    for family in &snapshot.families {
        for point in &family.points {
            let keys: Vec<_> = point.attributes.iter().map(|(key, _)| *key).collect();
            let expected: Vec<_> = family.metric.definition().attributes().collect();
            // The limit of all series together is that of no metric.
            let of_all = family.metric == Metric::AgentSeriesLimit && keys.is_empty();
            assert!(
                of_all || keys == expected,
                "{}: {keys:?}",
                family.metric.name()
            );
        }
    }
}

#[test]
fn completeness_is_consumed_over_made() {
    let counters = Counters::default();
    let process = SIGNALS[0].1;
    assert_eq!(completeness(&counters, process), 1.0);
    counters.set_lost(RecordKind::TcpOpen, 5);
    assert_eq!(completeness(&counters, process), 1.0);
    counters.set_lost(RecordKind::Exit, 1);
    assert_eq!(completeness(&counters, process), 0.0);
    for _ in 0..3 {
        counters.record(RecordKind::Fork);
    }
    assert_eq!(completeness(&counters, process), 0.75);
}

#[test]
fn a_missed_end_is_a_lost_record_of_a_connection() {
    let counters = Counters::default();
    let [(_, process), (_, tcp), _] = SIGNALS else {
        panic!("three signals are told of one by one");
    };
    for _ in 0..3 {
        counters.record(RecordKind::TcpOpen);
    }
    counters.discard(Discard::KernelEndMissed, 1);
    assert_eq!(completeness(&counters, tcp), 0.75);
    assert_eq!(completeness(&counters, process), 1.0);
}
