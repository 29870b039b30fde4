//! Which format a scraper wants, by its `Accept` header.

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

impl Format {
    /// The `Content-Type` to answer with.
    pub const fn content_type(self) -> &'static str {
        match self {
            // All names are made of letters, digits and underscores, whatever escaping was asked for.
            Self::OpenMetrics => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
            Self::Text1 => "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The format with the highest `q` among those wanted; of those wanted alike the first of the list; text
    /// 0.0.4 when nothing that is wanted can be had (Prometheus' content negotiation never answers 406).
    pub fn negotiate<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let ranges = accept.into_iter().flat_map(|header| header.split(','));
        let mut best = (0, Self::Text);
        for (quality, format) in ranges.filter_map(parse_range) {
            if quality > best.0 || (quality == best.0 && quality > 0 && format < best.1) {
                best = (quality, format);
            }
        }
        best.1
    }
}

/// One media range with its quality in thousandths, if it is a format we have.
fn parse_range(range: &str) -> Option<(u32, Format)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let mut quality = 1_000;
    let mut version = None;
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => quality = parse_quality(value.trim())?,
            "version" => version = Some(value.trim().trim_matches('"')),
            _ => {}
        }
    }
    let format = match (media.as_str(), version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Format::OpenMetrics,
        ("text/plain", Some("1.0.0")) => Format::Text1,
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Format::Text,
        _ => return None,
    };
    Some((quality, format))
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
    use super::Format::{self, OpenMetrics, Text, Text1};

    fn check(accept: &[&str], expected: Format) {
        assert_eq!(
            Format::negotiate(accept.iter().copied()),
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
}
