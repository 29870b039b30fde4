//! What receivers are told over time, whatever becomes of single requests.

mod property;

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{
        AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint,
        metric::Data, number_data_point::Value as Number,
    },
};
use prost::Message as _;

use super::{
    super::{ledger::Ledger, metrics::MetricRequests, settings::Temporality},
    support,
};
use crate::{
    counters::{Counters, Discard},
    identity::{OwnerId, Resolution},
    telemetry::{
        catalogue::Metric,
        snapshot::{Family, Point, PointValue},
        store::{AttributesId, Buckets, SeriesId, Store},
    },
};

const A: OwnerId = OwnerId(1);

/// What one request said of one stream of points.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    /// Metric, resource, and attributes.
    stream: String,
    delta: bool,
    start: u64,
    time: u64,
    /// `None` if it has no value any more.
    value: Option<Amount>,
    exemplars: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Amount {
    Int(i64),
    Float(f64),
    /// Observations by bucket.
    Counts(Vec<u64>),
    /// Zeros, and observations in all buckets.
    Exponential(u64, u64),
}

/// A store, what its receiver was told, and what that made of it.
struct Rig {
    store: Store,
    counters: Arc<Counters>,
    ledger: Ledger,
    time: u64,
}

impl Rig {
    fn new(temporality: Temporality, buckets: Buckets, limit: usize) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            store: Store::new(limit, Arc::clone(&counters))
                .with_buckets(buckets)
                .with_ends(true),
            counters,
            ledger: Ledger::new(temporality),
            time: 0,
        }
    }

    /// One export, cut into requests of a few points; the receiver has those whose number `takes` says so. Returns what it has.
    fn export(&mut self, own: &[(Metric, i64)], mut takes: impl FnMut(usize) -> bool) -> Vec<Said> {
        self.time += 10;
        let ends = self.ledger.ends().to_vec();
        let resolve = |owner: OwnerId| Resolution::Ready(support::resource(&owner.0.to_string()));
        let node = support::resource("node");
        let mut reading = self.store.read_for_export(&ends, self.time, resolve, node);
        self.ledger.forget_ends(&ends);
        for (metric, value) in own {
            let point = Point {
                resource: 0,
                attributes: Arc::from([]),
                start_unix_nano: 1,
                value: PointValue::Int(*value),
                series: SeriesId::NONE,
            };
            let points = vec![point];
            let metric = *metric;
            reading.rest_mut().families.push(Family { metric, points });
        }
        let snapshot = Arc::new(self.ledger.take(reading));
        self.ledger.told_silently(&snapshot);
        let mut requests = MetricRequests::new(Arc::clone(&snapshot), self.ledger.form(), 2_000);
        let (mut said, mut number, mut all) = (Vec::new(), 0, true);
        while let Some(request) = requests.next() {
            let took = takes(number);
            number += 1;
            all &= took;
            if took {
                requests.told().for_each(|told| self.ledger.told(told));
                said.extend(decode(&request.body));
            }
        }
        assert_eq!(requests.too_large(), 0);
        if all {
            self.ledger.all_told(&snapshot);
        }
        said
    }

    fn all(&mut self) -> Vec<Said> {
        self.export(&[], |_| true)
    }
}

fn decode(body: &[u8]) -> Vec<Said> {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let mut said = Vec::new();
    for group in request.resource_metrics {
        for metric in group.scope_metrics.into_iter().flat_map(|it| it.metrics) {
            let what = format!("{} {:?}", metric.name, group.resource);
            let delta = |temporality: i32| temporality == AggregationTemporality::Delta as i32;
            match metric.data.unwrap() {
                Data::Sum(sum) => {
                    let delta = delta(sum.aggregation_temporality);
                    let points = sum.data_points.iter();
                    said.extend(points.map(|point| number(&what, delta, point)));
                }
                Data::Gauge(gauge) => {
                    let points = gauge.data_points.iter();
                    said.extend(points.map(|point| number(&what, false, point)));
                }
                Data::Histogram(histogram) => {
                    let delta = delta(histogram.aggregation_temporality);
                    let points = histogram.data_points.iter();
                    said.extend(points.map(|point| explicit(&what, delta, point)));
                }
                Data::ExponentialHistogram(histogram) => {
                    let delta = delta(histogram.aggregation_temporality);
                    let points = histogram.data_points.iter();
                    said.extend(points.map(|point| exponential(&what, delta, point)));
                }
                Data::Summary(_) => unreachable!("there is no such instrument"),
            }
        }
    }
    said
}

fn number(what: &str, delta: bool, point: &NumberDataPoint) -> Said {
    let value = point.value.map(|value| match value {
        Number::AsInt(value) => Amount::Int(value),
        Number::AsDouble(value) => Amount::Float(value),
    });
    assert_eq!(value.is_none(), point.flags == 1);
    Said {
        stream: format!("{what} {:?}", point.attributes),
        delta,
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
        value,
        exemplars: 0,
    }
}

