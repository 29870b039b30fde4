//! What the exporter needs to know, already resolved, and the rules by which endpoints are resolved.
//!
//! The rules are those of the OpenTelemetry specification, "OpenTelemetry Protocol Exporter".

use std::{path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, uri};
use thiserror::Error;

use crate::{
    counters::Signal,
    telemetry::catalogue::{Instrument, Metric},
    tls::ClientFiles,
};

/// Where each signal goes. A signal without settings is not exported.
#[derive(Clone, Debug, Default)]
pub struct OtlpSettings {
    /// Data points.
    pub metrics: Option<SignalSettings>,
    /// Spans.
    pub traces: Option<SignalSettings>,
    /// Events.
    pub logs: Option<SignalSettings>,
    /// Whether points of metrics tell all, or what is new.
    pub temporality: Temporality,
}

/// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`: whether points of counters and histograms tell all since the series
/// began, or what came since the last one. Up-down counters always tell all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// `cumulative`: all.
    #[default]
    Cumulative,
    /// `delta`: what is new.
    Delta,
    /// `lowmemory`: what is new of what is counted as it happens; all of what is read, as the agent's own counts are.
    LowMemory,
}

impl Temporality {
    /// Whether points of a metric tell what is new.
    pub(super) fn is_delta(self, metric: Metric) -> bool {
        let grows = matches!(
            metric.instrument(),
            Instrument::Counter | Instrument::Histogram
        );
        match self {
            Self::Cumulative => false,
            Self::Delta => grows,
            Self::LowMemory => grows && !metric.is_of_agent(),
        }
    }
}

/// How one signal is exported.
#[derive(Clone, Debug)]
pub struct SignalSettings {
    /// The receiver, as [`resolve_endpoint`] makes it: `http` or `https` with a host. `https` means TLS.
    pub endpoint: Uri,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Sent with every request; see [`header_map`].
    pub headers: HeaderMap,
    /// Of request bodies.
    pub compression: Compression,
    /// How long one attempt at one request may take, connecting included.
    pub timeout: Duration,
    /// Metrics: time from one reading to the next. Others: how long an item waits for a batch to fill.
    pub interval: Duration,
    /// Bytes of items that may wait; unused for metrics, which are read afresh each time.
    pub queue_size: usize,
    /// Where on disk goes what memory has no room for, and what is left when the agent stops.
    pub spill: Option<SpillSettings>,
    /// How agent and receiver trust each other, where `endpoint` is `https`.
    pub tls: ClientFiles,
}

impl SignalSettings {
    /// Whether TLS is spoken.
    pub(crate) fn is_secure(&self) -> bool {
        self.endpoint.scheme_str() == Some("https")
    }
}

/// Where what waits may go on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpillSettings {
    /// Of one signal alone.
    pub directory: PathBuf,
    /// At most so many bytes.
    pub limit: u64,
}

/// `OTEL_EXPORTER_OTLP_PROTOCOL`, as far as it is supported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`, the specification's default.
    #[default]
    HttpProtobuf,
}

/// `OTEL_EXPORTER_OTLP_COMPRESSION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// `none`.
    #[default]
    None,
    /// `gzip`.
    Gzip,
    /// `zstd`, which the specification does not know and the OpenTelemetry Collector takes.
    Zstd,
}

