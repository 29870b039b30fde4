//! From the configuration to what each part wants to know.

use std::fs;

use thiserror::Error;

use super::pipeline::PipelineSettings;
use crate::config::{
    Config, KubernetesMode as ConfiguredMode, OtlpCompression, OtlpEndpoint, OtlpProtocol,
    PeerAddresses as ConfiguredAddresses, ProcessArgs, Signal as ConfiguredSignal, Sizes,
};
use crate::counters::Signal;
use crate::export::otlp::{
    Compression, ConfiguredEndpoint, EndpointError, HeaderError, OtlpSettings, Protocol,
    SignalSettings, header_map, resolve_endpoint,
};
use crate::identity::kube::KubernetesMode;
use crate::identity::{IdentityLimits, IdentitySettings, PeerAddresses};
use crate::kernel::{Feature, HookError, Hooks, ProbeSettings, embedded_object};
use crate::telemetry::arguments::Arguments;
use crate::telemetry::spans::SpanBuilder;

/// Part of the budget for records that wait for their pod: one in this many bytes.
const WAITING_SHARE: u64 = 32;

/// A well-formed configuration that cannot be used all the same.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// An OTLP endpoint.
    #[error("otlp endpoint for {}", signal.as_str())]
    Endpoint {
        /// Of which signal.
        signal: Signal,
        /// What is wrong.
        source: EndpointError,
    },
    /// A test hook.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// An OTLP header.
    #[error("otlp headers for {}", signal.as_str())]
    Header {
        /// Of which signal.
        signal: Signal,
        /// What is wrong.
        source: HeaderError,
    },
}

/// Settings of every part.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For the probes.
    pub probes: ProbeSettings,
    /// For the pipeline.
    pub pipeline: PipelineSettings,
    /// For the exporter.
    pub otlp: OtlpSettings,
    /// Whether to ask the Kubernetes API.
    pub kubernetes: KubernetesMode,
    /// Pods known at most.
    pub pods: usize,
    identity: IdentitySettings,
}

impl Settings {
    /// Derives them all.
    ///
    /// # Errors
    /// OTLP endpoints or headers that no request could be made with.
    pub fn new(config: &Config) -> Result<Self, SettingsError> {
        let sizes = config.sizes();
        Ok(Self {
            probes: probes(config, &sizes)?,
            pipeline: pipeline(config, &sizes),
            otlp: OtlpSettings {
                metrics: signal(config, Signal::Metrics, &sizes)?,
                traces: signal(config, Signal::Traces, &sizes)?,
            },
            kubernetes: match config.kubernetes.mode {
                ConfiguredMode::Auto => KubernetesMode::Auto,
                ConfiguredMode::Off => KubernetesMode::Off,
                ConfiguredMode::Required => KubernetesMode::Required,
            },
            pods: entries(sizes.pods),
            identity: identity(config, &sizes),
        })
    }

    /// For identity; `kubernetes` says whether pods are watched.
    pub fn identity(&self, kubernetes: bool) -> IdentitySettings {
        IdentitySettings {
            kubernetes,
            ..self.identity.clone()
        }
    }
}

fn probes(config: &Config, sizes: &Sizes) -> Result<ProbeSettings, HookError> {
    let wanted = [
        (Feature::Process, config.features.process),
        (Feature::Tcp, config.features.tcp),
    ];
    Ok(ProbeSettings {
        features: wanted
            .into_iter()
            .filter(|(_, toggle)| toggle.is_on())
            .map(|(feature, _)| feature)
            .collect(),
        identity_ring: ring(sizes.identity_ring.bytes()),
        process_ring: ring(sizes.process_ring.bytes()),
        network_ring: ring(sizes.network_ring.bytes()),
        connections: sizes.connections,
        listeners: sizes.connections / 16,
        spill: sizes.spill,
        pin_directory: config
            .pins
            .keep
            .is_on()
            .then(|| config.pins.directory.clone()),
        object: embedded_object(),
        only_cgroup: None,
        hooks: Hooks::from_environment()?,
    })
}

