//! Tests of the store: each rule by example.

mod property;

use std::sync::Arc;

use super::*;
use crate::identity::{Resolution, Resource};
use crate::telemetry::snapshot::{HistogramValue, PointValue, Snapshot};

const A: OwnerId = OwnerId(1);
const B: OwnerId = OwnerId(2);

fn store(limit: usize) -> Store {
    Store::new(limit, Arc::new(Counters::default()))
}

fn resource(name: &str) -> Arc<Resource> {
    Arc::new(Resource {
        attributes: vec![(Arc::from("host.name"), Value::Str(Arc::from(name)))],
        labels: Vec::new(),
    })
}

/// Every owner is a resource of its own.
fn read(store: &Store) -> Snapshot {
    store
        .read(
            1_000,
            |owner| Resolution::Ready(resource(&owner.0.to_string())),
            resource("node"),
        )
        .into_snapshot()
}

/// One line per point: metric, resource, attributes, start, value.
fn lines(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for family in &snapshot.families {
        for point in &family.points {
            let resource = snapshot.resources[point.resource].attributes[0].1.as_str();
            let attributes: Vec<_> = point
                .attributes
                .iter()
                .map(|(key, value)| format!("{}={value:?}", key.key()))
                .collect();
            lines.push(format!(
                "{} {} [{}] {} {:?}",
                family.metric.name(),
                resource.unwrap_or_default(),
                attributes.join(" "),
                point.start_unix_nano,
                point.value
            ));
        }
    }
    lines
}

fn port(port: i64) -> [(Attr, Value); 1] {
    [(Attr::DestinationPort, Value::Int(port))]
}

#[test]
fn sets_are_equal_whatever_their_order_and_text() {
    let mut store = store(10);
    let one = store.intern(&[
        (Attr::SourceWorkload, Value::Static("shop")),
        (Attr::DestinationPort, Value::Int(80)),
    ]);
    let other = store.intern(&[
        (Attr::DestinationPort, Value::Int(80)),
        (Attr::SourceWorkload, Value::Str(Arc::from("shop"))),
    ]);
    assert_eq!(one, other);
    assert_eq!(store.intern(&[]), AttributesId::EMPTY);
    let last_wins = store.intern(&[
        (Attr::SourceWorkload, Value::Static("shop")),
        (Attr::DestinationPort, Value::Int(443)),
        (Attr::DestinationPort, Value::Int(80)),
    ]);
    assert_eq!(one, last_wins);
}

#[test]
fn points_carry_the_time_of_the_first_measurement() {
    let mut store = store(10);
    let set = store.intern(&port(80));
    store.add(Metric::TcpIo, A, set, 5, 100);
    store.add(Metric::TcpIo, A, set, 7, 300);
    store.add(Metric::TcpIo, OwnerId::NODE, set, 1, 200);
    store.add_seconds(
        Metric::AgentProgramRunTime,
        B,
        AttributesId::EMPTY,
        0.5,
        100,
    );
    store.set(Metric::AgentKubeObjects, B, AttributesId::EMPTY, -3, 100);
    assert_eq!(
        lines(&read(&store)),
        [
            "wellhead.tcp.io node [destination.port=Int(80)] 200 Int(1)",
            "wellhead.tcp.io 1 [destination.port=Int(80)] 100 Int(12)",
            "wellhead.agent.program.run.time 2 [] 100 Float(0.5)",
            "wellhead.agent.kube.objects 2 [] 100 Int(-3)",
        ]
    );
}

#[test]
fn histograms_count_up_to_and_including_each_bound() {
    let mut store = store(10);
    for seconds in [
        0.01,
        0.010_001,
        3600.0,
        3601.0,
        -1.0,
        f64::NAN,
        f64::INFINITY,
    ] {
        store.record(Metric::ProcessDuration, A, AttributesId::EMPTY, seconds, 1);
    }
    let snapshot = read(&store);
    let expected = HistogramValue {
        bounds: Metric::ProcessDuration.bounds(),
        counts: vec![4, 1, 0, 0, 0, 0, 1, 1],
        sum: 0.01 + 0.010_001 + 3600.0 + 3601.0,
        ..HistogramValue::new(&[])
    };
    assert_eq!(
        snapshot.families[0].points[0].value,
        PointValue::from(expected)
    );
}

