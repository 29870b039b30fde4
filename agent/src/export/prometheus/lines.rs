//! The lines of a family in each format: Prometheus text 0.0.4 and 1.0.0, and `OpenMetrics` 1.0.0.
//!
//! Rules: `OpenMetrics` 1.0.0 (prometheus/OpenMetrics, `specification/OpenMetrics.md`), and Prometheus'
//! `docs/instrumenting/exposition_formats.md`.

use std::fmt::{self, Write as _};

use super::names::{FamilyName, Kind};
use super::negotiation::{Exposition, Format};
use crate::telemetry::snapshot::{Exemplar, HistogramValue, PointValue};

/// Writes the samples of one family.
#[derive(Debug)]
pub(super) struct FamilyLines {
    /// What all its samples' names begin with.
    name: String,
    style: Numbers,
}

impl FamilyLines {
    /// Writes what stands before the samples.
    pub(super) fn begin(
        text: &mut String,
        exposition: Exposition,
        name: &FamilyName,
        help: &str,
    ) -> Result<Self, fmt::Error> {
        let sample = name.sample();
        let sample = exposition.names.name(&sample).into_owned();
        match exposition.format {
            Format::OpenMetrics => begin_openmetrics(text, name, &sample, help)?,
            Format::Text | Format::Text1 => begin_text(text, name.kind, &sample, help)?,
        }
        Ok(Self {
            name: sample,
            style: Numbers::of(exposition.format),
        })
    }

    /// Writes the lines of one sample. `labels` are without braces, and empty if there are none.
    pub(super) fn sample(
        &self,
        text: &mut String,
        labels: &str,
        value: &PointValue,
    ) -> fmt::Result {
        match value {
            PointValue::Int(value) => {
                self.push_series(text, "", labels);
                writeln!(text, " {value}")
            }
            PointValue::Float(value) => self.push_float(text, "", labels, *value),
            PointValue::Histogram(histogram) => self.push_histogram(text, labels, histogram),
        }
    }

    fn push_histogram(
        &self,
        text: &mut String,
        labels: &str,
        histogram: &HistogramValue,
    ) -> fmt::Result {
        let separator = if labels.is_empty() { "" } else { "," };
        let mut seen = 0;
        let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
        let mut exemplars = histogram.exemplars.iter().peekable();
        for (bucket, (bound, count)) in bounds.zip(&histogram.counts).enumerate() {
            seen += count;
            text.push_str(&self.name);
            text.push_str("_bucket{");
            text.push_str(labels);
            text.push_str(separator);
            text.push_str("le=\"");
            self.style.push(text, bound)?;
            write!(text, "\"}} {seen}")?;
            if let Some(exemplar) = exemplars.next_if(|exemplar| exemplar.bucket == bucket) {
                self.push_exemplar(text, exemplar)?;
            }
            text.push('\n');
        }
        self.push_float(text, "_sum", labels, histogram.sum)?;
        self.push_series(text, "_count", labels);
        writeln!(text, " {seen}")
    }

    /// Writes the span that an observation of a bucket was part of, where the format has a place for that. Its labels take 63
    /// characters of the 128 there may be.
    fn push_exemplar(&self, text: &mut String, exemplar: &Exemplar) -> fmt::Result {
        match self.style {
            Numbers::Short => return Ok(()),
            Numbers::Fractions => {}
        }
        text.push_str(" # {trace_id=\"");
        push_hex(text, &exemplar.trace_id)?;
        text.push_str("\",span_id=\"");
        push_hex(text, &exemplar.span_id)?;
        text.push_str("\"} ");
        self.style.push(text, exemplar.value)?;
        let (seconds, nanos) = (
            exemplar.time_unix_nano / 1_000_000_000,
            exemplar.time_unix_nano % 1_000_000_000,
        );
        write!(text, " {seconds}.{nanos:09}")
    }