/// An endpoint as its user wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfiguredEndpoint<'a> {
    /// For all signals: over HTTP a base that each signal's path is appended to.
    Generic(&'a str),
    /// For one signal: used as it is.
    Signal(&'a str),
}

/// Why an endpoint cannot be used. The text never repeats the endpoint, which may hold a password.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// Not a URL at all.
    #[error("is not a URL")]
    Syntax(#[source] http::Error),
    /// Neither `http` nor `https`.
    #[error("must start with http:// or https://")]
    Scheme,
    /// Nothing to connect to.
    #[error("names no host")]
    Host,
    /// `user:password@` would be ignored silently otherwise.
    #[error("must not hold a user name or password; use headers instead")]
    UserInfo,
}

/// Why a header cannot be sent. The text never repeats the value, which may be a secret.
#[derive(Debug, Error)]
pub enum HeaderError {
    /// The name has characters that HTTP forbids.
    #[error("{name:?} is not a header name")]
    Name {
        /// As configured.
        name: String,
        /// What is wrong with it.
        source: http::header::InvalidHeaderName,
    },
    /// The value has characters that HTTP forbids.
    #[error("the value of header {name:?} has characters a header cannot carry")]
    Value {
        /// Of the header.
        name: String,
        /// What is wrong with it.
        source: http::header::InvalidHeaderValue,
    },
}

/// Makes the URL a signal is sent to out of what was configured.
///
/// `insecure` counts only for gRPC endpoints without a scheme, which use TLS unless it is set.
pub fn resolve_endpoint(
    configured: ConfiguredEndpoint<'_>,
    signal: Signal,
    protocol: Protocol,
    insecure: bool,
) -> Result<Uri, EndpointError> {
    let (ConfiguredEndpoint::Generic(text) | ConfiguredEndpoint::Signal(text)) = configured;
    match (protocol, configured) {
        (Protocol::Grpc, _) => grpc_url(text, insecure),
        (Protocol::HttpProtobuf, ConfiguredEndpoint::Generic(_)) => {
            http_url_from_base(text, signal)
        }
        (Protocol::HttpProtobuf, ConfiguredEndpoint::Signal(_)) => http_url(text),
    }
}

/// Header names and values as configured, made ready to send. Values are marked sensitive, so that nothing logs them.
pub fn header_map<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<HeaderMap, HeaderError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let key = HeaderName::try_from(name).map_err(|source| HeaderError::Name {
            name: name.to_owned(),
            source,
        })?;
        let mut value = HeaderValue::try_from(value).map_err(|source| HeaderError::Value {
            name: name.to_owned(),
            source,
        })?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

fn http_url_from_base(base: &str, signal: Signal) -> Result<Uri, EndpointError> {
    let base = http_url(base)?;
    let path = base.path().trim_end_matches('/');
    let query = base
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    with_path(&base, &format!("{path}/v1/{}{query}", signal.as_str()))
}

fn http_url(text: &str) -> Result<Uri, EndpointError> {
    let url: Uri = text
        .trim()
        .parse()
        .map_err(|error: uri::InvalidUri| EndpointError::Syntax(error.into()))?;
    match url.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(EndpointError::Scheme),
    }
    let authority = url.authority().ok_or(EndpointError::Host)?;
    if authority.host().is_empty() {
        return Err(EndpointError::Host);
    }
    if authority.as_str().contains('@') {
        return Err(EndpointError::UserInfo);
    }
    Ok(url)
}

fn grpc_url(text: &str, insecure: bool) -> Result<Uri, EndpointError> {
    let text = text.trim();
    let url = if text.contains("://") {
        http_url(text)?
    } else {
        let scheme = if insecure { "http" } else { "https" };
        http_url(&format!("{scheme}://{text}"))?
    };
    // gRPC has its own paths.
    with_path(&url, "/")
}

