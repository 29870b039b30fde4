//! What goes in comes out, for any order of operations.

use proptest::prelude::*;

use super::{lines, port, read, store};
use crate::identity::OwnerId;
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::snapshot::{PointValue, Snapshot};
use crate::telemetry::store::{Measurement, Store};

/// One step of the property test.
#[derive(Clone, Debug)]
enum Step {
    Add {
        metric: usize,
        owner: u32,
        port: i64,
        delta: i64,
        by_handle: bool,
    },
    Expire {
        after: u64,
    },
}

const METRICS: [Metric; 3] = [Metric::TcpIo, Metric::TcpConnectionsActive, Metric::TcpRtt];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        9 => (0..3_usize, 0..4_u32, 0..5_i64, -3..20_i64, any::<bool>())
            .prop_map(|(metric, owner, port, delta, by_handle)| Step::Add { metric, owner, port, delta, by_handle }),
        1 => (0..40_u64).prop_map(|after| Step::Expire { after }),
    ]
}

/// Totals per metric over all points: units, or observations.
fn totals(snapshot: &Snapshot) -> [i64; 3] {
    METRICS.map(|metric| {
        let points = snapshot
            .families
            .iter()
            .filter(|family| family.metric == metric)
            .flat_map(|family| &family.points);
        points
            .map(|point| match &point.value {
                PointValue::Int(value) => *value,
                PointValue::Float(_) => 0,
                PointValue::Histogram(histogram) => histogram
                    .counts
                    .iter()
                    .map(|count| i64::try_from(*count).unwrap())
                    .sum(),
            })
            .sum()
    })
}

/// Applies one measurement; returns what it should add to the metric's total.
fn apply(store: &mut Store, step: (usize, u32, i64, i64, bool), now: u64) -> i64 {
    let (metric, owner, number, delta, by_handle) = step;
    let set = store.intern(&port(number));
    let (change, expected) = match metric {
        0 => (Measurement::Add(delta), delta.max(0)),
        1 => (Measurement::Add(delta), delta),
        _ => (Measurement::Observe(0.01), 1),
    };
    let handle = if by_handle {
        store.series(METRICS[metric], OwnerId(owner), set, now)
    } else {
        None
    };
    if !handle.is_some_and(|handle| store.update(handle, change, now)) {
        store.measure(METRICS[metric], OwnerId(owner), set, change, now);
    }
    expected
}

proptest! {
    #[test]
    fn nothing_is_counted_twice_or_lost(limit in 0..12_usize, steps in proptest::collection::vec(step(), 0..200)) {
        let mut store = store(limit);
        let (mut now, mut expected) = (0, [0_i64; 3]);
        for step in steps {
            now += 1;
            match step {
                Step::Add { metric, owner, port, delta, by_handle } => {
                    expected[metric] += apply(&mut store, (metric, owner, port, delta, by_handle), now);
                }
                Step::Expire { after } => {
                    let before = read(&store);
                    store.expire(now, after);
                    let left = read(&store);
                    let (was, is) = (totals(&before), totals(&left));
                    prop_assert_eq!(was[1], is[1], "an up-down counter lost something");
                    for metric in [0, 2] {
                        expected[metric] -= was[metric] - is[metric];
                    }
                    let (before, left) = (lines(&before), lines(&left));
                    prop_assert!(left.iter().all(|line| before.contains(line)), "expiry changed a series");
                }
            }
            prop_assert!(store.len() <= limit);
            prop_assert_eq!(totals(&read(&store)), expected);
        }
        let negative = read(&store);
        let negative = negative.families.iter().flat_map(|family| &family.points).filter(|point| {
            matches!(point.value, PointValue::Int(value) if value < 0)
        });
        prop_assert!(negative.into_iter().all(|point| point.attributes[0].0 == Attr::MetricOverflow));
    }
}
