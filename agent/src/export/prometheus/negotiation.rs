//! Which format a scraper wants, by its `Accept` header.

use super::escaping::Escaping;

/// A format of the exposition, the one to be preferred first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text 1.0.0. With names of letters, digits and underscores it reads as 0.0.4 does.
    Text1,
    /// Prometheus text 0.0.4, the last resort.
    Text,
}

/// What a scraper gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposition {
    /// How pages are written.
    pub format: Format,
    /// How names are.
    pub names: Escaping,
}

impl From<Format> for Exposition {
    fn from(format: Format) -> Self {
        Self {
            format,
            names: Escaping::default(),
        }
    }
}

impl Exposition {
    /// The `Content-Type` to answer with.
    pub const fn content_type(self) -> &'static str {
        macro_rules! escaped {
            ($version:literal) => {
                match self.names {
                    Escaping::AllowUtf8 => {
                        concat!($version, "; charset=utf-8; escaping=allow-utf-8")
                    }
                    Escaping::Underscores => {
                        concat!($version, "; charset=utf-8; escaping=underscores")
                    }
                    Escaping::Dots => concat!($version, "; charset=utf-8; escaping=dots"),
                    Escaping::Values => concat!($version, "; charset=utf-8; escaping=values"),
                }
            };
        }
        match self.format {
            Format::OpenMetrics => escaped!("application/openmetrics-text; version=1.0.0"),
            Format::Text1 => escaped!("text/plain; version=1.0.0"),
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The format with the highest `q` among those wanted; of those wanted alike the first of the list of formats; text
    /// 0.0.4 when nothing that is wanted can be had (Prometheus' content negotiation never answers 406).
    pub fn negotiate<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let ranges = accept.into_iter().flat_map(|header| header.split(','));
        let mut best = (0, Self::from(Format::Text));
        for (quality, wanted) in ranges.filter_map(parse_range) {
            let preferred = wanted.format < best.1.format;
            if quality > best.0 || (quality == best.0 && quality > 0 && preferred) {
                best = (quality, wanted);
            }
        }
        best.1
    }
}

/// One media range with its quality in thousandths, if it is a format we have.
fn parse_range(range: &str) -> Option<(u32, Exposition)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let mut quality = 1_000;
    let mut version = None;
    let mut names = Escaping::default();
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => quality = parse_quality(value.trim())?,
            "version" => version = Some(value.trim().trim_matches('"')),
            // One that is not known is not asked for.
            "escaping" => {
                names = Escaping::named(value.trim().trim_matches('"')).unwrap_or_default();
            }
            _ => {}
        }
    }
    let format = match (media.as_str(), version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Format::OpenMetrics,
        ("text/plain", Some("1.0.0")) => Format::Text1,
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Format::Text,
        _ => return None,
    };
    if format == Format::Text {
        // It has no such parameter.
        names = Escaping::default();
    }
    Some((quality, Exposition { format, names }))
}

fn parse_quality(text: &str) -> Option<u32> {
    let quality: f64 = text.parse().ok()?;
    if !(0.0..=1.0).contains(&quality) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1000 by the check above"
    )]
    Some((quality * 1_000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Format::{self, OpenMetrics, Text, Text1};
    use super::*;

    fn check(accept: &[&str], expected: Format) {
        assert_eq!(
            Exposition::negotiate(accept.iter().copied()).format,
            expected,
            "{accept:?}"
        );
    }

    #[test]
    fn highest_quality_wins() {
        check(&[], Text);
        check(&[""], Text);
        check(&["*/*"], Text);
        check(&["text/html, */*;q=0.8"], Text);
        check(&["application/json"], Text);
        check(&["application/openmetrics-text"], OpenMetrics);
        check(
            &["Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.3, text/plain;q=0.2"],
            OpenMetrics,
        );
        check(
            &["application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.3"],
            Text,
        );
        check(
            &["application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4"],
            OpenMetrics,
        );
        check(
            &[
                "text/plain;version=0.0.4;q=0.5",
                "application/openmetrics-text;version=1.0.0",
            ],
            OpenMetrics,
        );
        check(&["application/openmetrics-text;q=0"], Text);
        check(&["application/openmetrics-text;q=7"], Text);
        check(&["application/openmetrics-text;q=x;;=,;"], Text);
        check(&["application/openmetrics-text;version=2.0.0"], Text);
        check(
            &["text/plain;version=1.0.0;q=0.9,application/openmetrics-text;q=0.1"],
            Text1,
        );
        check(
            &["text/plain;version=0.0.4,text/plain;version=1.0.0"],
            Text1,
        );
        check(&["text/plain;version=1.0.0;escaping=allow-utf-8"], Text1);
        check(&["text/plain;version=2.0.0"], Text);
    }

    #[test]
    fn the_default_header_of_prometheus_gets_openmetrics() {
        let header = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1";
        check(&[header], OpenMetrics);
        let protobuf = format!(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,{header}"
        );
        check(&[&protobuf], OpenMetrics);
    }

    #[test]
    fn protobuf_is_not_offered() {
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        check(&[protobuf], Text);
        check(&[protobuf, "*/*;q=0.1"], Text);
        check(&[protobuf, "text/plain;version=1.0.0;q=0.2"], Text1);
    }

    fn answers(accept: &str, content_type: &str) {
        let exposition = Exposition::negotiate([accept]);
        assert_eq!(exposition.content_type(), content_type, "{accept}");
    }

    #[test]
    fn names_are_escaped_as_asked_for() {
        for scheme in ["allow-utf-8", "underscores", "dots", "values"] {
            let open =
                format!("application/openmetrics-text;version=1.0.0;escaping={scheme};q=0.5");
            let text = format!("text/plain;version=1.0.0; escaping=\"{scheme}\"");
            let tail = format!("; charset=utf-8; escaping={scheme}");
            answers(
                &open,
                &format!("application/openmetrics-text; version=1.0.0{tail}"),
            );
            answers(&text, &format!("text/plain; version=1.0.0{tail}"));
            // Each range has its own.
            let both = format!("{open},text/plain;version=1.0.0;escaping=values;q=0.4");
            answers(
                &both,
                &format!("application/openmetrics-text; version=1.0.0{tail}"),
            );
            let old = format!("text/plain;version=0.0.4;escaping={scheme}");
            answers(&old, "text/plain; version=0.0.4; charset=utf-8");
        }
        for other in [
            "",
            ";escaping=",
            ";escaping=none",
            ";escaping=dots\r\nx: y",
            ";escaping",
        ] {
            answers(
                &format!("text/plain;version=1.0.0{other}"),
                "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
            );
        }
        answers(
            "text/plain;version=1.0.0;escaping=allow-utf8",
            "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        );
    }

    proptest! {
        #[test]
        fn any_header_is_answered(accept: Vec<String>, known in "[a-z/.;=, q0-9*+-]{0,60}") {
            let all = accept.iter().map(String::as_str).chain([known.as_str()]);
            let answer = Exposition::negotiate(all).content_type();
            prop_assert!(answer.starts_with("text/plain; ") || answer.starts_with("application/openmetrics-text; "));
        }
    }
}
