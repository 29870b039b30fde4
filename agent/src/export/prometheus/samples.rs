//! What one scrape shows, before it is written in either format.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::names::{FamilyName, Kind, label_name};
use super::standard::StandardFamily;
use crate::identity::{Resource, Value};
use crate::telemetry::catalogue::Attr;
use crate::telemetry::snapshot::{Family, HistogramValue, Point, PointValue, Snapshot};

/// Labels of a sample: names unique, no empty values.
pub type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A family ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposed<'a> {
    /// Its name and type.
    pub name: FamilyName,
    /// What it measures.
    pub help: &'a str,
    /// Its samples; labels are unique among them.
    pub samples: Vec<Sample<'a>>,
}

/// One sample, or one histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Labels.
    pub labels: Labels<'a>,
    /// Value.
    pub value: SampleValue<'a>,
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue<'a> {
    /// Whole units.
    Int(i64),
    /// Fractions.
    Float(f64),
    /// A histogram.
    Histogram(Cow<'a, HistogramValue>),
}

/// Everything one scrape shows.
#[derive(Debug)]
pub struct Exposition {
    snapshot: Arc<Snapshot>,
    standard: Vec<StandardFamily>,
}

impl Exposition {
    /// A snapshot together with the families only Prometheus knows.
    pub fn new(snapshot: Arc<Snapshot>, standard: Vec<StandardFamily>) -> Self {
        Self { snapshot, standard }
    }

    /// Every family, `target_info` first, one at a time so that no more than one is held in memory.
    pub fn families(&self) -> impl Iterator<Item = Exposed<'_>> {
        let target = self
            .snapshot
            .resources
            .first()
            .and_then(|node| target_info(node));
        let standard = self.standard.iter().map(StandardFamily::expose);
        let families = self
            .snapshot
            .families
            .iter()
            .filter(|family| !family.points.is_empty());
        target
            .into_iter()
            .chain(standard)
            .chain(families.map(|family| self.expose(family)))
    }

    /// Points that look the same to Prometheus become one sample.
    fn expose<'a>(&'a self, family: &'a Family) -> Exposed<'a> {
        let hasher = RandomState::new();
        let mut known = HashMap::with_capacity(family.points.len());
        let mut samples: Vec<Sample<'a>> = Vec::with_capacity(family.points.len());
        // Since when each sample counts.
        let mut starts: Vec<u64> = Vec::with_capacity(family.points.len());
        for point in &family.points {
            let sample = self.sample(point);
            let index = *known
                .entry(hasher.hash_one(&sample.labels))
                .or_insert(samples.len());
            match samples.get_mut(index).zip(starts.get_mut(index)) {
                Some((same, start)) if same.labels == sample.labels => {
                    if !is_container(&sample.labels) {
                        same.value.add(&point.value);
                    } else if *start < point.start_unix_nano {
                        *same = sample;
                        *start = point.start_unix_nano;
                    }
                }
                _ => {
                    samples.push(sample);
                    starts.push(point.start_unix_nano);
                }
            }
        }
        Exposed {
            name: FamilyName::of(family.metric),
            help: family.metric.description(),
            samples,
        }
    }

    fn sample<'a>(&'a self, point: &'a Point) -> Sample<'a> {
        let resource = self.snapshot.resources.get(point.resource);
        let resource_labels = resource.map_or(&[][..], |resource| &resource.labels);
        let mut labels = Vec::with_capacity(resource_labels.len() + point.attributes.len());
        for (name, value) in resource_labels {
            push_label(&mut labels, Cow::Borrowed(name), clean(value));
        }
        for (attribute, value) in point.attributes.iter() {
            push_label(
                &mut labels,
                Cow::Borrowed(Attr::label(*attribute)),
                text(value),
            );
        }
        Sample {
            labels,
            value: SampleValue::of(&point.value),
        }
    }
}

impl<'a> SampleValue<'a> {
    fn of(value: &'a PointValue) -> Self {
        match value {
            PointValue::Int(value) => Self::Int(*value),
            PointValue::Float(value) => Self::Float(*value),
            PointValue::Histogram(histogram) => Self::Histogram(Cow::Borrowed(histogram)),
        }
    }

    fn add(&mut self, more: &PointValue) {
        match (self, more) {
            (Self::Int(value), PointValue::Int(more)) => *value = value.saturating_add(*more),
            (Self::Float(value), PointValue::Float(more)) => *value += more,
            (Self::Histogram(value), PointValue::Histogram(more)) => {
                let value = value.to_mut();
                for (count, more) in value.counts.iter_mut().zip(&more.counts) {
                    *count += more;
                }
                value.sum += more.sum;
            }
            (Self::Int(_) | Self::Float(_) | Self::Histogram(_), _) => {}
        }
    }
}

/// Containers of one name follow each other in a pod, so the newest alone is shown: a restart then looks
/// like the reset of a counter it is. Their sum would fall, and be taken for a reset to all that is left,
/// when the old container's series expires.
fn is_container(labels: &Labels<'_>) -> bool {
    labels.iter().any(|(name, _)| name == "k8s_container_name")
}

/// The agent's own resource as the labels of one `target_info`.
fn target_info(node: &Resource) -> Option<Exposed<'_>> {
    let mut attributes: Vec<_> = node.attributes.iter().collect();
    attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut labels = Labels::new();
    for (key, value) in attributes {
        push_label(&mut labels, Cow::Owned(label_name(key)), text(value));
    }
    let name = FamilyName {
        base: Cow::Borrowed("target"),
        unit: None,
        kind: Kind::Info,
    };
    let samples = vec![Sample {
        labels,
        value: SampleValue::Int(1),
    }];
    let exposed = Exposed {
        name,
        help: "Resource of the agent itself.",
        samples,
    };
    exposed
        .samples
        .first()
        .is_some_and(|sample| !sample.labels.is_empty())
        .then_some(exposed)
}

/// An empty value means the same as no label. Values of keys that become the same name are joined by
/// `;`, as the compatibility specification asks.
fn push_label<'a>(labels: &mut Labels<'a>, name: Cow<'a, str>, value: Cow<'a, str>) {
    if value.is_empty() {
        return;
    }
    match labels.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = format!("{known};{value}").into(),
        None => labels.push((name, value)),
    }
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Str(text) => clean(text),
        Value::Static(text) => clean(text),
        Value::Int(number) => number.to_string().into(),
        Value::Bool(truth) => if *truth { "true" } else { "false" }.into(),
        Value::List(texts) => {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            serde_json::Value::from(texts).to_string().into()
        }
    }
}

/// Prometheus' own lexer takes a NUL for the end of the page.
fn clean(value: &str) -> Cow<'_, str> {
    if value.contains('\0') {
        value.replace('\0', "\u{fffd}").into()
    } else {
        value.into()
    }
}
