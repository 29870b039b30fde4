//! One consistent reading of the series store. OTLP and Prometheus both export this and nothing else.

use std::mem::size_of;
use std::sync::Arc;

use super::catalogue::{Attr, Metric};
pub use super::histogram::{Exemplar, HistogramValue};
use super::store::SeriesId;
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
    /// Series that ended; only where the reading was taken for export.
    pub ended: Vec<Ended>,
    /// Of points that are several series, the first and each of the others.
    pub joined: Vec<(SeriesId, SeriesId)>,
    /// How many readings for export there were with this one; 0 if it is none itself.
    pub number: u64,
}

impl Snapshot {
    /// The same without what the agent tells of itself.
    #[must_use]
    pub fn of_workloads(mut self) -> Self {
        self.families.retain(|family| !family.metric.is_of_agent());
        self
    }
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
    /// Which series of the store it is; [`SeriesId::NONE`] if it is of none.
    pub series: SeriesId,
}

/// A series that ended, and what it stood at.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Of which metric.
    pub metric: Metric,
    /// What it came to.
    pub point: Point,
    /// When, nanoseconds since the Unix epoch.
    pub end_unix_nano: u64,
    /// How many readings for export there were before it changed last; `None` if its value tells nothing, because the same
    /// point is of other series too.
    pub changed: Option<u64>,
    /// Another series has the same resource, metric and attributes, and goes on or ended later.
    pub goes_on: bool,
}

/// The value of a point; its shape follows from the metric's instrument.
#[derive(Clone, Debug, PartialEq)]
pub enum PointValue {
    /// Counters and up-down counters of whole units, and whole gauges.
    Int(i64),
    /// Counters of seconds, and fractional gauges.
    Float(f64),
    /// A histogram with the metric's own bounds.
    Histogram(Box<HistogramValue>),
}

impl From<HistogramValue> for PointValue {
    fn from(histogram: HistogramValue) -> Self {
        Self::Histogram(Box::new(histogram))
    }
}

impl PointValue {
    /// Adds the value of another series of the same metric; another shape changes nothing.
    pub fn add(&mut self, more: &Self) {
        match (self, more) {
            (Self::Int(value), Self::Int(more)) => *value = value.saturating_add(*more),
            (Self::Float(value), Self::Float(more)) => *value += more,
            (Self::Histogram(value), Self::Histogram(more)) => value.add(more),
            (Self::Int(_) | Self::Float(_) | Self::Histogram(_), _) => {}
        }
    }

    /// Takes away what the same series stood at earlier.
    pub fn subtract(&mut self, earlier: &Self) {
        match (self, earlier) {
            (Self::Int(value), Self::Int(earlier)) => *value = value.saturating_sub(*earlier),
            (Self::Float(value), Self::Float(earlier)) => *value -= earlier,
            (Self::Histogram(value), Self::Histogram(earlier)) => value.subtract(earlier),
            (Self::Int(_) | Self::Float(_) | Self::Histogram(_), _) => {}
        }
    }

    /// A number that is another one once a counter or histogram has grown, and 0 before it has.
    pub fn progress(&self) -> u64 {
        match self {
            Self::Int(value) => value.cast_unsigned(),
            Self::Float(value) => value.to_bits(),
            Self::Histogram(histogram) => histogram.count(),
        }
    }

    /// Heap memory it takes beside itself, bytes.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Int(_) | Self::Float(_) => 0,
            Self::Histogram(histogram) => size_of::<HistogramValue>() + histogram.heap_bytes(),
        }
    }
}
