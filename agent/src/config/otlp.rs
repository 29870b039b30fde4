//! The keys of OTLP export, and what they come to for one signal.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::ClientTls;
use super::value::{ByteSize, Duration, Secret, Toggle};

/// Export over OTLP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// Base URL of the receiver, such as `http://collector:4318`; HTTP requests go to `v1/metrics`, `v1/traces` and `v1/logs` below it.
    /// With `grpc`, `host:port` will do. Nothing is exported while no endpoint is set.
    #[schemars(extend("x-default" = "none: OTLP export is off"))]
    pub endpoint: Option<String>,
    /// Transport.
    pub protocol: OtlpProtocol,
    /// Headers (gRPC metadata) sent with every request, by name. Their values are never shown.
    pub headers: BTreeMap<String, Secret>,
    /// Compression of requests.
    pub compression: OtlpCompression,
    /// How long one request may take, retries not included.
    pub timeout: Duration,
    /// How often is exported. At least `100ms`.
    #[schemars(extend("x-default" = "`60s` for metrics, `5s` for traces, `1s` for logs"))]
    pub interval: Option<Duration>,
    /// How much memory spans, and as much again log records, may take that wait for their export, such as while the receiver is away; beyond that the oldest make room. At least `64KiB`. Metrics do not queue: each export reads them anew.
    #[schemars(extend("x-default" = "from `memory_budget`: `2MiB` at `128MiB`"))]
    pub queue_size: Option<ByteSize>,
    /// What waits goes on disk where memory has no room for it.
    pub spill: OtlpSpill,
    /// With `grpc`: no TLS for an endpoint without `http://` or `https://`.
    pub insecure: Toggle,
    /// How agent and receiver trust each other. At start the files have to be there; they may be renewed: a change is used from the next export on, unless it cannot be used.
    pub tls: ClientTls,
    /// What is different for metrics.
    pub metrics: OtlpMetrics,
    /// What is different for traces.
    pub traces: OtlpSignal,
    /// What is different for logs, which are events (see `events.export`).
    pub logs: OtlpSignal,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: OtlpProtocol::HttpProtobuf,
            headers: BTreeMap::new(),
            compression: OtlpCompression::None,
            timeout: Duration::from_secs(10),
            interval: None,
            queue_size: None,
            spill: OtlpSpill::default(),
            insecure: Toggle::Off,
            tls: ClientTls::default(),
            metrics: OtlpMetrics::default(),
            traces: OtlpSignal::default(),
            logs: OtlpSignal::default(),
        }
    }
}

/// What every signal may have for itself, and what only one has.
macro_rules! signal_keys {
    ($(#[doc = $doc:literal])+ $name:ident $({ $(#[doc = $own_doc:literal])+ $own:ident: $kind:ty, })*) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// URL requests of this signal go to, as it is: nothing is appended.
            #[schemars(extend("x-default" = "`otlp.endpoint`"))]
            pub endpoint: Option<String>,
            /// Transport.
            #[schemars(extend("x-default" = "`otlp.protocol`"))]
            pub protocol: Option<OtlpProtocol>,
            /// Headers (gRPC metadata) sent with every request, by name, instead of those in `otlp.headers`.
            #[schemars(extend("x-default" = "`otlp.headers`"))]
            pub headers: Option<BTreeMap<String, Secret>>,
            /// Compression of requests.
            #[schemars(extend("x-default" = "`otlp.compression`"))]
            pub compression: Option<OtlpCompression>,
            /// How long one request may take, retries not included.
            #[schemars(extend("x-default" = "`otlp.timeout`"))]
            pub timeout: Option<Duration>,
            /// How often is exported. At least `100ms`.
            #[schemars(extend("x-default" = "`otlp.interval`"))]
            pub interval: Option<Duration>,
            /// As `otlp.queue_size`.
            #[schemars(extend("x-default" = "`otlp.queue_size`"))]
            pub queue_size: Option<ByteSize>,
            /// As `otlp.insecure`.
            #[schemars(extend("x-default" = "`otlp.insecure`"))]
            pub insecure: Option<Toggle>,
            /// How agent and receiver trust each other.
            pub tls: OtlpSignalTls,
            $($(#[doc = $own_doc])+ pub $own: $kind,)*
        }
    };
}

signal_keys! {
    /// Overrides of the `otlp` keys for one signal.
    OtlpSignal
}

signal_keys! {
    /// Overrides of the `otlp` keys for metrics, and how these are told.
    OtlpMetrics
    {
        /// What the points of counters and histograms tell. Up-down counters and gauges always tell what is. `/metrics` always tells all.
        temporality: OtlpTemporality,
    }
    {
        /// Which buckets histograms have. `/metrics` always has explicit ones.
        histogram_aggregation: OtlpHistograms,
    }
}

impl OtlpMetrics {
    /// What every signal may have.
    fn general(&self) -> OtlpSignal {
        let own = self.clone();
        OtlpSignal {
            endpoint: own.endpoint,
            protocol: own.protocol,
            headers: own.headers,
            compression: own.compression,
            timeout: own.timeout,
            interval: own.interval,
            queue_size: own.queue_size,
            insecure: own.insecure,
            tls: own.tls,
        }
    }
}

/// What points of counters and histograms tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtlpTemporality {
    /// all since the series began
    #[default]
    Cumulative,
    /// what came since the last point that was delivered
    Delta,
    /// as `delta`, but for the agent's own counters, which are as `cumulative`
    LowMemory,
}

/// Which buckets histograms have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtlpHistograms {
    /// those in the reference of metrics
    #[default]
    ExplicitBucketHistogram,
    /// up to 160, which follow from what was observed (`ExponentialHistogram`)
    Base2ExponentialBucketHistogram,
}

