//! The value of one series.

use std::mem::size_of;

use crate::telemetry::catalogue::{Instrument, Metric, ValueKind};
use crate::telemetry::snapshot::{HistogramValue, PointValue, count_in_bucket};

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

/// What a series stands at.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Int(i64),
    Float(f64),
    Histogram { counts: Box<[u64]>, sum: f64 },
}

impl Cell {
    /// Nothing counted yet.
    pub(super) fn zero(metric: Metric) -> Self {
        match (metric.instrument(), metric.value_kind()) {
            (Instrument::Histogram, _) => Self::Histogram {
                counts: vec![0; metric.bounds().len() + 1].into(),
                sum: 0.0,
            },
            (_, ValueKind::Int) => Self::Int(0),
            (_, ValueKind::Float) => Self::Float(0.0),
        }
    }

    /// Whether an up-down counter stands at zero.
    pub(super) fn is_zero(&self) -> bool {
        matches!(self, Self::Int(0))
    }

    /// Whole units; 0 where fractions or observations are counted.
    pub(super) fn units(&self) -> i64 {
        match self {
            Self::Int(value) => *value,
            Self::Float(_) | Self::Histogram { .. } => 0,
        }
    }

    /// Whether adding would take an up-down counter below zero.
    pub(super) fn would_fall_below_zero(&self, delta: i64) -> bool {
        matches!(self, Self::Int(value) if delta < 0 && value.saturating_add(delta) < 0)
    }

    /// Applies a change. One that does not fit the metric's instrument is a mistake in the caller.
    pub(super) fn apply(&mut self, metric: Metric, change: Measurement) {
        match (self, change) {
            (Self::Int(value), Measurement::Add(delta)) => {
                let delta = if metric.instrument() == Instrument::Counter {
                    delta.max(0)
                } else {
                    delta
                };
                *value = value.saturating_add(delta);
            }
            (Self::Int(value), Measurement::Set(new)) => *value = new,
            (Self::Float(value), Measurement::AddSeconds(seconds)) => *value += usable(seconds),
            (Self::Float(value), Measurement::SetFloat(new)) => *value = new,
            (Self::Histogram { counts, sum }, Measurement::Observe(seconds)) => {
                let seconds = usable(seconds);
                count_in_bucket(metric.bounds(), counts, seconds);
                *sum += seconds;
            }
            (Self::Int(_) | Self::Float(_) | Self::Histogram { .. }, _) => {
                debug_assert!(false, "{change:?} does not fit {}", metric.name());
            }
        }
    }

    /// The exported form.
    pub(super) fn into_point(self, metric: Metric) -> PointValue {
        match self {
            Self::Int(value) => PointValue::Int(value),
            Self::Float(value) => PointValue::Float(value),
            Self::Histogram { counts, sum } => PointValue::Histogram(HistogramValue {
                bounds: metric.bounds(),
                counts: counts.into(),
                sum,
            }),
        }
    }

    /// Heap memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Int(_) | Self::Float(_) => 0,
            Self::Histogram { counts, .. } => counts.len() * size_of::<u64>(),
        }
    }
}

/// A clock that was set back must not make a sum shrink.
fn usable(seconds: f64) -> f64 {
    if seconds.is_finite() {
        seconds.max(0.0)
    } else {
        0.0
    }
}