#[test]
fn beyond_the_limit_goes_to_the_overflow_series_and_is_counted() {
    let counters = Arc::new(Counters::default());
    let mut store = Store::new(2, Arc::clone(&counters));
    for (port_number, times) in [(1, 1), (2, 1), (3, 2), (1, 3)] {
        let set = store.intern(&port(port_number));
        for _ in 0..times {
            store.add(Metric::TcpIo, A, set, 10, 5);
        }
    }
    store.record(Metric::TcpRtt, A, AttributesId::EMPTY, 0.3, 6);
    assert_eq!(
        lines(&read(&store))[..3],
        [
            "wellhead.tcp.io node [otel.metric.overflow=Bool(true)] 5 Int(20)",
            "wellhead.tcp.io 1 [destination.port=Int(1)] 5 Int(40)",
            "wellhead.tcp.io 1 [destination.port=Int(2)] 5 Int(10)",
        ]
    );
    assert!(
        lines(&read(&store))[3]
            .starts_with("wellhead.tcp.rtt node [otel.metric.overflow=Bool(true)]")
    );
    assert_eq!(counters.discards(Discard::StoreSeriesLimit), 3);
    assert_eq!((store.len(), store.series_count(Metric::TcpIo)), (2, 3));
    assert_eq!(store.series(Metric::TcpIo, B, AttributesId::EMPTY, 7), None);
}

#[test]
fn one_metric_does_not_use_up_the_room_of_others() {
    let mut store = store(10).with_metric_limit(3);
    for number in 0..20 {
        let set = store.intern(&port(number));
        store.add(Metric::TcpIo, A, set, 1, 5);
    }
    for number in 0..3 {
        let set = store.intern(&port(number));
        store.add(Metric::TcpConnectionsOpened, A, set, 1, 5);
    }
    // With the overflow series.
    assert_eq!(store.series_count(Metric::TcpIo), 3 + 1);
    assert_eq!(store.series_count(Metric::TcpConnectionsOpened), 3);
    assert_eq!(store.sum(Metric::TcpIo), 20);
}

#[test]
fn interning_stays_bounded_when_nothing_is_stored() {
    let mut store = store(4);
    for number in 0..10_000 {
        store.intern(&port(number));
    }
    let full = store.intern(&port(10_000));
    assert!(store.sets.len() <= 4 + 2 + 64 + 2, "{}", store.sets.len());
    store.add(Metric::TcpIo, A, full, 1, 5);
    assert_eq!(
        lines(&read(&store)),
        ["wellhead.tcp.io node [otel.metric.overflow=Bool(true)] 5 Int(1)"]
    );
    store.expire(5, u64::MAX);
    assert_eq!(store.sets.len(), 2, "unused sets are freed");
}

#[test]
fn what_was_never_counted_cannot_be_taken_away() {
    let active = Metric::TcpConnectionsActive;
    let counters = Arc::new(Counters::default());
    let mut store = Store::new(10, Arc::clone(&counters));
    store.add(active, A, AttributesId::EMPTY, -1, 5);
    store.add(active, B, AttributesId::EMPTY, 1, 5);
    store.add(active, B, AttributesId::EMPTY, -1, 6);
    store.add(active, B, AttributesId::EMPTY, -1, 7);
    assert_eq!(
        lines(&read(&store)),
        [
            "wellhead.tcp.connections.active node [otel.metric.overflow=Bool(true)] 5 Int(-2)",
            "wellhead.tcp.connections.active 2 [] 5 Int(0)",
        ]
    );
    assert_eq!(counters.discards(Discard::StoreSeriesLimit), 2);
}

