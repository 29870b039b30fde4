//! Metrics and their points as protobuf: opentelemetry-proto 1.x, `metrics/v1/metrics.proto`.

use prost::encoding::{encode_varint, encoded_len_varint};

use super::super::{
    settings::Temporality,
    size::nested,
    wire::{self, ITEMS, begin, field, field_len, fixed64},
};
use crate::telemetry::histogram::Exponential;
use crate::telemetry::{
    catalogue::{Instrument, Metric},
    snapshot::{Exemplar, HistogramValue, Point, PointValue},
};

// Fields of `Metric` and of what it holds.
const NAME: u32 = 1;
const DESCRIPTION: u32 = 2;
const UNIT: u32 = 3;
const GAUGE: u32 = 5;
const SUM: u32 = 7;
const HISTOGRAM: u32 = 9;
const EXPONENTIAL_HISTOGRAM: u32 = 10;
pub(super) const DATA_POINTS: u32 = 1;
const TEMPORALITY: u32 = 2;
const IS_MONOTONIC: u32 = 3;
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;
/// Temporality and monotonicity.
const DATA_FIELDS_LEN: usize = 4;

// Fields that all data points have, then of each kind.
const START_TIME: u32 = 2;
const TIME: u32 = 3;
const AS_DOUBLE: u32 = 4;
const AS_INT: u32 = 6;
const NUMBER_ATTRIBUTES: u32 = 7;
const NUMBER_FLAGS: u32 = 8;
const COUNT: u32 = 4;
const HISTOGRAM_SUM: u32 = 5;
const BUCKET_COUNTS: u32 = 6;
const EXPLICIT_BOUNDS: u32 = 7;
const HISTOGRAM_EXEMPLARS: u32 = 8;
const HISTOGRAM_ATTRIBUTES: u32 = 9;
const HISTOGRAM_FLAGS: u32 = 10;
const EXPONENTIAL_ATTRIBUTES: u32 = 1;
const SCALE: u32 = 6;
const ZERO_COUNT: u32 = 7;
const POSITIVE: u32 = 8;
const EXPONENTIAL_FLAGS: u32 = 10;
const EXPONENTIAL_EXEMPLARS: u32 = 11;

// Fields of `ExponentialHistogramDataPoint.Buckets`.
const OFFSET: u32 = 1;
const BUCKETS: u32 = 2;

// Fields of `Exemplar`.
const EXEMPLAR_TIME: u32 = 2;
const EXEMPLAR_AS_DOUBLE: u32 = 3;
const SPAN_ID: u32 = 4;
const TRACE_ID: u32 = 5;

/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u64 = 1;

/// What OTLP makes of an instrument and the value found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sum { monotonic: bool, delta: bool },
    Gauge,
    Histogram { delta: bool },
    Exponential { delta: bool },
}

impl Kind {
    pub(super) fn of(metric: Metric, value: &PointValue, temporality: Temporality) -> Self {
        let delta = temporality.is_delta(metric);
        match (metric.instrument(), value) {
            (_, PointValue::Histogram(histogram)) if histogram.exponential.is_some() => {
                Self::Exponential { delta }
            }
            (_, PointValue::Histogram(_)) => Self::Histogram { delta },
            (Instrument::Counter, _) => Self::Sum {
                monotonic: true,
                delta,
            },
            (Instrument::UpDownCounter, _) => Self::Sum {
                monotonic: false,
                delta,
            },
            (Instrument::Gauge | Instrument::Histogram, _) => Self::Gauge,
        }
    }

    const fn field(self) -> u32 {
        match self {
            Self::Sum { .. } => SUM,
            Self::Gauge => GAUGE,
            Self::Histogram { .. } => HISTOGRAM,
            Self::Exponential { .. } => EXPONENTIAL_HISTOGRAM,
        }
    }

    const fn is_delta(self) -> Option<bool> {
        match self {
            Self::Gauge => None,
            Self::Sum { delta, .. } | Self::Histogram { delta } | Self::Exponential { delta } => {
                Some(delta)
            }
        }
    }

    const fn attributes(self) -> u32 {
        match self {
            Self::Sum { .. } | Self::Gauge => NUMBER_ATTRIBUTES,
            Self::Histogram { .. } => HISTOGRAM_ATTRIBUTES,
            Self::Exponential { .. } => EXPONENTIAL_ATTRIBUTES,
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::Sum { .. } | Self::Gauge => NUMBER_FLAGS,
            Self::Histogram { .. } => HISTOGRAM_FLAGS,
            Self::Exponential { .. } => EXPONENTIAL_FLAGS,
        }
    }
}

/// A point as it is told.
pub(super) struct PointAt<'a> {
    pub(super) point: &'a Point,
    pub(super) time_unix_nano: u64,
    /// It only says that the series has no value any more.
    pub(super) is_mark: bool,
    /// The number of the reading that was delivered last.
    pub(super) delivered: u64,
}

/// The most that a metric takes up in its scope beside its points.
pub(super) const fn metric_len(metric: Metric) -> usize {
    let texts = nested(metric.name().len())
        + nested(metric.description().len())
        + nested(metric.unit().len());
    nested(texts + nested(DATA_FIELDS_LEN))
}