fn explicit(what: &str, delta: bool, point: &HistogramDataPoint) -> Said {
    let is_mark = point.flags == 1;
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
    assert_eq!(point.bucket_counts.is_empty(), is_mark);
    for exemplar in &point.exemplars {
        let times = point.start_time_unix_nano..=point.time_unix_nano;
        assert!(times.contains(&exemplar.time_unix_nano));
        assert_eq!((exemplar.trace_id.len(), exemplar.span_id.len()), (16, 8));
    }
    Said {
        stream: format!("{what} {:?}", point.attributes),
        delta,
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
        value: (!is_mark).then(|| Amount::Counts(point.bucket_counts.clone())),
        exemplars: point.exemplars.len(),
    }
}

fn exponential(what: &str, delta: bool, point: &ExponentialHistogramDataPoint) -> Said {
    let is_mark = point.flags == 1;
    let positive = point.positive.clone().unwrap_or_default();
    let counted: u64 = positive.bucket_counts.iter().sum();
    assert_eq!(counted + point.zero_count, point.count);
    assert!(positive.bucket_counts.len() <= 160 && point.scale <= 20);
    Said {
        stream: format!("{what} {:?}", point.attributes),
        delta,
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
        value: (!is_mark).then_some(Amount::Exponential(point.zero_count, counted)),
        exemplars: point.exemplars.len(),
    }
}

fn ints(said: &[Said]) -> Vec<(u64, u64, Option<i64>)> {
    let int = |said: &Said| match &said.value {
        Some(Amount::Int(value)) => Some(*value),
        None => None,
        other => panic!("{other:?}"),
    };
    said.iter()
        .map(|said| (said.start, said.time, int(said)))
        .collect()
}

#[test]
fn a_delta_is_told_once_and_its_interval_begins_where_the_last_one_ended() {
    let mut rig = Rig::new(Temporality::Delta, Buckets::Explicit, 10);
    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 5, 3);
    assert_eq!(ints(&rig.all()), [(3, 10, Some(5))]);
    assert_eq!(rig.all(), []);
    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 7, 25);
    let said = rig.all();
    assert!(said[0].delta);
    // Nothing came in the interval between.
    assert_eq!(ints(&said), [(20, 30, Some(7))]);
}

#[test]
fn what_was_not_delivered_is_part_of_the_next_delta() {
    let mut rig = Rig::new(Temporality::Delta, Buckets::Explicit, 10);
    let count = |rig: &mut Rig, forks| {
        let now = rig.time + 1;
        rig.store
            .add(Metric::ProcessForks, A, AttributesId::EMPTY, forks, now);
    };
    count(&mut rig, 5);
    assert_eq!(ints(&rig.all()), [(1, 10, Some(5))]);
    count(&mut rig, 6);
    assert_eq!(rig.export(&[], |_| false), []);
    // Nothing new, and it is owed all the same.
    assert_eq!(rig.export(&[], |_| false), []);
    count(&mut rig, 1);
    assert_eq!(ints(&rig.all()), [(10, 40, Some(7))]);
    count(&mut rig, 2);
    assert_eq!(ints(&rig.all()), [(40, 50, Some(2))]);
}

#[test]
fn the_last_delta_of_a_series_that_ended_is_told_until_it_is_delivered() {
    let mut rig = Rig::new(Temporality::Delta, Buckets::Explicit, 10);
    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 5, 1);
    rig.all();
    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 6, 11);
    rig.store.expire(15, 1);
    assert_eq!(rig.export(&[], |_| false), []);
    assert!(
        rig.store.is_owner_used(A),
        "its resource is still to be named"
    );
    // It came back meanwhile: one stream of points.
    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 1, 25);
    assert_eq!(ints(&rig.all()), [(10, 30, Some(7))]);
    rig.store.expire(35, 1);
    assert_eq!(rig.all(), []);
    assert_eq!(rig.all(), []);
    assert!(!rig.store.is_owner_used(A));
    assert!(rig.ledger.ends().is_empty());
}

#[test]
fn up_down_counters_tell_what_is_whatever_is_preferred() {
    for temporality in [
        Temporality::Cumulative,
        Temporality::Delta,
        Temporality::LowMemory,
    ] {
        let mut rig = Rig::new(temporality, Buckets::Explicit, 10);
        for time in [1, 11] {
            let active = Metric::TcpConnectionsActive;
            rig.store.add(active, A, AttributesId::EMPTY, 2, time);
            let said = rig.all();
            assert!(!said[0].delta);
            assert_eq!(
                ints(&said),
                [(1, rig.time, Some(i64::try_from(time / 10 * 2 + 2).unwrap()))]
            );
        }
    }
}

