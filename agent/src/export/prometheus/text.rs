//! Prometheus text format 0.0.4, which `prometheus-client` does not write.

use std::fmt::{self, Write as _};

use super::names::Kind;
use super::samples::{Exposed, Exposition, Labels, Sample, SampleValue};
use crate::telemetry::snapshot::HistogramValue;

/// Writes the whole page.
pub fn encode(page: &mut String, exposition: &Exposition) -> fmt::Result {
    exposition
        .families()
        .try_for_each(|family| encode_family(page, &family))
}

fn encode_family(page: &mut String, family: &Exposed<'_>) -> fmt::Result {
    let name = family.name.sample();
    let kind = match family.name.kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Info => "gauge",
        Kind::Histogram => "histogram",
    };
    write!(page, "# HELP {name} ")?;
    push_escaped(page, family.help, false);
    writeln!(page, "\n# TYPE {name} {kind}")?;
    for Sample { labels, value } in &family.samples {
        match value {
            SampleValue::Int(value) => {
                push_series(page, &name, "", labels, None)?;
                writeln!(page, " {value}")?;
            }
            SampleValue::Float(value) => push_float(page, &name, "", labels, *value)?,
            SampleValue::Histogram(histogram) => push_histogram(page, &name, labels, histogram)?,
        }
    }
    Ok(())
}

fn push_histogram(
    page: &mut String,
    name: &str,
    labels: &Labels<'_>,
    histogram: &HistogramValue,
) -> fmt::Result {
    let mut seen = 0;
    let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
    for (bound, count) in bounds.zip(&histogram.counts) {
        seen += count;
        push_series(page, name, "_bucket", labels, Some(bound))?;
        writeln!(page, " {seen}")?;
    }
    push_float(page, name, "_sum", labels, histogram.sum)?;
    push_series(page, name, "_count", labels, None)?;
    writeln!(page, " {seen}")
}

fn push_float(
    page: &mut String,
    name: &str,
    suffix: &str,
    labels: &Labels<'_>,
    value: f64,
) -> fmt::Result {
    push_series(page, name, suffix, labels, None)?;
    writeln!(page, " {}", Number(value))
}

/// Name and labels of one line.
fn push_series(
    page: &mut String,
    name: &str,
    suffix: &str,
    labels: &Labels<'_>,
    le: Option<f64>,
) -> fmt::Result {
    page.push_str(name);
    page.push_str(suffix);
    let mut separator = '{';
    for (label, value) in labels {
        page.push(separator);
        page.push_str(label);
        page.push_str("=\"");
        push_escaped(page, value, true);
        page.push('"');
        separator = ',';
    }
    if let Some(le) = le {
        write!(page, "{separator}le=\"{}\"", Number(le))?;
        separator = ',';
    }
    if separator == ',' {
        page.push('}');
    }
    Ok(())
}

fn push_escaped(page: &mut String, text: &str, quotes: bool) {
    for character in text.chars() {
        match character {
            '\\' => page.push_str("\\\\"),
            '\n' => page.push_str("\\n"),
            '"' if quotes => page.push_str("\\\""),
            _ => page.push(character),
        }
    }
}

/// A number as Go's parser reads it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => write!(f, "{number}"),
        }
    }
}
