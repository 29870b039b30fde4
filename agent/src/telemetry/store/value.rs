//! The value of one series.

use crate::telemetry::catalogue::{Instrument, Metric, ValueKind};
use crate::telemetry::snapshot::{HistogramValue, PointValue};

/// One change to a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measurement {
    /// Adds whole units to a counter (never negative) or an up-down counter.
    Add(i64),
    /// Adds seconds to a counter of fractions.
    AddSeconds(f64),
    /// Counts one observation in seconds in a histogram. What is negative or not finite counts as 0.
    Observe(f64),
    /// Sets a gauge of whole units.
    Set(i64),
    /// Sets a gauge of fractions.
    SetFloat(f64),
}

/// Which buckets histograms have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Buckets {
    /// Those of the metric's bounds.
    #[default]
    Explicit,
    /// These, and exponential ones beside them.
    Both,
}

/// Nothing counted yet.
pub(super) fn zero(metric: Metric, buckets: Buckets) -> PointValue {
    match (metric.instrument(), metric.value_kind()) {
        (Instrument::Histogram, _) => HistogramValue::new(metric.bounds())
            .with_exponential(buckets == Buckets::Both)
            .into(),
        (_, ValueKind::Int) => PointValue::Int(0),
        (_, ValueKind::Float) => PointValue::Float(0.0),
    }
}

/// Whole units; 0 where fractions or observations are counted.
pub(super) const fn units(value: &PointValue) -> i64 {
    match value {
        PointValue::Int(units) => *units,
        PointValue::Float(_) | PointValue::Histogram(_) => 0,
    }
}

/// Whether adding would take an up-down counter below zero.
pub(super) const fn would_fall_below_zero(value: &PointValue, delta: i64) -> bool {
    delta < 0 && units(value).saturating_add(delta) < 0
}

/// Applies a change. One that does not fit the metric's instrument is a mistake in the caller.
pub(super) fn apply(value: &mut PointValue, metric: Metric, change: Measurement) {
    match (value, change) {
        (PointValue::Int(value), Measurement::Add(delta)) => {
            let delta = if metric.instrument() == Instrument::Counter {
                delta.max(0)
            } else {
                delta
            };
            *value = value.saturating_add(delta);
        }
        (PointValue::Int(value), Measurement::Set(new)) => *value = new,
        (PointValue::Float(value), Measurement::AddSeconds(seconds)) => *value += usable(seconds),
        (PointValue::Float(value), Measurement::SetFloat(new)) => *value = new,
        (PointValue::Histogram(histogram), Measurement::Observe(seconds)) => {
            histogram.observe(usable(seconds));
        }
        (PointValue::Int(_) | PointValue::Float(_) | PointValue::Histogram(_), _) => {
            debug_assert!(false, "{change:?} does not fit {}", metric.name());
        }
    }
}

/// A clock that was set back must not make a sum shrink.
pub(super) fn usable(seconds: f64) -> f64 {
    if seconds.is_finite() {
        seconds.max(0.0)
    } else {
        0.0
    }
}
