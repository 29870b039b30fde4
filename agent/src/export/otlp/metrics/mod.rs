//! A reading of the series store as export requests of bounded size.

mod points;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use prost::Message as _;

use self::points::{Kind, PointAt};
use super::{
    common::{self, SCHEMA_URL},
    grouped::Request,
    settings::Temporality,
    size::{Budget, Fit, MAX_REQUEST, nested},
    wire::{self, field},
};
use crate::telemetry::{
    catalogue::Metric,
    snapshot::{Point, Snapshot},
    store::SeriesId,
};

/// The bodies of the requests that a reading becomes, each encoded when it is asked for.
pub fn metric_requests(snapshot: Arc<Snapshot>) -> impl Iterator<Item = Bytes> {
    MetricRequests::new(snapshot, Form::default(), MAX_REQUEST).map(|request| request.body)
}

/// How a reading is told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    /// What the values of the reading are.
    pub(super) temporality: Temporality,
    /// The number of the reading that was delivered last: what did not change since need not be told again.
    pub(super) delivered: u64,
}

/// Cuts a reading into requests, one at a time, so that only one of them is in memory.
pub(super) struct MetricRequests {
    snapshot: Arc<Snapshot>,
    form: Form,
    order: Vec<Place>,
    /// Those of the last request.
    last: Range<usize>,
    limit: usize,
    too_large: u64,
}

/// Where a point is found. Ordered as points are sent: a resource's points together, by metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    resource: u32,
    metric: Metric,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A point of a family.
    Point { family: u32, point: u32 },
    /// What a series came to that ended.
    Last(u32),
    /// That it ended.
    Mark(u32),
}

/// What a request told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told<'a> {
    /// A point.
    Point(Metric, &'a Point),
    /// The end of a series, and what it came to.
    End(SeriesId),
}

impl MetricRequests {
    /// `limit` is the most bytes a request may take encoded.
    pub(super) fn new(snapshot: Arc<Snapshot>, form: Form, limit: usize) -> Self {
        let points = (0_u32..)
            .zip(&snapshot.families)
            .flat_map(|(family, found)| {
                let points = (0_u32..).zip(&found.points);
                points.map(move |(point, at)| {
                    Place::of(at, found.metric, What::Point { family, point })
                })
            });
        let ended = (0_u32..).zip(&snapshot.ended).flat_map(|(index, ended)| {
            let changed = ended.changed.filter(|changed| *changed >= form.delivered);
            let last = changed.map(|_| What::Last(index));
            let mark = (!ended.goes_on).then_some(What::Mark(index));
            let what = [last, mark].into_iter().flatten();
            what.map(|what| Place::of(&ended.point, ended.metric, what))
        });
        let mut order: Vec<Place> = points.chain(ended).collect();
        order.sort_unstable();
        Self {
            snapshot,
            form,
            order,
            last: 0..0,
            limit,
            too_large: 0,
        }
    }

    /// Points left out so far because each alone is larger than a request may be.
    pub(super) const fn too_large(&self) -> u64 {
        self.too_large
    }

    /// What the last request told, and what was too large for any up to there.
    pub(super) fn told(&self) -> impl Iterator<Item = Told<'_>> {
        let places = self.order.get(self.last.clone()).unwrap_or_default();
        places.iter().filter_map(|place| {
            let point = place.point(&self.snapshot);
            match place.what {
                What::Point { .. } => Some(Told::Point(place.metric, point)),
                What::Mark(_) => Some(Told::End(point.series)),
                What::Last(index) => {
                    let goes_on = self.snapshot.ended[index as usize].goes_on;
                    goes_on.then_some(Told::End(point.series))
                }
            }
        })
    }
}

impl Place {
    fn of(point: &Point, metric: Metric, what: What) -> Self {
        Self {
            resource: u32::try_from(point.resource).unwrap_or(u32::MAX),
            metric,
            what,
        }
    }

    fn point(self, snapshot: &Snapshot) -> &Point {
        match self.what {
            What::Point { family, point } => {
                &snapshot.families[family as usize].points[point as usize]
            }
            What::Last(index) | What::Mark(index) => &snapshot.ended[index as usize].point,
        }
    }

    /// As it is told.
    fn told(self, snapshot: &Snapshot, form: Form) -> PointAt<'_> {
        let (time_unix_nano, is_mark) = match self.what {
            What::Point { .. } => (snapshot.time_unix_nano, false),
            What::Last(index) => (snapshot.ended[index as usize].end_unix_nano, false),
            What::Mark(_) => (snapshot.time_unix_nano, true),
        };
        PointAt {
            point: self.point(snapshot),
            time_unix_nano,
            is_mark,
            delivered: form.delivered,
        }
    }
}

impl Iterator for MetricRequests {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let mut builder = Builder::new(&self.snapshot, self.form, self.limit);
        self.last = self.last.end..self.last.end;
        while let Some(&place) = self.order.get(self.last.end) {
            match builder.add(place) {
                Fit::Yes => {}
                Fit::Later => break,
                Fit::Never => self.too_large += 1,
            }
            self.last.end += 1;
        }
        builder.finish()
    }
}

/// One request being put together, from the inside out: what is around something is written once its length is known.
struct Builder<'a> {
    snapshot: &'a Snapshot,
    form: Form,
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
    index: u32,
    encoded: Vec<u8>,
    /// Metrics that are whole.
    metrics: Vec<u8>,
}

struct OpenMetric {
    metric: Metric,
    kind: Kind,
    points: Vec<u8>,
}

impl<'a> Builder<'a> {
    fn new(snapshot: &'a Snapshot, form: Form, limit: usize) -> Self {
        Self {
            snapshot,
            form,
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
        let metric = place.metric;
        let point = place.told(self.snapshot, self.form);
        let kind = Kind::of(metric, &point.point.value, self.form.temporality);
        self.point.clear();
        points::write(&mut self.point, &point, kind);

        let same_resource = self
            .resource
            .as_ref()
            .is_some_and(|open| open.index == place.resource);
        let same_metric = same_resource
            && self
                .metric
                .as_ref()
                .is_some_and(|open| (open.metric, open.kind) == (metric, kind));
        let resource = (!same_resource).then(|| {
            common::resource(&self.snapshot.resources[point.point.resource]).encode_to_vec()
        });
        let around = resource
            .as_ref()
            .map_or(0, |resource| around_len(resource.len(), &self.scope))
            + if same_metric {
                0
            } else {
                points::metric_len(metric)
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
                metric,
                kind,
                points: Vec::new(),
            });
        }
        if let Some(metric) = &mut self.metric {
            field(&mut metric.points, points::DATA_POINTS, &self.point);
        }
        self.points += 1;
        Fit::Yes
    }

    fn close_metric(&mut self) {
        if let (Some(open), Some(resource)) = (self.metric.take(), &mut self.resource) {
            points::write_metric(&mut resource.metrics, open.metric, open.kind, &open.points);
        }
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