fn with_path(url: &Uri, path_and_query: &str) -> Result<Uri, EndpointError> {
    let mut parts = url.clone().into_parts();
    let path = path_and_query
        .parse()
        .map_err(|error: uri::InvalidUri| EndpointError::Syntax(error.into()))?;
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|error| EndpointError::Syntax(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConfiguredEndpoint::{Generic, Signal as Own};
    use Protocol::{Grpc, HttpProtobuf};

    fn check(
        configured: ConfiguredEndpoint<'_>,
        signal: Signal,
        protocol: Protocol,
        insecure: bool,
        expected: &str,
    ) {
        let actual = match resolve_endpoint(configured, signal, protocol, insecure) {
            Ok(url) => url.to_string(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(
            actual, expected,
            "{configured:?} {signal:?} {protocol:?} insecure={insecure}"
        );
    }

    #[test]
    fn http_examples_of_the_specification() {
        for (configured, signal, expected) in [
            // Example 1
            (
                Generic("http://collector:4318"),
                Signal::Traces,
                "http://collector:4318/v1/traces",
            ),
            (
                Generic("http://collector:4318"),
                Signal::Metrics,
                "http://collector:4318/v1/metrics",
            ),
            // Example 2
            (
                Own("http://collector:4318"),
                Signal::Traces,
                "http://collector:4318/",
            ),
            (
                Own("https://collector.example.com/v1/metrics"),
                Signal::Metrics,
                "https://collector.example.com/v1/metrics",
            ),
            // Example 3
            (
                Generic("http://collector:4318/mycollector/"),
                Signal::Traces,
                "http://collector:4318/mycollector/v1/traces",
            ),
            (
                Own("https://collector.example.com/v1/metrics/"),
                Signal::Metrics,
                "https://collector.example.com/v1/metrics/",
            ),
        ] {
            check(configured, signal, HttpProtobuf, false, expected);
        }
    }

    #[test]
    fn http_corner_cases() {
        for (configured, expected) in [
            (Generic("http://c/"), "http://c/v1/metrics"),
            (Generic("http://c/a"), "http://c/a/v1/metrics"),
            (
                Generic(" https://c:1/a?key=1 "),
                "https://c:1/a/v1/metrics?key=1",
            ),
            (Generic("http://[::1]:4318"), "http://[::1]:4318/v1/metrics"),
            (Own("http://c?key=1"), "http://c/?key=1"),
            (Own("HTTP://c/x"), "http://c/x"),
            (
                Generic("c:4318"),
                "error: must start with http:// or https://",
            ),
            (
                Generic("ftp://c"),
                "error: must start with http:// or https://",
            ),
            (
                Generic("http://user:secret@c"),
                "error: must not hold a user name or password; use headers instead",
            ),
            (Generic("http://:4318"), "error: names no host"),
            (Generic("http://a b"), "error: is not a URL"),
            (Generic(""), "error: is not a URL"),
        ] {
            // `insecure` is for gRPC alone.
            check(configured, Signal::Metrics, HttpProtobuf, false, expected);
            check(configured, Signal::Metrics, HttpProtobuf, true, expected);
        }
    }

    #[test]
    fn grpc_accepts_urls_and_host_port() {
        for (text, insecure, expected) in [
            ("http://c:4317", false, "http://c:4317/"),
            ("http://c:4317", true, "http://c:4317/"),
            ("https://c:4317", false, "https://c:4317/"),
            ("https://c:4317", true, "https://c:4317/"),
            ("c:4317", false, "https://c:4317/"),
            ("c:4317", true, "http://c:4317/"),
            ("[::1]:4317", true, "http://[::1]:4317/"),
            ("http://c:4317/ignored/path", false, "http://c:4317/"),
            (
                "ftp://c:4317",
                false,
                "error: must start with http:// or https://",
            ),
            ("unix:///run/c.sock", true, "error: is not a URL"),
            ("", true, "error: is not a URL"),
        ] {
            check(Generic(text), Signal::Metrics, Grpc, insecure, expected);
            check(Own(text), Signal::Metrics, Grpc, insecure, expected);
        }
    }

    #[test]
    fn headers_are_checked_and_kept_secret() {
        let headers = header_map([("Authorization", "Bearer s3cret"), ("x-tenant", "a")]).unwrap();
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert!(!format!("{headers:?}").contains("s3cret"));

        let error = header_map([("no spaces", "x")]).unwrap_err();
        assert_eq!(error.to_string(), "\"no spaces\" is not a header name");
        let error = header_map([("x", "line\nbreak")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value of header \"x\" has characters a header cannot carry"
        );
    }
}
