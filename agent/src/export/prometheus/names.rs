//! From OpenTelemetry names to Prometheus names, by the OpenTelemetry compatibility specification's
//! default strategy (`UnderscoreEscapingWithSuffixes`).

use std::borrow::Cow;

use crate::telemetry::catalogue::{Instrument, Metric};

/// The Prometheus type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic buckets.
    Histogram,
    /// Constant 1 with labels; its sample ends in `_info`.
    Info,
}

/// A family's name in its parts, because OpenMetrics and text 0.0.4 join them differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyName {
    /// The name without unit and type suffix.
    pub base: Cow<'static, str>,
    /// The unit's word, such as `bytes`.
    pub unit: Option<Cow<'static, str>>,
    /// The type.
    pub kind: Kind,
}

impl FamilyName {
    /// The name of a catalogue metric.
    pub fn of(metric: Metric) -> Self {
        let kind = match metric.instrument() {
            Instrument::Counter => Kind::Counter,
            Instrument::UpDownCounter | Instrument::Gauge => Kind::Gauge,
            Instrument::Histogram => Kind::Histogram,
        };
        Self::translate(metric.name(), metric.unit(), kind)
    }

    /// The name of any metric, from its OpenTelemetry name and UCUM unit.
    pub fn translate(name: &str, unit: &str, kind: Kind) -> Self {
        let mut base = sanitize(name, true);
        if kind == Kind::Counter
            && let Some(length) = base.strip_suffix("_total").map(str::len)
        {
            base.truncate(length);
        }
        let unit = unit_words(unit, kind);
        if let Some(unit) = &unit
            && let Some(stem) = base.strip_suffix(unit.as_str())
            && let Some(length) = stem.strip_suffix('_').map(str::len)
        {
            base.truncate(length);
        }
        Self {
            base: base.into(),
            unit: unit.map(Cow::Owned),
            kind,
        }
    }

    /// The family's name in OpenMetrics: with its unit, without a type suffix.
    pub fn family(&self) -> String {
        match &self.unit {
            Some(unit) => format!("{}_{unit}", self.base),
            None => self.base.to_string(),
        }
    }

    /// The name of its samples, and of the family in text 0.0.4. Histograms add `_bucket`, `_sum` and
    /// `_count` to it.
    pub fn sample(&self) -> String {
        self.family() + self.suffix()
    }

    /// What the name of a sample has beyond the family's in OpenMetrics.
    pub(super) const fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        }
    }
}

/// A label name from an attribute key. None begins with `_`: one way of escaping doubles it, and names that begin so are
/// Prometheus' own, `__name__` above all. `key` goes in front, as where Prometheus itself takes OTLP.
pub fn label_name(key: &str) -> String {
    let name = sanitize(key, false);
    if name.starts_with('_') {
        return format!("key{name}");
    }
    name
}

/// Everything but letters, digits and (in metric names) colons becomes `_`, runs of it one; a leading
/// digit gets one in front.
fn sanitize(name: &str, colons: bool) -> String {
    let mut sanitized = String::with_capacity(name.len() + 1);
    for character in name.chars() {
        let allowed = character.is_ascii_alphanumeric() || (colons && character == ':');
        if allowed {
            if sanitized.is_empty() && character.is_ascii_digit() {
                sanitized.push('_');
            }
            sanitized.push(character);
        } else if !sanitized.ends_with('_') {
            sanitized.push('_');
        }
    }
    if sanitized.is_empty() {
        sanitized.push('_');
    }
    sanitized
}

/// A UCUM unit in words: `By` → `bytes`, `By/s` → `bytes_per_second`; annotations in braces say nothing.
fn unit_words(unit: &str, kind: Kind) -> Option<String> {
    let unit = without_annotations(unit);
    if unit == "1" {
        return (kind == Kind::Gauge).then(|| "ratio".to_owned());
    }
    let (above, below) = unit.split_once('/').unwrap_or((&unit, ""));
    let above = unit_word(above, PLURAL);
    let below = unit_word(below, SINGULAR);
    match (above.is_empty(), below.is_empty()) {
        (true, true) => None,
        (false, true) => Some(above),
        (true, false) => Some(format!("per_{below}")),
        (false, false) => Some(format!("{above}_per_{below}")),
    }
}