fn pipeline(config: &Config, sizes: &Sizes) -> PipelineSettings {
    let spans = config.traces.process.is_on() || config.traces.tcp.is_on();
    let slow = config.traces.slow_connection.get().as_nanos();
    let slow = u64::try_from(slow).unwrap_or(u64::MAX);
    let budget = config.memory_budget.bytes();
    PipelineSettings {
        drain_interval: config.rings.drain_interval.get(),
        snapshot_interval: config.snapshot_interval.get(),
        series: entries(sizes.series),
        series_idle_timeout: config.series_idle_timeout.get(),
        processes: entries(sizes.processes),
        connections: entries(sizes.connections),
        cgroups: entries(sizes.cgroups),
        waiting_bytes: usize::try_from(budget / WAITING_SHARE).unwrap_or(usize::MAX),
        waiting_items: entries(sizes.span_queue),
        arguments: match config.process.args {
            ProcessArgs::Off => Arguments::Off,
            ProcessArgs::Redacted => Arguments::Redacted,
            ProcessArgs::Full => Arguments::Full,
        },
        spans: spans.then(|| {
            let tcp = config.traces.tcp.is_on().then_some(slow);
            SpanBuilder::new(&boot_id(), config.traces.process.is_on(), tcp)
        }),
        budget: vec![("total", budget), ("rings", 2 * sizes.rings().bytes())],
        program_stats: config.program_stats.is_on(),
    }
}

fn identity(config: &Config, sizes: &Sizes) -> IdentitySettings {
    let attributes = config.resource_attributes.iter();
    IdentitySettings {
        node_name: config.node_name.clone(),
        cluster_name: config.cluster_name.clone(),
        resource_attributes: attributes
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        cidrs: config
            .peers
            .cidrs
            .iter()
            .map(|named| {
                (
                    named.name.clone(),
                    named.cidr.network(),
                    named.cidr.prefix(),
                )
            })
            .collect(),
        peer_addresses: match config.peers.addresses {
            ConfiguredAddresses::Name => PeerAddresses::Name,
            ConfiguredAddresses::Ip => PeerAddresses::Ip,
        },
        kubernetes: false,
        limits: IdentityLimits {
            cgroups: entries(sizes.cgroups),
            owners: entries(sizes.owners),
            pods: entries(sizes.pods),
            ..IdentityLimits::default()
        },
        ..IdentitySettings::default()
    }
}

fn signal(
    config: &Config,
    signal: Signal,
    sizes: &Sizes,
) -> Result<Option<SignalSettings>, SettingsError> {
    let configured = match signal {
        Signal::Metrics => ConfiguredSignal::Metrics,
        Signal::Traces => ConfiguredSignal::Traces,
    };
    let Some(otlp) = config.otlp.settings(configured) else {
        return Ok(None);
    };
    let protocol = match otlp.protocol {
        OtlpProtocol::Grpc => Protocol::Grpc,
        OtlpProtocol::HttpProtobuf => Protocol::HttpProtobuf,
    };
    let endpoint = match &otlp.endpoint {
        OtlpEndpoint::Base(url) => ConfiguredEndpoint::Generic(url),
        OtlpEndpoint::Exact(url) => ConfiguredEndpoint::Signal(url),
    };
    let headers = otlp
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()));
    Ok(Some(SignalSettings {
        endpoint: resolve_endpoint(endpoint, signal, protocol, otlp.insecure)
            .map_err(|source| SettingsError::Endpoint { signal, source })?,
        protocol,
        headers: header_map(headers).map_err(|source| SettingsError::Header { signal, source })?,
        compression: match otlp.compression {
            OtlpCompression::None => Compression::None,
            OtlpCompression::Gzip => Compression::Gzip,
        },
        timeout: otlp.timeout,
        interval: otlp.interval,
        queue_size: entries(sizes.span_queue),
        ca_file: otlp.ca_file,
    }))
}

/// Ids of processes are unambiguous only together with it. Without `/proc` they still are for one boot.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn ring(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(1 << 31)
}

fn entries(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
