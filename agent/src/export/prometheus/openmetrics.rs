//! OpenMetrics 1.0, written by `prometheus-client`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::names::Kind;
use super::samples::{Exposed, Exposition, Sample, SampleValue};
use crate::telemetry::snapshot::HistogramValue;

/// Writes the whole page, `# EOF` included.
pub fn encode(page: &mut String, exposition: Exposition) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(exposition)));
    text::encode(page, &registry)
}

#[derive(Debug)]
struct Page(Exposition);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.0.families() {
            encode_family(&mut encoder, &family)?;
        }
        Ok(())
    }
}

fn encode_family(encoder: &mut DescriptorEncoder<'_>, family: &Exposed<'_>) -> fmt::Result {
    let Exposed {
        name,
        help,
        samples,
    } = family;
    let unit = name.unit.as_ref().map(|unit| Unit::Other(unit.to_string()));
    let kind = match name.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    // The encoder itself appends the unit to the name and the type's suffix to the samples.
    let mut metric = encoder.encode_descriptor(&name.base, help, unit.as_ref(), kind)?;
    for Sample { labels, value } in samples {
        if name.kind == Kind::Info {
            metric.encode_info(labels)?;
        } else if labels.is_empty() {
            encode_value(&mut metric, name.kind, value)?;
        } else {
            encode_value(&mut metric.encode_family(labels)?, name.kind, value)?;
        }
    }
    Ok(())
}

fn encode_value(
    metric: &mut MetricEncoder<'_>,
    kind: Kind,
    value: &SampleValue<'_>,
) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, SampleValue::Int(value)) => {
            metric.encode_counter(&u64::try_from(*value).unwrap_or(0), NO_EXEMPLAR_INT)
        }
        (Kind::Counter, SampleValue::Float(value)) => metric.encode_counter(value, NO_EXEMPLAR),
        (_, SampleValue::Int(value)) => metric.encode_gauge(value),
        (_, SampleValue::Float(value)) => metric.encode_gauge(value),
        (_, SampleValue::Histogram(histogram)) => encode_histogram(metric, histogram),
    }
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;
const NO_EXEMPLAR_INT: Option<&Exemplar<NoLabelSet, u64>> = None;

fn encode_histogram(metric: &mut MetricEncoder<'_>, value: &HistogramValue) -> fmt::Result {
    let HistogramValue {
        bounds,
        counts,
        sum,
    } = value;
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
    metric.encode_histogram::<NoLabelSet>(*sum, counts.iter().sum(), &buckets, None)
}
