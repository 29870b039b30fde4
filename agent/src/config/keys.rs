//! The configuration's keys. The doc comment of a field is what users read about it: in
//! `docs/configuration.md`, in the example file and in the JSON schema.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    budget::USUAL_BUDGET,
    events::Events,
    kubernetes::{Kubernetes, Resolver},
    otlp::{Otlp, Signal},
    tls::ServerTls,
    value::{ByteSize, Cidr, Duration, ListenAddress, Port, Ratio, Toggle},
};

/// Configuration of the Wellhead agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of this node, as Kubernetes knows it.
    #[schemars(extend("x-default" = "`$NODE_NAME`, else the host name"))]
    pub node_name: String,
    /// Memory the agent may use in all. Every map, ring, table and queue takes its size from it. At least `64MiB`.
    pub memory_budget: ByteSize,
    /// How long the last export may take after SIGTERM or SIGINT before the agent gives it up.
    pub shutdown_grace: Duration,
    /// What is captured. At least one of the features built in must be on.
    pub features: Features,
    /// How often live sockets and the kernel's maps are read. At least `1s`.
    pub snapshot_interval: Duration,
    /// Where the identity of pods comes from.
    pub kubernetes: Kubernetes,
    /// Name of the cluster, put on every Resource as `k8s.cluster.name`. Taken up while the agent runs.
    #[schemars(extend("x-default" = "none"))]
    pub cluster_name: Option<String>,
    /// Attributes put on every Resource, by key. They never replace what the agent found out itself. Taken up while the agent runs.
    pub resource_attributes: BTreeMap<String, String>,
    /// The agent's own log, written to standard error.
    pub log: Log,
    /// How the far ends of connections that are no Kubernetes objects are named.
    pub peers: Peers,
    /// Most time series of all metrics together. What goes beyond is counted in one overflow series per metric. At least `100`. Taken up while the agent runs.
    #[serde(deserialize_with = "super::value::optional_integer")]
    #[schemars(extend("x-default" = "from `memory_budget`: `20000` at `128MiB`, fewer where `otlp.metrics` makes a series larger"))]
    pub series_limit: Option<u32>,
    /// Most time series of any one metric, so that a workload with ever new names does not use up the room of all metrics. At least `10`. Taken up while the agent runs.
    #[serde(deserialize_with = "super::value::optional_integer")]
    #[schemars(extend("x-default" = "a quarter of `series_limit`"))]
    pub series_limit_per_metric: Option<u32>,
    /// How long a series may go without a new value before it is forgotten. At least `1s`. Taken up while the agent runs.
    pub series_idle_timeout: Duration,
    /// Export over OTLP.
    pub otlp: Otlp,
    /// The HTTP listener: `/metrics`, `/healthz`, `/readyz` and, if allowed, `/api/v1/status`.
    pub prometheus: Prometheus,
    /// Which spans are made.
    pub traces: Traces,
    /// Which events are exported.
    pub events: Events,
    /// Look-ups of names.
    pub dns: Dns,
    /// The rings between kernel and agent, for tests and tuning. All together may take a quarter of `memory_budget`.
    pub rings: Rings,
    /// Measure the run time of every eBPF program (as `kernel.bpf_stats_enabled` does). Needs `CAP_SYS_ADMIN`. The measuring itself costs a little on every run.
    pub program_stats: Toggle,
    /// What is reported of processes.
    pub process: Process,
    /// What stays in the kernel when the agent ends.
    pub pins: Pins,
    /// Directory of the agent's socket (`wellhead.sock`) and of the lock that keeps a second agent out.
    pub runtime_directory: PathBuf,
    /// What `wellhead resolver` does; agents do not look at it.
    pub resolver: Resolver,
}

impl Config {
    /// Whether metrics are exported over OTLP.
    pub fn exports_metrics(&self) -> bool {
        self.otlp.settings(Signal::Metrics).is_some()
    }

    /// Whether events are to be exported: as `events.export` says, or where an endpoint was set for them.
    pub fn exports_events(&self) -> bool {
        let asked = self.events.export.map(Toggle::is_on);
        asked.unwrap_or(self.otlp.logs.endpoint.is_some())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            memory_budget: USUAL_BUDGET,
            shutdown_grace: Duration::from_secs(5),
            features: Features::default(),
            snapshot_interval: Duration::from_secs(10),
            kubernetes: Kubernetes::default(),
            cluster_name: None,
            resource_attributes: BTreeMap::new(),
            log: Log::default(),
            peers: Peers::default(),
            series_limit: None,
            series_limit_per_metric: None,
            series_idle_timeout: Duration::from_secs(600),
            otlp: Otlp::default(),
            prometheus: Prometheus::default(),
            traces: Traces::default(),
            events: Events::default(),
            dns: Dns::default(),
            rings: Rings::default(),
            program_stats: Toggle::Off,
            process: Process::default(),
            pins: Pins::default(),
            runtime_directory: PathBuf::from("/run/wellhead"),
            resolver: Resolver::default(),
        }
    }
}

