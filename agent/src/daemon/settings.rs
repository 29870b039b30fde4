//! From the configuration to what each part wants to know.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::pipeline::{Budget, LiveSettings, PipelineSettings, Reconfigured};
use crate::config::budget::Component;
use crate::config::{
    ByteSize, ClientTls, Config, ConntrackMode, KubernetesMode as ConfiguredMode, NamePattern,
    NamespacePattern, OtlpCompression, OtlpEndpoint, OtlpHistograms, OtlpProtocol, OtlpTemporality,
    PeerAddresses as ConfiguredAddresses, ProcessArgs, Signal as ConfiguredSignal, Sizes, Toggle,
};
use crate::counters::Signal;
use crate::export::otlp::{
    Compression, ConfiguredEndpoint, EndpointError, HeaderError, OtlpSettings, OwnSettings,
    Protocol, SignalSettings, SpillSettings, Temporality, header_map, resolve_endpoint,
};
use crate::identity::kube::{AllowList, KubernetesMode};
use crate::identity::remote::RemoteSettings;
use crate::identity::scan::find_mount;
use crate::identity::{Identity, IdentityLimits, IdentitySettings, PeerAddresses, Resource};
use crate::kernel::{Feature, HookError, Hooks, ProbeSettings, WantConntrack, embedded_object};
use crate::policy::Namespaces;
use crate::recording::Start;
use crate::telemetry::arguments::Arguments;
use crate::telemetry::sampling::Sampler;
use crate::telemetry::spans::SpanBuilder;
use crate::telemetry::store::Buckets;
use crate::tls::{ClientFiles, Pair};

/// Part of the budget for records that wait for their pod: one in this many bytes.
const WAITING_SHARE: u64 = 32;

/// Longer than the kernel goes on with an attempt to connect (two minutes, unless told otherwise), or with what a socket that
/// nobody holds has left to send.
const MISSING_PATIENCE: Duration = Duration::from_mins(10);

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
    /// The URL of the resolver.
    #[error("kubernetes.resolver")]
    Resolver(#[source] http::uri::InvalidUri),
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
    /// For the agent's own telemetry.
    pub own: OwnSettings,
    /// Whether to ask the Kubernetes API.
    pub kubernetes: KubernetesMode,
    /// Labels and annotations kept of pods.
    pub allowed: AllowList,
    /// Pods known at most.
    pub pods: usize,
    /// The resolver to follow, if any.
    pub resolver: Option<RemoteSettings>,
    /// Whether to watch the whole cluster if there is none.
    pub watch_cluster: bool,
    /// Objects of the cluster, of each kind, known at most.
    pub cluster_objects: usize,
    identity: IdentitySettings,
}

impl Settings {
    /// Derives them all.
    ///
    /// # Errors
    /// OTLP endpoints or headers that no request could be made with.
    pub fn new(config: &Config) -> Result<Self, SettingsError> {
        Self::of_boot(config, &boot_id())
    }

    /// The same for the replay of a recording, which is of another node and time.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_recording(config: &Config, start: &Start) -> Result<Self, SettingsError> {
        let mut settings = Self::of_boot(config, &start.boot_id)?;
        settings.identity.node_name.clone_from(&start.node_name);
        Ok(settings)
    }

    fn of_boot(config: &Config, boot_id: &str) -> Result<Self, SettingsError> {
        let sizes = config.sizes();
        Ok(Self {
            probes: probes(config, &sizes)?,
            pipeline: pipeline(config, &sizes, boot_id),
            otlp: OtlpSettings {
                metrics: signal(config, Signal::Metrics, &sizes)?,
                traces: signal(config, Signal::Traces, &sizes)?,
                logs: if config.exports_events() {
                    signal(config, Signal::Logs, &sizes)?
                } else {
                    None
                },
                temporality: match config.otlp.metrics.temporality {
                    OtlpTemporality::Cumulative => Temporality::Cumulative,
                    OtlpTemporality::Delta => Temporality::Delta,
                    OtlpTemporality::LowMemory => Temporality::LowMemory,
                },
            },
            own: OwnSettings {
                traces: wanted(config.traces.agent, config, Signal::Traces, &sizes)?,
                logs: wanted(config.log.export, config, Signal::Logs, &sizes)?,
            },
            kubernetes: match config.kubernetes.mode {
                ConfiguredMode::Auto => KubernetesMode::Auto,
                ConfiguredMode::Off => KubernetesMode::Off,
                ConfiguredMode::Required => KubernetesMode::Required,
            },
            allowed: allowed(config),
            pods: entries(sizes.pods),
            resolver: resolver(config)?,
            watch_cluster: config.peers.kubernetes.is_on(),
            cluster_objects: cluster_objects(config),
            identity: identity(config, &sizes),
        })
    }

    /// Whose the agent's own telemetry is.
    pub fn own_resource(&self) -> Arc<Resource> {
        Identity::own_resource(&self.identity)
    }

    /// For identity; `kubernetes` says whether pods are watched, `cluster` whether somebody tells of the rest of the cluster.
    /// `host_netns` is the host's network namespace.
    pub fn identity(
        &self,
        (kubernetes, cluster): (bool, bool),
        host_netns: Option<u32>,
    ) -> IdentitySettings {
        IdentitySettings {
            kubernetes,
            cluster,
            host_netns,
            ..self.identity.clone()
        }
    }
}