#[test]
fn idle_series_expire_and_come_back_with_a_new_start() {
    let mut store = store(10);
    let set = store.intern(&port(80));
    store.add(Metric::TcpIo, A, set, 5, 100);
    store.add(Metric::TcpConnectionsActive, B, set, 1, 100);
    store.expire(199, 100);
    assert_eq!(store.len(), 2, "not idle for long enough");
    store.expire(200, 100);
    assert_eq!(
        lines(&read(&store)),
        ["wellhead.tcp.connections.active 2 [destination.port=Int(80)] 100 Int(1)"]
    );
    assert!(!store.is_owner_used(A) && store.is_owner_used(B));

    store.add(Metric::TcpIo, A, set, 1, 300);
    assert_eq!(
        lines(&read(&store))[1],
        "wellhead.tcp.io 1 [destination.port=Int(80)] 300 Int(1)"
    );
    store.add(Metric::TcpConnectionsActive, B, set, -1, 300);
    store.expire(400, 100);
    assert!(store.is_empty());
}

#[test]
fn a_wall_clock_that_is_set_makes_no_series_idle() {
    let mut store = store(10);
    let set = store.intern(&port(80));
    store.add(Metric::TcpIo, A, set, 5, 10_000);
    store.clock_moved(1_000, 11_050);
    store.expire(11_099, 100);
    let line = |start: u64| format!("wellhead.tcp.io 1 [destination.port=Int(80)] {start} Int(5)");
    assert_eq!(lines(&read(&store)), [line(10_000)]);
    store.clock_moved(-2_000, 9_060);
    store.expire(9_099, 100);
    assert_eq!(lines(&read(&store)), [line(9_060)]);
    store.expire(9_100, 100);
    assert!(store.is_empty());
}

#[test]
fn handles_and_names_outlive_their_series_safely() {
    let mut store = store(10);
    let old_set = store.intern(&port(80));
    let old = store.series(Metric::TcpIo, A, old_set, 1).unwrap();
    assert!(store.add_to(old, 5, 1));
    store.expire(1_000, 10);
    assert!(!store.add_to(old, 5, 1_000), "the slot is free");

    let new_set = store.intern(&port(443));
    let new = store.series(Metric::TcpIo, A, new_set, 1_000).unwrap();
    assert_eq!(new.slot, old.slot, "the slot is used again");
    assert_eq!(
        new_set.index, old_set.index,
        "the set's place is used again"
    );
    assert!(
        !store.add_to(old, 5, 1_000),
        "the slot belongs to another series"
    );
    store.add(Metric::TcpIo, A, old_set, 3, 1_000);
    assert_eq!(
        lines(&read(&store)),
        [
            "wellhead.tcp.io node [otel.metric.overflow=Bool(true)] 1000 Int(3)",
            "wellhead.tcp.io 1 [destination.port=Int(443)] 1000 Int(0)",
        ]
    );
}

#[test]
fn pending_owners_wait_and_equal_owners_are_summed() {
    let mut store = store(10);
    for owner in [A, B, OwnerId(3)] {
        store.add(
            Metric::ProcessForks,
            owner,
            AttributesId::EMPTY,
            4,
            u64::from(owner.0),
        );
        store.record(Metric::ProcessDuration, owner, AttributesId::EMPTY, 2.0, 1);
    }
    let resolve = |owner| match owner {
        A => Resolution::Pending,
        _ => Resolution::Ready(resource("same")),
    };
    let snapshot = store.read(9, resolve, resource("node")).into_snapshot();
    assert_eq!(snapshot.resources, [resource("node"), resource("same")]);
    assert_eq!(
        lines(&snapshot)[0],
        "wellhead.process.forks same [] 2 Int(8)"
    );
    let PointValue::Histogram(histogram) = &snapshot.families[1].points[0].value else {
        unreachable!()
    };
    assert_eq!(
        (histogram.counts.iter().sum::<u64>(), histogram.sum),
        (2, 4.0)
    );
    assert_eq!(
        snapshot
            .families
            .iter()
            .map(|family| family.points.len())
            .sum::<usize>(),
        2
    );
}

#[test]
fn memory_grows_with_series_and_falls_with_nothing_hidden() {
    let mut store = store(1_000);
    let empty = store.memory_bytes();
    for number in 0..1_000 {
        let set = store.intern(&[
            (Attr::DestinationPort, Value::Int(number)),
            (Attr::SourceWorkload, Value::Str(Arc::from("x".repeat(100)))),
        ]);
        store.record(Metric::TcpRtt, A, set, 0.1, 1);
    }
    let per_series = (store.memory_bytes() - empty) / 1_000;
    assert!((300..1_000).contains(&per_series), "{per_series}");
}