/// What is captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Features {
    /// Processes: fork, exec, exit and out-of-memory kills.
    pub process: Toggle,
    /// TCP connections: opened, closed, failed, and what they carried.
    pub tcp: Toggle,
    /// UDP traffic: bytes and datagrams by peer. Its programs run for each packet; of what is not UDP they look at two bytes.
    pub udp: Toggle,
    /// DNS look-ups: how long, how they ended, and which names addresses have. Its programs run for each packet, and look at its ports.
    pub dns: Toggle,
    /// Packets dropped by the kernel, by reason.
    pub drops: Toggle,
    /// Requests inside connections. Not built in this version.
    pub l7: Toggle,
    /// Requests inside TLS. Not built in this version.
    pub tls: Toggle,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            process: Toggle::On,
            tcp: Toggle::On,
            udp: Toggle::On,
            dns: Toggle::On,
            drops: Toggle::On,
            l7: Toggle::Off,
            tls: Toggle::Off,
        }
    }
}

/// The agent's own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least severe messages that are written. Taken up while the agent runs.
    pub level: LogLevel,
    /// How messages are written.
    pub format: LogFormat,
    /// Whether messages are also exported over OTLP, as log records of the service `wellhead`, to where log records go.
    pub export: Toggle,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: LogLevel::default(),
            format: LogFormat::default(),
            export: Toggle::Off,
        }
    }
}

/// Severity of log messages.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// what stops part of the agent
    Error,
    /// what is wrong and worked around
    Warn,
    /// what an operator wants to know
    #[default]
    Info,
    /// what a developer wants to know
    Debug,
    /// everything
    Trace,
}

/// How log messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// for people
    #[default]
    Text,
    /// one JSON object a line
    Json,
}

/// How the far ends of connections that are no Kubernetes objects are named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// What `source.address` and `destination.address` hold for such peers. Taken up while the agent runs.
    pub addresses: PeerAddresses,
    /// Whether this agent itself watches the cluster's pods, Services and nodes to name far ends; costs the API server one watch per kind and node; prefer a resolver (`kubernetes.resolver`), with which this has no effect.
    pub kubernetes: Toggle,
    /// Names of address blocks: a list of `{name, cidr}`. The longest prefix that holds an address names it. Taken up while the agent runs.
    pub cidrs: Vec<NamedCidr>,
    /// Whether to ask the kernel's connection tracking where connections to translated addresses, such as those of Services, really go. Takes `CAP_NET_ADMIN`, and outside the host's network namespace `CAP_SYS_ADMIN` and `CAP_SYS_PTRACE`.
    pub conntrack: ConntrackMode,
}

/// Whether to ask connection tracking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConntrackMode {
    /// where the kernel has it and the agent may
    #[default]
    Auto,
    /// always; where it cannot be asked, `doctor` and the log say that something is missing
    #[serde(alias = "true")]
    On,
    /// never
    #[serde(alias = "false")]
    Off,
}

/// How peers outside Kubernetes are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeerAddresses {
    /// the name of the block in `peers.cidrs` that holds them, else the name the same container looked them up by (`features.dns`), else `external`
    #[default]
    Name,
    /// their IP address; every peer is a time series of its own
    Ip,
}

/// An address block and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an entry such as `{name: office, cidr: 192.0.2.0/24}`"
)]
pub struct NamedCidr {
    /// The name peers in the block get.
    pub name: String,
    /// The block, such as `10.0.0.0/8`.
    pub cidr: Cidr,
}

/// The HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prometheus {
    /// IP address and port to listen on.
    pub listen: ListenAddress,
    /// Whether `/api/v1/status` is served there too. It is always served on the agent's socket.
    pub status: StatusMode,
    /// Put `otel_scope_name`, `otel_scope_version` and `otel_scope_schema_url` on every sample, as the OpenTelemetry specification does by default. They are the same everywhere, and make a page half as long again or more. What only `/metrics` has (`target_info`, the agent's own `process_*`) goes without.
    pub scope_labels: Toggle,
    /// TLS for `prometheus.listen`, and for `resolver.http_listen`; without a certificate there is none. At start the files have to be there; they may be renewed: a change is used within five seconds, unless it cannot be used. With `client_ca_file`, `/healthz` and `/readyz` alone answer those without a certificate, so that Kubernetes can ask them.
    pub tls: ServerTls,
    /// File with a token that requests have to bring (`Authorization: Bearer …`), all but those of `/healthz` and `/readyz`. It may be renewed likewise. Without `prometheus.tls` the token is sent in the clear.
    #[schemars(extend("x-default" = "none: nobody is asked for one"))]
    pub bearer_token_file: Option<PathBuf>,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            listen: ListenAddress::loopback(9464),
            status: StatusMode::Auto,
            scope_labels: Toggle::Off,
            tls: ServerTls::default(),
            bearer_token_file: None,
        }
    }
}