fn probes(config: &Config, sizes: &Sizes) -> Result<ProbeSettings, HookError> {
    let wanted = [
        (Feature::Process, config.features.process),
        (Feature::Tcp, config.features.tcp),
        (Feature::Udp, config.features.udp),
        (Feature::Dns, config.features.dns),
        (Feature::Drops, config.features.drops),
    ];
    let cgroups = find_mount().ok().filter(|mount| mount.whole);
    Ok(ProbeSettings {
        features: wanted
            .into_iter()
            .filter(|(_, toggle)| toggle.is_on())
            .map(|(feature, _)| feature)
            .collect(),
        identity_ring: ring(sizes.identity_ring.bytes()),
        process_ring: ring(sizes.process_ring.bytes()),
        network_ring: ring(sizes.network_ring.bytes()),
        payload_ring: ring(sizes.payload_ring.bytes()),
        dns_ports: config.dns.ports.iter().map(|port| port.get()).collect(),
        connections: sizes.connections,
        listeners: sizes.listeners(),
        spill: sizes.spill,
        drops: sizes.drops,
        udp_flows: sizes.udp_flows,
        cgroup_root: cgroups.map(|mount| mount.path),
        conntrack: match config.peers.conntrack {
            ConntrackMode::Off => WantConntrack::No,
            ConntrackMode::Auto => WantConntrack::IfPossible,
            ConntrackMode::On => WantConntrack::Yes,
        },
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

impl Reconfigured {
    /// What of a configuration may change while the agent runs.
    pub fn by(config: &Config) -> Self {
        let sizes = config.sizes();
        Self {
            live: live(config, &sizes),
            identity: identity(config, &sizes),
        }
    }
}

fn live(config: &Config, sizes: &Sizes) -> LiveSettings {
    LiveSettings {
        series: entries(sizes.series),
        series_per_metric: entries(sizes.series_per_metric),
        series_idle_timeout: config.series_idle_timeout.get(),
        arguments: match config.process.args {
            ProcessArgs::Off => Arguments::Off,
            ProcessArgs::Redacted => Arguments::Redacted,
            ProcessArgs::Full => Arguments::Full,
        },
        exported_events: config
            .events
            .kinds
            .iter()
            .map(|kind| kind.event_name())
            .collect(),
        event_rate: config.events.rate_limit.per_second(),
        question_names: config.dns.question_name.is_on(),
        namespaces: namespaces(config),
        budget: Budget {
            total: config.memory_budget.bytes(),
            shares: Component::ALL.map(|component| (component, sizes.at_most(component))),
        },
    }
}

fn namespaces(config: &Config) -> Namespaces {
    let namespaces = &config.kubernetes.namespaces;
    Namespaces::new(
        namespaces.include.iter().map(NamespacePattern::as_str),
        namespaces.exclude.iter().map(NamespacePattern::as_str),
    )
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn pipeline(config: &Config, sizes: &Sizes, boot_id: &str) -> PipelineSettings {
    let spans = config.traces.process.is_on() || config.traces.tcp.is_on();
    let slow = nanoseconds(config.traces.slow_connection.get());
    let budget = config.memory_budget.bytes();
    PipelineSettings {
        drain_interval: config.rings.drain_interval.get(),
        snapshot_interval: config.snapshot_interval.get(),
        live: live(config, sizes),
        processes: entries(sizes.processes),
        lookups: entries(sizes.lookups),
        connections: entries(sizes.connections),
        missing_patience: MISSING_PATIENCE,
        cgroups: entries(sizes.cgroups),
        waiting_bytes: bytes(ByteSize::from_bytes(budget / WAITING_SHARE)),
        waiting_items: entries(sizes.outbox),
        spans: spans.then(|| {
            let tcp = config.traces.tcp.is_on().then_some(slow);
            let slow_process = nanoseconds(config.traces.sampling.slow_process.get());
            let sampler = Sampler::new(config.traces.sampling.process.get(), slow_process);
            SpanBuilder::new(boot_id, config.traces.process.is_on(), tcp).with_sampler(sampler)
        }),
        program_stats: config.program_stats.is_on(),
        buckets: match config.otlp.metrics.histogram_aggregation {
            OtlpHistograms::Base2ExponentialBucketHistogram if config.exports_metrics() => {
                Buckets::Both
            }
            _ => Buckets::Explicit,
        },
        exports_metrics: config.exports_metrics(),
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
        use_well_known_labels: config.kubernetes.well_known_labels.is_on(),
        limits: IdentityLimits {
            cgroups: entries(sizes.cgroups),
            owners: entries(sizes.owners),
            pods: entries(sizes.pods),
            cluster_objects: entries(sizes.cluster_objects),
            ..IdentityLimits::default()
        },
        ..IdentitySettings::default()
    }
}

fn allowed(config: &Config) -> AllowList {
    let kubernetes = &config.kubernetes;
    AllowList::new(
        kubernetes.labels.iter().map(NamePattern::as_str),
        kubernetes.annotations.iter().map(NamePattern::as_str),
    )
}

fn signal(
    config: &Config,
    signal: Signal,
    sizes: &Sizes,
) -> Result<Option<SignalSettings>, SettingsError> {
    let configured = match signal {
        Signal::Metrics => ConfiguredSignal::Metrics,
        Signal::Traces => ConfiguredSignal::Traces,
        Signal::Logs => ConfiguredSignal::Logs,
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
            OtlpCompression::Zstd => Compression::Zstd,
        },
        timeout: otlp.timeout,
        interval: otlp.interval,
        queue_size: bytes(match signal {
            Signal::Logs => sizes.log_queue,
            Signal::Traces | Signal::Metrics => sizes.span_queue,
        }),
        spill: match signal {
            Signal::Metrics => None,
            Signal::Traces | Signal::Logs => spill(config, signal),
        },
        tls: client_files(otlp.tls),
    }))
}

fn client_files(tls: ClientTls) -> ClientFiles {
    ClientFiles {
        ca: tls.ca_file,
        own: Pair::of(tls.cert_file, tls.key_file),
    }
}

/// Where the agent's own telemetry of a signal goes, if it is wanted. It is not kept on disk.
fn wanted(
    toggle: Toggle,
    config: &Config,
    of: Signal,
    sizes: &Sizes,
) -> Result<Option<SignalSettings>, SettingsError> {
    if !toggle.is_on() {
        return Ok(None);
    }
    let settings = signal(config, of, sizes)?;
    Ok(settings.map(|settings| SignalSettings {
        spill: None,
        ..settings
    }))
}

fn spill(config: &Config, signal: Signal) -> Option<SpillSettings> {
    let spill = &config.otlp.spill;
    let directory = spill.directory.as_ref()?;
    Some(SpillSettings {
        directory: directory.join(signal.as_str()),
        limit: spill.size.bytes(),
    })
}

fn resolver(config: &Config) -> Result<Option<RemoteSettings>, SettingsError> {
    let Some(url) = &config.kubernetes.resolver else {
        return Ok(None);
    };
    Ok(Some(RemoteSettings {
        url: url.parse().map_err(SettingsError::Resolver)?,
        tls: client_files(config.kubernetes.resolver_tls.clone()),
        node_name: config.node_name.clone(),
        max_objects: cluster_objects(config),
    }))
}

fn cluster_objects(config: &Config) -> usize {
    entries(config.sizes().cluster_objects)
}

/// Ids of processes are unambiguous only together with it. Without `/proc` they still are for one boot.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn ring(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(1 << 31)
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}

fn entries(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
