//! One consistent reading of the series store. OTLP and Prometheus both export this and nothing else.

use std::sync::Arc;

use super::catalogue::{Attr, Metric};
use crate::identity::{Resource, Value};

/// A reading of every series at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Wall time of the reading, nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// Resources the points refer to by index. The first one is the agent's own (the node).
    pub resources: Vec<Arc<Resource>>,
    /// Metrics that have at least one point, in catalogue order.
    pub families: Vec<Family>,
}

/// All points of one metric.
#[derive(Clone, Debug)]
pub struct Family {
    /// Which metric.
    pub metric: Metric,
    /// Its points; (resource, attributes) is unique among them.
    pub points: Vec<Point>,
}

/// One series at the moment of the snapshot.
#[derive(Clone, Debug)]
pub struct Point {
    /// Index into [`Snapshot::resources`].
    pub resource: usize,
    /// Attributes of the series, keys unique, in key order.
    pub attributes: Arc<[(Attr, Value)]>,
    /// Since when the series counts, nanoseconds since the Unix epoch.
    pub start_unix_nano: u64,
    /// What it stands at.
    pub value: PointValue,
}

/// The value of a point; its shape follows from the metric's instrument.
#[derive(Clone, Debug, PartialEq)]
pub enum PointValue {
    /// Counters and up-down counters of whole units, and whole gauges.
    Int(i64),
    /// Counters of seconds, and fractional gauges.
    Float(f64),
    /// A histogram with the metric's own bounds.
    Histogram(HistogramValue),
}

impl PointValue {
    /// Adds the value of another series of the same metric; another shape changes nothing.
    pub fn add(&mut self, more: &Self) {
        match (self, more) {
            (Self::Int(value), Self::Int(more)) => *value = value.saturating_add(*more),
            (Self::Float(value), Self::Float(more)) => *value += more,
            (Self::Histogram(value), Self::Histogram(more)) => {
                for (count, more) in value.counts.iter_mut().zip(&more.counts) {
                    *count += more;
                }
                value.sum += more.sum;
            }
            (Self::Int(_) | Self::Float(_) | Self::Histogram(_), _) => {}
        }
    }
}

/// An explicit-bounds histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramValue {
    /// Upper bounds, strictly increasing, without the last (infinite) one.
    pub bounds: &'static [f64],
    /// Observations per bucket, not cumulative; one more than `bounds`.
    pub counts: Vec<u64>,
    /// Sum of all observations.
    pub sum: f64,
}

impl HistogramValue {
    /// Nothing observed yet.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// Counts one observation.
    pub fn observe(&mut self, value: f64) {
        count_in_bucket(self.bounds, &mut self.counts, value);
        self.sum += value;
    }
}

/// Counts a value in the bucket it belongs to: a bound is the largest value of its bucket.
pub(super) fn count_in_bucket(bounds: &[f64], counts: &mut [u64], value: f64) {
    let bucket = bounds.partition_point(|bound| *bound < value);
    if let Some(count) = counts.get_mut(bucket) {
        *count += 1;
    }
}
