//! Pages of `/metrics` whose values, and the keys of whose target, are as hostile as they come, and what has to be read from
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use wellhead::export::prometheus::escaping::Escaping;
use wellhead::export::prometheus::names::{FamilyName, label_name};
use wellhead::export::prometheus::negotiation::Exposition;
use wellhead::export::prometheus::page::{Page, Scope};
use wellhead::identity::{Resource, Value};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::{Family, HistogramValue, Point, PointValue, Snapshot};
use wellhead::telemetry::store::SeriesId;

/// The name of a sample, and its labels.
pub type Series = (String, BTreeMap<String, String>);

/// What a reader finds on a page.
pub type Samples = BTreeMap<Series, f64>;

/// Texts that some reader might take for something else.
const CRAFTED: [&str; 32] = [
    "",
    " ",
    " a ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\0",
    "a\0b",
    "\"",
    "\\",
    "\\\\",
    "\\\"",
    "\\n",
    "\\\\n",
    "\\\n",
    "\\x00\\u1F600\\0",
    "\"} 1\n# EOF\nfake{a=\"",
    "# HELP fake fake\n# TYPE fake counter\nfake 1",
    "a,b=\"c\"}",
    "{}",
    "%00%22&quot;${HOME}",
    "👩‍👩‍👧‍👦🇩🇪",
    "e\u{301}\u{e9}",
    "שלום \u{202e}dlrow\u{202c} مرحبا",
    "\u{feff}a",
    // Line ends to some, and not to these formats.
    "a\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}b",
    "\u{1b}[31m\u{7f}\u{8}",
    "\u{fffd}",
    "\u{d7ff}\u{e000}\u{ffff}\u{10ffff}",
    "+Inf",
    "NaN",
];

/// Keys that mean something to Prometheus, or become what others become.
const KEYS: [&str; 16] = [
    "",
    "le",
    "quantile",
    "job",
    "instance",
    "__name__",
    "__meta",
    "9lives",
    "a.b",
    "a_b",
    "a-b",
    "a..b",
    "é",
    "\"",
    "\n",
    "host.name",
];

/// How long a value is that is long.
const LONG: usize = 10 * 1024;

/// A page, before it is written.
#[derive(Clone, Debug)]
pub struct HostilePage {
    snapshot: Arc<Snapshot>,
}

impl HostilePage {
    /// All that there may be.
    pub fn any() -> impl Strategy<Value = Self> {
        let target = btree_map(key(), value(), 0..12);
        let resources = vec((value(), value()), 1..4);
        let numbers = (any::<u32>(), vec(any::<u16>(), 8), 0..1_000_000_u32);
        let points = vec((1..4_usize, value(), numbers), 1..30);
        (target, resources, points).prop_map(|(target, resources, points)| {
            let last = resources.len();
            let node = Resource {
                attributes: target
                    .iter()
                    .map(|(key, value)| (Arc::from(key.as_str()), text(value)))
                    .collect(),
                labels: Vec::new(),
            };
            let others = resources.iter().map(|(pod, service)| Resource {
                attributes: Vec::new(),
                labels: vec![
                    ("k8s_pod_name", Arc::from(pod.as_str())),
                    ("service_name", Arc::from(service.as_str())),
                ],
            });
            let mut families = [
                Metric::ProcessExecs,
                Metric::ProcessDuration,
                Metric::AgentProgramRunTime,
            ]
            .map(|metric| Family {
                metric,
                points: Vec::new(),
            });
            for (resource, name, (count, counts, quarters)) in points {
                let sum = f64::from(quarters) / 4.0;
                let values = [
                    PointValue::Int(count.into()),
                    PointValue::from(HistogramValue {
                        counts: counts.into_iter().map(u64::from).collect(),
                        sum,
                        ..HistogramValue::new(Metric::ProcessDuration.bounds())
                    }),
                    PointValue::Float(sum),
                ];
                for (family, value) in families.iter_mut().zip(values) {
                    family.points.push(Point {
                        resource: resource.min(last),
                        attributes: Arc::from([(Attr::ProcessExecutableName, text(&name))]),
                        start_unix_nano: 1,
                        value,
                        series: SeriesId::NONE,
                    });
                }
            }
            Self {
                snapshot: Arc::new(Snapshot {
                    time_unix_nano: 1,
                    resources: [node].into_iter().chain(others).map(Arc::new).collect(),
                    families: families.into(),
                    ..Snapshot::default()
                }),
            }
        })
    }