impl Prometheus {
    /// Whether the listener serves the agent's status.
    pub fn serves_status(&self) -> bool {
        match self.status {
            StatusMode::Auto => self.listen.is_loopback(),
            StatusMode::On => true,
            StatusMode::Off => false,
        }
    }
}

/// Whether the HTTP listener serves the agent's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusMode {
    /// only while `prometheus.listen` is a loopback address
    #[default]
    Auto,
    /// always
    #[serde(alias = "true")]
    On,
    /// never
    #[serde(alias = "false")]
    Off,
}

/// Which spans are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// One span per process, from exec to exit.
    pub process: Toggle,
    /// One span per slow, failed or reset TCP connection.
    pub tcp: Toggle,
    /// One span per request. Not built in this version.
    pub l7: Toggle,
    /// Spans of what the agent itself does, of the service `wellhead`: exports, scrapes, snapshots of what is open, and lists of the API server.
    pub agent: Toggle,
    /// From what connect time on a TCP connection counts as slow. `0` makes a span of every connection opened from here.
    pub slow_connection: Duration,
    /// Of which processes spans are exported.
    pub sampling: TraceSampling,
}

/// Of which processes spans are exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSampling {
    /// The share of traces of which every span is exported, from 0 to 1. Whatever it is, spans are exported of processes that failed, were killed or took long,
    /// of connections, and of all processes that these descend from.
    pub process: Ratio,
    /// From what life on the span of a process is always exported. `0` exports all.
    pub slow_process: Duration,
}

impl Default for TraceSampling {
    fn default() -> Self {
        Self {
            process: Ratio::ALL,
            slow_process: Duration::from_secs(10),
        }
    }
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            process: Toggle::Off,
            tcp: Toggle::Off,
            l7: Toggle::Off,
            agent: Toggle::Off,
            slow_connection: Duration::from_secs(1),
            sampling: TraceSampling::default(),
        }
    }
}

/// Look-ups of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Ports that servers are asked at, four at most.
    pub ports: Vec<Port>,
    /// Whether `dns.lookup.duration` tells the names that were asked for. Events always do. Taken up while the agent runs.
    pub question_name: Toggle,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            ports: vec![Port::DNS],
            question_name: Toggle::Off,
        }
    }
}

/// The rings between kernel and agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rings {
    /// Size of the ring for cgroup events; a power of two and a multiple of the page size.
    #[schemars(extend("x-default" = "from `memory_budget`: `256KiB` at `128MiB`"))]
    pub identity_size: Option<ByteSize>,
    /// Size of the ring for process events; a power of two and a multiple of the page size.
    #[schemars(extend("x-default" = "from `memory_budget`: `2MiB` at `128MiB`"))]
    pub process_size: Option<ByteSize>,
    /// Size of the ring for connection events; a power of two and a multiple of the page size.
    #[schemars(extend("x-default" = "from `memory_budget`: `4MiB` at `128MiB`"))]
    pub network_size: Option<ByteSize>,
    /// Size of the ring for what packets carry; a power of two and a multiple of the page size.
    #[schemars(extend("x-default" = "from `memory_budget`: `512KiB` at `128MiB`"))]
    pub payload_size: Option<ByteSize>,
    /// How often the rings are emptied, from `1ms` to `1s`. Longer saves wake-ups, shorter needs less room.
    pub drain_interval: Duration,
}

impl Default for Rings {
    fn default() -> Self {
        Self {
            identity_size: None,
            process_size: None,
            network_size: None,
            payload_size: None,
            drain_interval: Duration::from_millis(20),
        }
    }
}

/// What stays in the kernel when the agent ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pins {
    /// Whether the programs go on when the agent ends, so that the next one misses nothing. They stop by themselves ten minutes later; `wellhead uninstall` removes them.
    pub keep: Toggle,
    /// Where programs and maps are pinned; on a bpf filesystem.
    pub directory: PathBuf,
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            keep: Toggle::On,
            directory: PathBuf::from("/sys/fs/bpf/wellhead"),
        }
    }
}

/// What is reported of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Whether events of executions carry the arguments. Taken up while the agent runs.
    pub args: ProcessArgs,
}

/// How arguments of processes are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProcessArgs {
    /// not at all
    #[serde(alias = "false")]
    Off,
    /// with what looks like a secret replaced by `[redacted]` (docs/redaction.md)
    #[default]
    Redacted,
    /// as they are
    Full,
}