/// Spans and log records on disk: those that `otlp.queue_size` has no room for, such as in an outage of minutes, and those that are left when the agent stops, which the next one exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpSpill {
    /// Directory of the files, made if it is not there; for this agent alone. Events carry arguments of processes, so nobody else may read it.
    #[schemars(extend("x-default" = "none: nothing goes on disk"))]
    pub directory: Option<PathBuf>,
    /// Most disk space for spans, and as much again for log records; beyond that the oldest make room. At least `4MiB`.
    pub size: ByteSize,
}

impl Default for OtlpSpill {
    fn default() -> Self {
        Self {
            directory: None,
            size: ByteSize::from_mib(256),
        }
    }
}

/// How agent and receiver of one signal trust each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpSignalTls {
    /// PEM file of the authorities trusted for `https`.
    #[schemars(extend("x-default" = "`otlp.tls.ca_file`"))]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the agent's own certificate.
    #[schemars(extend("x-default" = "`otlp.tls.cert_file`"))]
    pub cert_file: Option<PathBuf>,
    /// PEM file of that certificate's key.
    #[schemars(extend("x-default" = "`otlp.tls.key_file`"))]
    pub key_file: Option<PathBuf>,
}

/// Transport of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OtlpProtocol {
    /// gRPC, usually port 4317
    #[serde(rename = "grpc")]
    Grpc,
    /// binary protobuf over HTTP, usually port 4318
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// Compression of OTLP requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtlpCompression {
    /// as they are
    None,
    /// gzip
    Gzip,
    /// zstd: small like gzip, much faster. The OpenTelemetry Collector takes it; the OTLP specification asks no receiver to
    Zstd,
}

/// A signal exported over OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Metrics.
    Metrics,
    /// Spans.
    Traces,
    /// Log records: events.
    Logs,
}

/// An OTLP endpoint as configured; joining the signal's path to it is the exporter's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtlpEndpoint {
    /// For all signals: over HTTP, `v1/metrics`, `v1/traces` or `v1/logs` is to be appended.
    Base(String),
    /// For this signal alone: to be used as it is.
    Exact(String),
}

impl OtlpEndpoint {
    /// The text as configured.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Base(url) | Self::Exact(url) => url,
        }
    }
}

/// What the keys come to for one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSettings {
    /// Where to.
    pub endpoint: OtlpEndpoint,
    /// Transport.
    pub protocol: OtlpProtocol,
    /// Headers or gRPC metadata; names and values are valid in HTTP.
    pub headers: BTreeMap<String, Secret>,
    /// Compression of requests.
    pub compression: OtlpCompression,
    /// Limit for one request.
    pub timeout: std::time::Duration,
    /// Time from one export to the next.
    pub interval: std::time::Duration,
    /// No TLS for a gRPC endpoint without a scheme.
    pub insecure: bool,
    /// PEM files of trusted authorities (the system's if there is none), of the agent's certificate and of its key.
    pub tls: ClientTls,
}

impl Otlp {
    /// The overrides for `signal`.
    pub fn overrides(&self, signal: Signal) -> OtlpSignal {
        match signal {
            Signal::Metrics => self.metrics.general(),
            Signal::Traces => self.traces.clone(),
            Signal::Logs => self.logs.clone(),
        }
    }

    /// What is set for `signal`, its own keys before the general ones; nothing if it has no endpoint.
    ///
    /// A signal's own key wins over the general one wherever the two were set, so a general variable does
    /// not replace a signal's key in the file. The intervals are OpenTelemetry's: `OTEL_METRIC_EXPORT_INTERVAL`,
    /// `OTEL_BSP_SCHEDULE_DELAY` and `OTEL_BLRP_SCHEDULE_DELAY` of the SDK environment variables.
    pub fn settings(&self, signal: Signal) -> Option<OtlpSettings> {
        let own = self.overrides(signal);
        let exact = own.endpoint.clone().map(OtlpEndpoint::Exact);
        let usual_interval = Duration::from_secs(match signal {
            Signal::Metrics => 60,
            Signal::Traces => 5,
            Signal::Logs => 1,
        });
        Some(OtlpSettings {
            endpoint: exact.or_else(|| self.endpoint.clone().map(OtlpEndpoint::Base))?,
            protocol: own.protocol.unwrap_or(self.protocol),
            headers: own.headers.as_ref().unwrap_or(&self.headers).clone(),
            compression: own.compression.unwrap_or(self.compression),
            timeout: own.timeout.unwrap_or(self.timeout).get(),
            interval: own
                .interval
                .or(self.interval)
                .unwrap_or(usual_interval)
                .get(),
            insecure: own.insecure.unwrap_or(self.insecure).is_on(),
            tls: self.tls_of(&own),
        })
    }

    fn tls_of(&self, own: &OtlpSignal) -> ClientTls {
        let of = |own: &Option<PathBuf>, general: &Option<PathBuf>| {
            own.as_ref().or(general.as_ref()).cloned()
        };
        ClientTls {
            ca_file: of(&own.tls.ca_file, &self.tls.ca_file),
            cert_file: of(&own.tls.cert_file, &self.tls.cert_file),
            key_file: of(&own.tls.key_file, &self.tls.key_file),
        }
    }
}
