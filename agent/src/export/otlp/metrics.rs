//! A reading of the series store as export requests of bounded size.

use std::{sync::Arc, vec};

use bytes::Bytes;
use prost::Message as _;

use super::{
    common::{self, SCHEMA_URL},
    grouped::Request,
    size::{Budget, Fit, MAX_REQUEST, nested},
    wire::{self, ITEMS, begin, field, field_len, fixed64},
};
use crate::telemetry::{
    catalogue::{Instrument, Metric},
    snapshot::{HistogramValue, Point, PointValue, Snapshot},
};

/// The bodies of the requests that a reading becomes, each encoded when it is asked for.
pub fn metric_requests(snapshot: Arc<Snapshot>) -> impl Iterator<Item = Bytes> {
    MetricRequests::new(snapshot, MAX_REQUEST).map(|request| request.body)
}

/// Cuts a reading into requests, one at a time, so that only one of them is in memory.
pub(super) struct MetricRequests {
    snapshot: Arc<Snapshot>,
    order: vec::IntoIter<Place>,
    limit: usize,
    too_large: u64,
}

/// Where a point is found. Ordered as points are sent: a resource's points together, by metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    resource: usize,
    family: usize,
    point: usize,
}

impl MetricRequests {
    /// `limit` is the most bytes a request may take encoded.
    pub(super) fn new(snapshot: Arc<Snapshot>, limit: usize) -> Self {
        let mut order: Vec<Place> = snapshot
            .families
            .iter()
            .enumerate()
            .flat_map(|(family, found)| {
                let points = found.points.iter().enumerate();
                points.map(move |(point, at)| Place {
                    resource: at.resource,
                    family,
                    point,
                })
            })
            .collect();
        order.sort_unstable();
        Self {
            snapshot,
            order: order.into_iter(),
            limit,
            too_large: 0,
        }
    }

    /// Points left out so far because each alone is larger than a request may be.
    pub(super) const fn too_large(&self) -> u64 {
        self.too_large
    }
}

impl Iterator for MetricRequests {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let mut builder = Builder::new(&self.snapshot, self.limit);
        while let Some(&place) = self.order.as_slice().first() {
            match builder.add(place) {
                Fit::Yes => {}
                Fit::Later => break,
                Fit::Never => self.too_large += 1,
            }
            self.order.next();
        }
        builder.finish()
    }
}

/// One request being put together, from the inside out: what is around something is written once its length is known.
struct Builder<'a> {
    snapshot: &'a Snapshot,
    budget: Budget,
    scope: Vec<u8>,
    /// Groups that are whole.
    groups: Vec<u8>,
    resource: Option<OpenResource>,
    metric: Option<OpenMetric>,
    /// The point that is looked at.
    point: Vec<u8>,
    points: u64,
}

struct OpenResource {
    index: usize,
    encoded: Vec<u8>,
    /// Metrics that are whole.
    metrics: Vec<u8>,
}

struct OpenMetric {
    family: usize,
    kind: Kind,
    points: Vec<u8>,
}

impl<'a> Builder<'a> {
    fn new(snapshot: &'a Snapshot, limit: usize) -> Self {
        Self {
            snapshot,
            budget: Budget::new(limit),
            scope: common::scope().encode_to_vec(),
            groups: Vec::new(),
            resource: None,
            metric: None,
            point: Vec::new(),
            points: 0,
        }
    }

    fn add(&mut self, place: Place) -> Fit {
        let family = &self.snapshot.families[place.family];
        let point = &family.points[place.point];
        let kind = Kind::of(family.metric.instrument(), &point.value);
        self.point.clear();
        write_point(&mut self.point, point, kind, self.snapshot.time_unix_nano);

        let same_resource = self
            .resource
            .as_ref()
            .is_some_and(|open| open.index == place.resource);
        let same_metric = same_resource
            && self
                .metric
                .as_ref()
                .is_some_and(|open| (open.family, open.kind) == (place.family, kind));
        let resource = (!same_resource)
            .then(|| common::resource(&self.snapshot.resources[place.resource]).encode_to_vec());
        let around = resource
            .as_ref()
            .map_or(0, |resource| around_len(resource.len(), &self.scope))
            + if same_metric {
                0
            } else {
                metric_len(family.metric)
            };
        let fit = self.budget.reserve(nested(self.point.len()) + around);
        if fit != Fit::Yes {
            return fit;
        }

        if let Some(encoded) = resource {
            self.close_resource();
            self.resource = Some(OpenResource {
                index: place.resource,
                encoded,
                metrics: Vec::new(),
            });
        }
        if !same_metric {
            self.close_metric();
            self.metric = Some(OpenMetric {
                family: place.family,
                kind,
                points: Vec::new(),
            });
        }
        if let Some(metric) = &mut self.metric {
            field(&mut metric.points, DATA_POINTS, &self.point);
        }
        self.points += 1;
        Fit::Yes
    }

    fn close_metric(&mut self) {
        let (Some(open), Some(resource)) = (self.metric.take(), &mut self.resource) else {
            return;
        };
        let metric = self.snapshot.families[open.family].metric;
        write_metric(&mut resource.metrics, metric, &open);
    }