    /// As the agent writes it.
    ///
    /// # Panics
    /// Never: memory can be written to.
    #[must_use]
    pub fn written(&self, exposition: Exposition) -> String {
        let mut page = Page::new(
            exposition,
            Scope::Left,
            Arc::clone(&self.snapshot),
            Vec::new(),
        );
        let mut text = String::new();
        let more = page.write(&mut text, usize::MAX).expect("written");
        assert!(!more, "the whole page");
        text
    }

    /// What it says, by a reading of the snapshot that has nothing in common with the writer's.
    #[must_use]
    pub fn samples(&self, names: Escaping) -> Samples {
        let mut samples = Samples::new();
        let mut add = |name: &str, suffix: &str, labels: &[(String, String)], value: f64| {
            let labels = labels.iter().cloned();
            let labels = labels.map(|(name, value)| (escaped(&name, names), value));
            let series = (escaped(name, names) + suffix, labels.collect());
            *samples.entry(series).or_default() += value;
        };
        let target = self.target();
        if !target.is_empty() {
            add("target_info", "", &target, 1.0);
        }
        for family in &self.snapshot.families {
            let name = FamilyName::of(family.metric).sample();
            for point in &family.points {
                let labels = self.labels(point);
                match &point.value {
                    PointValue::Int(value) => add(&name, "", &labels, number(*value)),
                    PointValue::Float(value) => add(&name, "", &labels, *value),
                    PointValue::Histogram(histogram) => {
                        let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
                        let mut seen = 0;
                        for (upper, count) in bounds.zip(&histogram.counts) {
                            seen += count;
                            let bound = ("le".to_owned(), bound(upper));
                            let labels = [&labels[..], &[bound]].concat();
                            add(&name, "_bucket", &labels, number(seen.cast_signed()));
                        }
                        add(&name, "_count", &labels, number(seen.cast_signed()));
                        add(&name, "_sum", &labels, histogram.sum);
                    }
                }
            }
        }
        samples
    }

    /// The labels of the target.
    fn target(&self) -> Vec<(String, String)> {
        let attributes = self.snapshot.resources[0].attributes.iter();
        let attributes: BTreeMap<_, _> = attributes
            .map(|(key, value)| (key, value.as_str().unwrap_or_default()))
            .collect();
        let mut labels = BTreeMap::<String, String>::new();
        for (key, value) in attributes
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
        {
            labels
                .entry(label_name(key))
                .and_modify(|known| *known = format!("{known};{}", shown(value)))
                .or_insert_with(|| shown(value));
        }
        labels.into_iter().collect()
    }

    fn labels(&self, point: &Point) -> Vec<(String, String)> {
        let of_resource = self.snapshot.resources[point.resource].labels.iter();
        let of_resource = of_resource.map(|(name, value)| (*name, &**value));
        let of_point = point.attributes.iter();
        let of_point =
            of_point.map(|(key, value)| (key.label(), value.as_str().unwrap_or_default()));
        // An empty value means the same as no label.
        let all = of_resource
            .chain(of_point)
            .filter(|(_, value)| !value.is_empty());
        all.map(|(name, value)| (name.to_owned(), shown(value)))
            .collect()
    }
}

/// A name as it is asked for: all of them are of letters, digits and underscores.
fn escaped(name: &str, names: Escaping) -> String {
    match names {
        Escaping::Dots => name.replace('_', "__"),
        Escaping::AllowUtf8 | Escaping::Underscores | Escaping::Values => name.to_owned(),
    }
}

/// A series with the bound of a bucket as all are written here, however a reader writes it.
///
/// # Panics
/// A bound is no number.
#[must_use]
pub fn with_bound((name, mut labels): Series) -> Series {
    if name.ends_with("_bucket")
        && let Some(upper) = labels.get_mut("le")
    {
        *upper = bound(upper.parse().expect("a number"));
    }
    (name, labels)
}

fn bound(upper: f64) -> String {
    format!("{upper:?}")
}

fn text(value: &str) -> Value {
    Value::Str(Arc::from(value))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of 32 bits, a few of them"
)]
fn number(count: i64) -> f64 {
    count as f64
}

/// A value as it comes back: byte for byte, but for the one character that the formats leave out.
fn shown(value: &str) -> String {
    value.replace('\0', "\u{fffd}")
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        4 => "[\"\\\\\n\r\0{},=# an]{0,12}",
        4 => select(&CRAFTED[..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(|one| one.to_string().repeat(LONG / one.len_utf8())),
        1 => select(&CRAFTED[1..]).prop_map(|one| one.repeat(LONG / one.len())),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-zA-Z0-9_.:é -]{0,12}",
        select(&KEYS[..]).prop_map(str::to_owned),
    ]
}
