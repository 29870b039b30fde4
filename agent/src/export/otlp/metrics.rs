//! A reading of the series store as export requests of bounded size.

use std::{sync::Arc, vec};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
    },
};
use prost::Message as _;

use super::{
    common::{self, SCHEMA_URL},
    size::{Budget, Fit, nested},
};
use crate::telemetry::{
    catalogue::Instrument,
    snapshot::{HistogramValue, Point, PointValue, Snapshot},
};

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

/// A request and what it holds.
#[derive(Debug)]
pub(super) struct MetricRequest {
    pub(super) message: ExportMetricsServiceRequest,
    pub(super) points: u64,
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
    type Item = MetricRequest;

    fn next(&mut self) -> Option<MetricRequest> {
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

/// One request being put together.
struct Builder<'a> {
    snapshot: &'a Snapshot,
    budget: Budget,
    resources: Vec<ResourceMetrics>,
    last: Option<(Place, Kind)>,
    points: u64,
}

/// What OTLP makes of an instrument and the value found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum { monotonic: bool },
    Gauge,
    Histogram,
}

impl<'a> Builder<'a> {
    const fn new(snapshot: &'a Snapshot, limit: usize) -> Self {
        Self {
            snapshot,
            budget: Budget::new(limit),
            resources: Vec::new(),
            last: None,
            points: 0,
        }
    }

    fn add(&mut self, place: Place) -> Fit {
        let family = &self.snapshot.families[place.family];
        let point = &family.points[place.point];
        let kind = Kind::of(family.metric.instrument(), &point.value);

        let new_resource = self
            .last
            .is_none_or(|(last, _)| last.resource != place.resource);
        let new_metric = new_resource
            || self
                .last
                .is_none_or(|(last, last_kind)| last.family != place.family || last_kind != kind);
        let point = DataPoint::new(point, kind, self.snapshot.time_unix_nano);
        let resource = new_resource.then(|| envelope(self.snapshot, place.resource));
        let metric = new_metric.then(|| empty_metric(self.snapshot, place.family, kind));

        // The scope's metrics and the metric's data are one level deeper than what is empty yet shows.
        let bytes = nested(point.encoded_len())
            + resource
                .as_ref()
                .map_or(0, |resource| nested(nested(resource.encoded_len())))
            + metric
                .as_ref()
                .map_or(0, |metric| nested(nested(metric.encoded_len())));
        let fit = self.budget.reserve(bytes);
        if fit != Fit::Yes {
            return fit;
        }

        self.resources.extend(resource);
        let scope = self
            .resources
            .last_mut()
            .and_then(|resource| resource.scope_metrics.last_mut());
        if let Some(scope) = scope {
            scope.metrics.extend(metric);
            if let Some(data) = scope
                .metrics
                .last_mut()
                .and_then(|metric| metric.data.as_mut())
            {
                point.push_to(data);
            }
        }
        self.last = Some((place, kind));
        self.points += 1;
        Fit::Yes
    }

    /// `None` if nothing is in it.
    fn finish(self) -> Option<MetricRequest> {
        (self.points > 0).then_some(MetricRequest {
            message: ExportMetricsServiceRequest {
                resource_metrics: self.resources,
            },
            points: self.points,
        })
    }
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

    const fn empty(self) -> Data {
        let aggregation_temporality = AggregationTemporality::Cumulative as i32;
        match self {
            Self::Sum { monotonic } => Data::Sum(Sum {
                data_points: Vec::new(),
                aggregation_temporality,
                is_monotonic: monotonic,
            }),
            Self::Gauge => Data::Gauge(Gauge {
                data_points: Vec::new(),
            }),
            Self::Histogram => Data::Histogram(Histogram {
                data_points: Vec::new(),
                aggregation_temporality,
            }),
        }
    }
}

fn envelope(snapshot: &Snapshot, resource: usize) -> ResourceMetrics {
    ResourceMetrics {
        resource: Some(common::resource(&snapshot.resources[resource])),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(common::scope()),
            metrics: Vec::new(),
            schema_url: SCHEMA_URL.to_owned(),
        }],
        schema_url: SCHEMA_URL.to_owned(),
    }
}

fn empty_metric(snapshot: &Snapshot, family: usize, kind: Kind) -> Metric {
    let metric = snapshot.families[family].metric;
    Metric {
        name: metric.name().to_owned(),
        description: metric.description().to_owned(),
        unit: metric.unit().to_owned(),
        metadata: Vec::new(),
        data: Some(kind.empty()),
    }
}

enum DataPoint {
    Number(NumberDataPoint),
    Histogram(HistogramDataPoint),
}

impl DataPoint {
    fn new(point: &Point, kind: Kind, time_unix_nano: u64) -> Self {
        let attributes = point
            .attributes
            .iter()
            .map(|(key, value)| common::attribute(key.key(), value))
            .collect();
        // A gauge says what is now, not what came together since.
        let start_time_unix_nano = if kind == Kind::Gauge {
            0
        } else {
            point.start_unix_nano
        };
        let number = |attributes, value| {
            Self::Number(NumberDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                value: Some(value),
                ..NumberDataPoint::default()
            })
        };
        match &point.value {
            PointValue::Int(value) => number(attributes, number_data_point::Value::AsInt(*value)),
            PointValue::Float(value) => {
                number(attributes, number_data_point::Value::AsDouble(*value))
            }
            PointValue::Histogram(HistogramValue {
                bounds,
                counts,
                sum,
            }) => Self::Histogram(HistogramDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count: counts.iter().sum(),
                sum: Some(*sum),
                bucket_counts: counts.clone(),
                explicit_bounds: bounds.to_vec(),
                ..HistogramDataPoint::default()
            }),
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Number(point) => point.encoded_len(),
            Self::Histogram(point) => point.encoded_len(),
        }
    }

    /// Points of one [`Kind`] are of one shape, so that each finds its list.
    fn push_to(self, data: &mut Data) {
        match (self, data) {
            (Self::Number(point), Data::Sum(sum)) => sum.data_points.push(point),
            (Self::Number(point), Data::Gauge(gauge)) => gauge.data_points.push(point),
            (Self::Histogram(point), Data::Histogram(histogram)) => {
                histogram.data_points.push(point);
            }
            (Self::Number(_) | Self::Histogram(_), _) => {
                debug_assert!(false, "shape differs from kind");
            }
        }
    }
}