    fn push_float(&self, text: &mut String, suffix: &str, labels: &str, value: f64) -> fmt::Result {
        self.push_series(text, suffix, labels);
        text.push(' ');
        self.style.push(text, value)?;
        text.push('\n');
        Ok(())
    }

    fn push_series(&self, text: &mut String, suffix: &str, labels: &str) {
        text.push_str(&self.name);
        text.push_str(suffix);
        if !labels.is_empty() {
            text.push('{');
            text.push_str(labels);
            text.push('}');
        }
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(text, "{byte:02x}"))
}

fn begin_openmetrics(
    text: &mut String,
    name: &FamilyName,
    sample: &str,
    help: &str,
) -> fmt::Result {
    let family = sample.strip_suffix(name.suffix()).unwrap_or(sample);
    let kind = match name.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
        Kind::Info => "info",
    };
    writeln!(text, "# TYPE {family} {kind}")?;
    // Escaping may leave a family that does not end in its unit, as it would have to.
    let ends_in = |unit: &str| {
        let stem = family.strip_suffix(unit);
        stem.is_some_and(|stem| stem.ends_with('_'))
    };
    if let Some(unit) = name.unit.as_deref().filter(|unit| ends_in(unit)) {
        writeln!(text, "# UNIT {family} {unit}")?;
    }
    write!(text, "# HELP {family} ")?;
    push_escaped(text, help, Quotes::Escaped);
    text.push('\n');
    Ok(())
}

fn begin_text(text: &mut String, kind: Kind, sample: &str, help: &str) -> fmt::Result {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Info => "gauge",
        Kind::Histogram => "histogram",
    };
    write!(text, "# HELP {sample} ")?;
    push_escaped(text, help, Quotes::Plain);
    writeln!(text, "\n# TYPE {sample} {kind}")
}

/// Writes what stands after the last family.
pub(super) fn end(text: &mut String, format: Format) {
    match format {
        Format::OpenMetrics => text.push_str("# EOF\n"),
        Format::Text | Format::Text1 => {}
    }
}

/// Whether a quotation mark would end what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    Escaped,
    Plain,
}

/// Writes a text so that it can neither end its line nor its quotes. Prometheus' own lexer takes a NUL for the end of the
/// page, so it becomes U+FFFD.
pub(super) fn push_escaped(text: &mut String, value: &str, quotes: Quotes) {
    let special = |byte: &u8| match byte {
        b'\\' | b'\n' | b'\0' => true,
        b'"' => quotes == Quotes::Escaped,
        _ => false,
    };
    let mut rest = value;
    while let Some(place) = rest.bytes().position(|byte| special(&byte)) {
        let (plain, from) = rest.split_at(place);
        text.push_str(plain);
        let mut characters = from.chars();
        text.push_str(match characters.next() {
            Some('\\') => "\\\\",
            Some('\n') => "\\n",
            Some('"') => "\\\"",
            _ => "\u{fffd}",
        });
        rest = characters.as_str();
    }
    text.push_str(rest);
}

/// How numbers are written that may have fractions.
#[derive(Clone, Copy, Debug)]
enum Numbers {
    /// As shortly as they can be read again: `1`, `0.005`.
    Short,
    /// Never without a point or an exponent, as `OpenMetrics` wants bounds: `1.0`, `0.005`.
    Fractions,
}

impl Numbers {
    const fn of(format: Format) -> Self {
        match format {
            Format::OpenMetrics => Self::Fractions,
            Format::Text | Format::Text1 => Self::Short,
        }
    }

    fn push(self, text: &mut String, number: f64) -> fmt::Result {
        match (self, number) {
            (_, f64::INFINITY) => text.write_str("+Inf"),
            (_, f64::NEG_INFINITY) => text.write_str("-Inf"),
            (Self::Short, number) => write!(text, "{number}"),
            (Self::Fractions, number) => write!(text, "{number:?}"),
        }
    }
}