/// Writes a metric; `points` are the fields of its points.
pub(super) fn write_metric(out: &mut Vec<u8>, metric: Metric, kind: Kind, points: &[u8]) {
    let mut about = Vec::with_capacity(DATA_FIELDS_LEN);
    if let Some(delta) = kind.is_delta() {
        let temporality = if delta { DELTA } else { CUMULATIVE };
        wire::varint(&mut about, TEMPORALITY, temporality);
    }
    if matches!(
        kind,
        Kind::Sum {
            monotonic: true,
            ..
        }
    ) {
        wire::varint(&mut about, IS_MONOTONIC, 1);
    }
    let data = points.len() + about.len();
    let texts = [
        (NAME, metric.name()),
        (DESCRIPTION, metric.description()),
        (UNIT, metric.unit()),
    ];
    let length: usize = texts.iter().map(|(_, text)| field_len(text.len())).sum();
    begin(out, ITEMS, length + field_len(data));
    for (number, text) in texts {
        field(out, number, text.as_bytes());
    }
    begin(out, kind.field(), data);
    out.extend_from_slice(points);
    out.extend_from_slice(&about);
}

/// Writes a point.
pub(super) fn write(out: &mut Vec<u8>, told: &PointAt<'_>, kind: Kind) {
    let point = told.point;
    // A gauge says what is now, not what came together since.
    if kind != Kind::Gauge {
        fixed64(out, START_TIME, point.start_unix_nano);
    }
    fixed64(out, TIME, told.time_unix_nano);
    if told.is_mark {
        wire::varint(out, kind.flags(), NO_RECORDED_VALUE);
    } else {
        match &point.value {
            PointValue::Int(value) => fixed64(out, AS_INT, value.cast_unsigned()),
            PointValue::Float(value) => fixed64(out, AS_DOUBLE, value.to_bits()),
            PointValue::Histogram(histogram) => write_histogram(out, histogram, told),
        }
    }
    for (key, value) in point.attributes.iter() {
        wire::attribute(out, kind.attributes(), key.key(), value);
    }
}

fn write_histogram(out: &mut Vec<u8>, histogram: &HistogramValue, told: &PointAt<'_>) {
    fixed64(out, COUNT, histogram.count());
    fixed64(out, HISTOGRAM_SUM, histogram.sum.to_bits());
    let exemplars = if let Some(exponential) = &histogram.exponential {
        write_exponential(out, exponential);
        EXPONENTIAL_EXEMPLARS
    } else {
        write_explicit(out, histogram);
        HISTOGRAM_EXEMPLARS
    };
    // Those that were not told yet, of the time that the point is about.
    let times = told.point.start_unix_nano..=told.time_unix_nano;
    for exemplar in &histogram.exemplars {
        if exemplar.mark >= told.delivered && times.contains(&exemplar.time_unix_nano) {
            write_exemplar(out, exemplars, exemplar);
        }
    }
}

fn write_explicit(out: &mut Vec<u8>, histogram: &HistogramValue) {
    let packed = |out: &mut Vec<u8>, number, values: &mut dyn ExactSizeIterator<Item = u64>| {
        begin(out, number, values.len() * size_of::<u64>());
        for value in values {
            out.extend_from_slice(&value.to_le_bytes());
        }
    };
    packed(out, BUCKET_COUNTS, &mut histogram.counts.iter().copied());
    packed(
        out,
        EXPLICIT_BOUNDS,
        &mut histogram.bounds.iter().map(|bound| bound.to_bits()),
    );
}

fn write_exponential(out: &mut Vec<u8>, histogram: &Exponential) {
    wire::varint(out, SCALE, zigzag(histogram.scale()));
    fixed64(out, ZERO_COUNT, histogram.zeros());
    let counts = histogram.counts();
    let packed: usize = counts.iter().copied().map(encoded_len_varint).sum();
    let mut buckets = Vec::with_capacity(packed + 2 * nested(0));
    wire::varint(&mut buckets, OFFSET, zigzag(histogram.offset()));
    begin(&mut buckets, BUCKETS, packed);
    for count in counts {
        encode_varint(*count, &mut buckets);
    }
    field(out, POSITIVE, &buckets);
}

fn write_exemplar(out: &mut Vec<u8>, number: u32, exemplar: &Exemplar) {
    // Two numbers of eight bytes with their keys.
    let numbers = 2 * (1 + size_of::<u64>());
    let ids = field_len(exemplar.span_id.len()) + field_len(exemplar.trace_id.len());
    begin(out, number, numbers + ids);
    fixed64(out, EXEMPLAR_TIME, exemplar.time_unix_nano);
    fixed64(out, EXEMPLAR_AS_DOUBLE, exemplar.value.to_bits());
    field(out, SPAN_ID, &exemplar.span_id);
    field(out, TRACE_ID, &exemplar.trace_id);
}

/// A number with a sign as `sint32` has it.
fn zigzag(number: i32) -> u64 {
    u64::from(((number << 1) ^ (number >> 31)).cast_unsigned())
}