fn without_annotations(unit: &str) -> String {
    let mut depth = 0_u32;
    let outside = |character: &char| match character {
        '{' => {
            depth += 1;
            false
        }
        '}' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    };
    unit.chars().filter(outside).collect()
}

fn unit_word(unit: &str, words: &[(&str, &str)]) -> String {
    let unit = unit.trim();
    match words.iter().find(|(symbol, _)| *symbol == unit) {
        Some((_, word)) => (*word).to_owned(),
        None if unit.is_empty() => String::new(),
        None => sanitize(unit, false).trim_matches('_').to_owned(),
    }
}

const PLURAL: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tebibytes"),
    ("kBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
];

const SINGULAR: &[(&str, &str)] = &[
    ("s", "second"),
    ("m", "minute"),
    ("min", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::catalogue::Attr;

    fn check(name: &str, unit: &str, kind: Kind, expected: &str) {
        assert_eq!(
            FamilyName::translate(name, unit, kind).sample(),
            expected,
            "{name} in {unit}"
        );
    }

    #[test]
    fn names_follow_unit_and_type() {
        check(
            "wellhead.tcp.io",
            "By",
            Kind::Counter,
            "wellhead_tcp_io_bytes_total",
        );
        check("foo.total", "By", Kind::Counter, "foo_bytes_total");
        check("foo.bytes.total", "By", Kind::Counter, "foo_bytes_total");
        check("foo.bytes", "By", Kind::Gauge, "foo_bytes");
        check("kilobytes", "By", Kind::Gauge, "kilobytes_bytes");
        check(
            "wellhead.tcp.connections.active",
            "{connection}",
            Kind::Gauge,
            "wellhead_tcp_connections_active",
        );
        check(
            "wellhead.agent.completeness",
            "1",
            Kind::Gauge,
            "wellhead_agent_completeness_ratio",
        );
        check("foo", "1", Kind::Counter, "foo_total");
        check("foo", "By/s", Kind::Gauge, "foo_bytes_per_second");
        check("foo", "{packet}/s", Kind::Gauge, "foo_per_second");
        check("foo", "By{payload}", Kind::Counter, "foo_bytes_total");
        check("foo", "", Kind::Gauge, "foo");
        check("foo", "widgets.large", Kind::Gauge, "foo_widgets_large");
        check("foo", "ms", Kind::Histogram, "foo_milliseconds");
    }

    #[test]
    fn characters_outside_the_data_model_become_one_underscore() {
        check("a..b--c_d:é.", "", Kind::Gauge, "a_b_c_d:_");
        check("9lives", "", Kind::Gauge, "_9lives");
        check("", "", Kind::Gauge, "_");
        assert_eq!(label_name("a:b..c"), "a_b_c");
        assert_eq!(label_name("__name__"), "key_name_");
        assert_eq!(label_name("9lives"), "key_9lives");
        assert_eq!(label_name("k8s.pod.name"), "k8s_pod_name");
    }

    #[test]
    fn labels_of_the_catalogue_follow_the_rule() {
        for attribute in Attr::ALL {
            assert_eq!(label_name(attribute.key()), attribute.label());
        }
    }

    #[test]
    fn no_family_clashes_with_the_suffixes_of_another() {
        let names: Vec<_> = Metric::ALL
            .iter()
            .map(|metric| FamilyName::of(*metric))
            .collect();
        let taken: Vec<_> = names.iter().flat_map(sample_names).collect();
        for (index, name) in taken.iter().enumerate() {
            assert!(!taken[index + 1..].contains(name), "{name}");
        }
    }

    fn sample_names(name: &FamilyName) -> Vec<String> {
        let family = name.family();
        let suffixes: &[&str] = match name.kind {
            Kind::Counter => &["", "_total", "_created"],
            Kind::Gauge => &[""],
            Kind::Histogram => &["", "_bucket", "_sum", "_count", "_created"],
            Kind::Info => &["", "_info"],
        };
        suffixes
            .iter()
            .map(|suffix| format!("{family}{suffix}"))
            .collect()
    }
}