    fn close_resource(&mut self) {
        self.close_metric();
        let Some(open) = self.resource.take() else {
            return;
        };
        wire::group(
            &mut self.groups,
            &open.encoded,
            &self.scope,
            open.metrics.len(),
            |out| out.extend_from_slice(&open.metrics),
        );
    }

    /// `None` if nothing is in it.
    fn finish(mut self) -> Option<Request> {
        self.close_resource();
        (self.points > 0).then(|| Request {
            body: self.groups.into(),
            items: self.points,
        })
    }
}

/// The most that a group takes up in a request beside its metrics.
const fn around_len(resource: usize, scope: &[u8]) -> usize {
    nested(
        nested(resource)
            + nested(nested(scope.len()) + nested(SCHEMA_URL.len()))
            + nested(SCHEMA_URL.len()),
    )
}

/// The most that a metric takes up in its scope beside its points.
const fn metric_len(metric: Metric) -> usize {
    let texts = nested(metric.name().len())
        + nested(metric.description().len())
        + nested(metric.unit().len());
    nested(texts + nested(DATA_FIELDS_LEN))
}

// Fields of `metrics.v1.Metric` and of what it holds.
const NAME: u32 = 1;
const DESCRIPTION: u32 = 2;
const UNIT: u32 = 3;
const GAUGE: u32 = 5;
const SUM: u32 = 7;
const HISTOGRAM: u32 = 9;
const DATA_POINTS: u32 = 1;
const TEMPORALITY: u32 = 2;
const IS_MONOTONIC: u32 = 3;
const CUMULATIVE: u64 = 2;
/// Temporality and monotonicity.
const DATA_FIELDS_LEN: usize = 4;

// Fields of both `NumberDataPoint` and `HistogramDataPoint`, then of one of them.
const START_TIME: u32 = 2;
const TIME: u32 = 3;
const AS_DOUBLE: u32 = 4;
const AS_INT: u32 = 6;
const NUMBER_ATTRIBUTES: u32 = 7;
const COUNT: u32 = 4;
const HISTOGRAM_SUM: u32 = 5;
const BUCKET_COUNTS: u32 = 6;
const EXPLICIT_BOUNDS: u32 = 7;
const HISTOGRAM_ATTRIBUTES: u32 = 9;

/// What OTLP makes of an instrument and the value found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum { monotonic: bool },
    Gauge,
    Histogram,
}

impl Kind {
    const fn of(instrument: Instrument, value: &PointValue) -> Self {
        match (instrument, value) {
            (_, PointValue::Histogram(_)) => Self::Histogram,
            (Instrument::Counter, _) => Self::Sum { monotonic: true },
            (Instrument::UpDownCounter, _) => Self::Sum { monotonic: false },
            (Instrument::Gauge | Instrument::Histogram, _) => Self::Gauge,
        }
    }

    const fn field(self) -> u32 {
        match self {
            Self::Sum { .. } => SUM,
            Self::Gauge => GAUGE,
            Self::Histogram => HISTOGRAM,
        }
    }
}

fn write_metric(out: &mut Vec<u8>, metric: Metric, open: &OpenMetric) {
    let mut about = Vec::with_capacity(DATA_FIELDS_LEN);
    match open.kind {
        Kind::Gauge => {}
        Kind::Histogram => wire::varint(&mut about, TEMPORALITY, CUMULATIVE),
        Kind::Sum { monotonic } => {
            wire::varint(&mut about, TEMPORALITY, CUMULATIVE);
            if monotonic {
                wire::varint(&mut about, IS_MONOTONIC, 1);
            }
        }
    }
    let data = open.points.len() + about.len();
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
    begin(out, open.kind.field(), data);
    out.extend_from_slice(&open.points);
    out.extend_from_slice(&about);
}

fn write_point(out: &mut Vec<u8>, point: &Point, kind: Kind, time_unix_nano: u64) {
    // A gauge says what is now, not what came together since.
    if kind != Kind::Gauge {
        fixed64(out, START_TIME, point.start_unix_nano);
    }
    fixed64(out, TIME, time_unix_nano);
    let attributes = match &point.value {
        PointValue::Int(value) => {
            fixed64(out, AS_INT, value.cast_unsigned());
            NUMBER_ATTRIBUTES
        }
        PointValue::Float(value) => {
            fixed64(out, AS_DOUBLE, value.to_bits());
            NUMBER_ATTRIBUTES
        }
        PointValue::Histogram(histogram) => {
            write_histogram(out, histogram);
            HISTOGRAM_ATTRIBUTES
        }
    };
    for (key, value) in point.attributes.iter() {
        wire::attribute(out, attributes, key.key(), value);
    }
}

fn write_histogram(out: &mut Vec<u8>, histogram: &HistogramValue) {
    let HistogramValue {
        bounds,
        counts,
        sum,
    } = histogram;
    fixed64(out, COUNT, counts.iter().sum());
    fixed64(out, HISTOGRAM_SUM, sum.to_bits());
    let packed = |out: &mut Vec<u8>, number, values: &mut dyn ExactSizeIterator<Item = u64>| {
        begin(out, number, values.len() * size_of::<u64>());
        for value in values {
            out.extend_from_slice(&value.to_le_bytes());
        }
    };
    packed(out, BUCKET_COUNTS, &mut counts.iter().copied());
    packed(
        out,
        EXPLICIT_BOUNDS,
        &mut bounds.iter().map(|bound| bound.to_bits()),
    );
}