#[test]
fn the_agents_own_counters_follow_the_preference() {
    let check = |temporality, delta, values: [(u64, i64); 3]| {
        let mut rig = Rig::new(temporality, Buckets::Explicit, 10);
        for ((start, value), now) in values.into_iter().zip([4, 4, 6]) {
            let own = [(Metric::AgentRecords, now), (Metric::AgentSeries, now)];
            let said = rig.export(&own, |_| true);
            assert_eq!((said[0].delta, said[1].delta), (delta, false));
            let expected = [(start, rig.time, Some(value)), (0, rig.time, Some(now))];
            assert_eq!(ints(&said), expected, "{temporality:?}");
        }
    };
    check(Temporality::Delta, true, [(1, 4), (10, 0), (20, 2)]);
    check(Temporality::LowMemory, false, [(1, 4), (1, 4), (1, 6)]);
    check(Temporality::Cumulative, false, [(1, 4), (1, 4), (1, 6)]);
}

#[test]
fn an_end_is_marked_once() {
    let mut rig = Rig::new(Temporality::Cumulative, Buckets::Explicit, 10);
    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 5, 1);
    rig.store
        .record(Metric::ProcessDuration, A, AttributesId::EMPTY, 0.5, 1);
    assert_eq!(rig.all().len(), 2);
    rig.store.expire(15, 1);
    assert_eq!(rig.export(&[], |_| false), []);
    let said = rig.all();
    let marks: Vec<_> = said
        .iter()
        .map(|it| (it.start, it.time, it.value.clone()))
        .collect();
    assert_eq!(marks, [(1, 30, None), (1, 30, None)]);
    assert_eq!(rig.all(), []);
    assert!(!rig.store.is_owner_used(A));
}

#[test]
fn what_a_series_came_to_is_told_if_it_was_not() {
    let mut rig = Rig::new(Temporality::Cumulative, Buckets::Explicit, 10);
    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 5, 1);
    rig.store.expire(5, 1);
    // It lived between two exports.
    assert_eq!(ints(&rig.all()), [(1, 5, Some(5)), (1, 10, None)]);

    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 1, 11);
    rig.all();
    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 1, 21);
    assert_eq!(rig.export(&[], |_| false), []);
    rig.store.expire(35, 1);
    rig.store
        .add(Metric::ProcessForks, A, AttributesId::EMPTY, 9, 36);
    // The stream goes on, and begins anew.
    assert_eq!(ints(&rig.all()), [(36, 40, Some(9)), (11, 35, Some(2))]);
    assert_eq!(ints(&rig.all()), [(36, 50, Some(9))]);
}

#[test]
fn ends_are_bounded_and_counted() {
    let mut rig = Rig::new(Temporality::Cumulative, Buckets::Explicit, 8);
    for owner in 0..8 {
        rig.store.add(
            Metric::ProcessForks,
            OwnerId(owner + 1),
            AttributesId::EMPTY,
            1,
            1,
        );
    }
    rig.all();
    rig.store.expire(15, 1);
    assert_eq!(rig.counters.discards(Discard::StoreEndsFull), 6);
    assert_eq!(rig.all().len(), 2);
    assert!((0..8).all(|owner| !rig.store.is_owner_used(OwnerId(owner + 1)) || owner > 5));
    rig.all();
    assert!((0..8).all(|owner| !rig.store.is_owner_used(OwnerId(owner + 1))));
}

#[test]
fn an_exemplar_is_told_once() {
    for (temporality, buckets) in [
        (Temporality::Cumulative, Buckets::Explicit),
        (Temporality::Delta, Buckets::Explicit),
        (Temporality::Cumulative, Buckets::Both),
    ] {
        let mut rig = Rig::new(temporality, buckets, 10);
        rig.store = rig.store.with_observations(true);
        let observe = |rig: &mut Rig, seconds| {
            let now = rig.time + 1;
            rig.store.forget_observed();
            rig.store.record(
                Metric::ProcessDuration,
                A,
                AttributesId::EMPTY,
                seconds,
                now,
            );
            let observed = rig.store.observed().to_vec();
            rig.store.exemplify(&observed, &support::span(7).span);
        };
        let exemplars = |said: &[Said]| said.iter().map(|it| it.exemplars).sum::<usize>();
        // Two in one bucket, one in another.
        for seconds in [0.5, 0.6, 5.0] {
            observe(&mut rig, seconds);
        }
        assert_eq!(exemplars(&rig.export(&[], |_| false)), 0);
        assert_eq!(exemplars(&rig.all()), 2, "{temporality:?}");
        assert_eq!(exemplars(&rig.all()), 0);
        observe(&mut rig, 0.5);
        assert_eq!(exemplars(&rig.all()), 1, "{temporality:?}");
    }
}
