//! Looking things up in a snapshot of the series store.

use wellhead::identity::{Resource, Value};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::{Point, PointValue, Snapshot};

/// An attribute as a test writes it.
pub type Pair<'a> = (Attr, &'a str);

/// Points of a metric that have all these attributes.
pub fn points<'a>(
    snapshot: &'a Snapshot,
    metric: Metric,
    having: &'a [Pair<'a>],
) -> impl Iterator<Item = &'a Point> {
    snapshot
        .families
        .iter()
        .filter(move |family| family.metric == metric)
        .flat_map(|family| &family.points)
        .filter(move |point| {
            having
                .iter()
                .all(|(attr, text)| attribute(point, *attr).is_some_and(|value| value == *text))
        })
}

/// The sum of a metric's points that have all these attributes; of a histogram, the number of its observations.
pub fn total(snapshot: &Snapshot, metric: Metric, having: &[Pair<'_>]) -> i64 {
    points(snapshot, metric, having).map(total_of).sum()
}

/// The sum of the seconds that points of a counter of fractions stand at, or were observed of a histogram, that have all these
/// attributes.
pub fn seconds(snapshot: &Snapshot, metric: Metric, having: &[Pair<'_>]) -> f64 {
    points(snapshot, metric, having)
        .map(|point| match &point.value {
            PointValue::Float(seconds) => *seconds,
            PointValue::Histogram(histogram) => histogram.sum,
            PointValue::Int(_) => f64::NAN,
        })
        .sum()
}

/// What a point stands at; of a histogram, the number of its observations.
pub fn total_of(point: &Point) -> i64 {
    match &point.value {
        PointValue::Int(number) => *number,
        PointValue::Histogram(histogram) => {
            let observations: u64 = histogram.counts.iter().sum();
            i64::try_from(observations).unwrap_or(i64::MAX)
        }
        // No counter of fractions is counted in tests.
        PointValue::Float(_) => i64::MIN,
    }
}

/// A count as totals are given.
pub fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// An attribute of a point as text.
pub fn attribute(point: &Point, attr: Attr) -> Option<String> {
    let (_, value) = point.attributes.iter().find(|(key, _)| *key == attr)?;
    Some(text(value))
}

/// An attribute of a resource as text.
pub fn of_resource(resource: &Resource, key: &str) -> Option<String> {
    let mut attributes = resource.attributes.iter();
    let (_, value) = attributes.find(|(known, _)| &**known == key)?;
    Some(text(value))
}

/// The resource of a point.
pub fn resource<'a>(snapshot: &'a Snapshot, point: &Point) -> Option<&'a Resource> {
    snapshot.resources.get(point.resource).map(AsRef::as_ref)
}

fn text(value: &Value) -> String {
    match value {
        Value::Str(text) => text.as_ref().to_owned(),
        Value::Static(text) => (*text).to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::List(texts) => texts.join(","),
    }
}
