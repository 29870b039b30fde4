//! The metrics of this version.

use super::attributes::{Attr, FLOW};

/// The OpenTelemetry instrument of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instrument {
    /// A sum that only grows.
    Counter,
    /// A sum that also shrinks.
    UpDownCounter,
    /// A value that is set.
    Gauge,
    /// A distribution over explicit bounds.
    Histogram,
}

impl Instrument {
    /// Its name in the reference.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Whether a metric counts whole units or fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// Whole units.
    Int,
    /// Fractions, such as seconds. Histograms are always of this kind.
    Float,
}

/// What there is to know about a metric.
#[derive(Debug)]
pub struct Definition {
    /// OpenTelemetry name.
    pub name: &'static str,
    /// Instrument.
    pub instrument: Instrument,
    /// Value kind.
    pub value: ValueKind,
    /// Unit in UCUM.
    pub unit: &'static str,
    /// One sentence on what it measures.
    pub description: &'static str,
    /// Whether its points carry the [`FLOW`] attributes.
    pub flow: bool,
    /// Attributes beside the flow's, in key order.
    pub own_attributes: &'static [Attr],
    /// Upper bounds of the buckets, strictly increasing, without the infinite one; histograms only.
    pub bounds: &'static [f64],
}

impl Definition {
    /// Every attribute its points may carry, besides [`Attr::MetricOverflow`].
    pub fn attributes(&self) -> impl Iterator<Item = Attr> + use<> {
        let flow = if self.flow { FLOW } else { &[] };
        flow.iter().chain(self.own_attributes).copied()
    }
}

/// Bounds for what a network answers in: from 0.1 ms to 2.5 s.
const LATENCY: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Bounds for what takes parts of a second to some seconds, as semantic conventions have them.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Bounds for how long a connection or a process lives: from 10 ms to one hour.
const LIFETIME: &[f64] = &[0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0];

macro_rules! metrics {
    (@flow flow) => { true };
    (@flow plain) => { false };
    (@bounds) => { &[] };
    (@bounds $bounds:ident) => { $bounds };
    ($(
        #[doc = $doc:literal]
        $variant:ident = $name:literal, $instrument:ident $value:ident $unit:literal,
        $shape:ident [$($attr:ident),*] $(, $bounds:ident)?;
    )+) => {
        /// A metric. Ordered as in the catalogue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Metric { $(#[doc = $doc] $variant),+ }

        impl Metric {
            /// All of them, in catalogue order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Everything there is to know about it.
            pub const fn definition(self) -> &'static Definition {
                match self {
                    $(Self::$variant => {
                        const DEFINITION: Definition = Definition {
                            name: $name,
                            instrument: Instrument::$instrument,
                            value: ValueKind::$value,
                            unit: $unit,
                            description: $doc.trim_ascii(),
                            flow: metrics!(@flow $shape),
                            own_attributes: &[$(Attr::$attr),*],
                            bounds: metrics!(@bounds $($bounds)?),
                        };
                        &DEFINITION
                    })+
                }
            }
        }
    };
}

metrics! {
    /// Connections that reached ESTABLISHED.
    TcpConnectionsOpened = "wellhead.tcp.connections.opened", Counter Int "{connection}", flow [];
    /// Connections that left the states counted as active.
    TcpConnectionsClosed = "wellhead.tcp.connections.closed", Counter Int "{connection}", flow [];
    /// Connections established and not closed yet.
    TcpConnectionsActive = "wellhead.tcp.connections.active", UpDownCounter Int "{connection}", flow [];
    /// Connections and attempts that hang: in a state that normally lasts a moment for ten seconds and more, as the last snapshot found them.
    TcpConnectionsHanging = "wellhead.tcp.connections.hanging", Gauge Int "{connection}", flow [ConnectionState];
    /// For how long the one of them that hangs longest does.
    TcpConnectionsHangingLongest = "wellhead.tcp.connections.hanging.longest", Gauge Int "s", flow [ConnectionState];
    /// Connections that never reached ESTABLISHED.
    TcpConnectionFailures = "wellhead.tcp.connection.failures", Counter Int "{connection}", flow [ErrorType, DropReason];
    /// Time from the request to open a connection until it was established; told by the source only.
    TcpConnectDuration = "wellhead.tcp.connect.duration", Histogram Float "s", flow [], LATENCY;
    /// Time from established to closed.
    TcpConnectionDuration = "wellhead.tcp.connection.duration", Histogram Float "s", flow [], LIFETIME;
    /// Bytes applications sent and received, without headers and retransmissions.
    TcpIo = "wellhead.tcp.io", Counter Int "By", flow [NetworkIoDirection];
    /// Segments sent and received.
    TcpSegments = "wellhead.tcp.segments", Counter Int "{segment}", flow [NetworkIoDirection];
    /// Segments sent again.
    TcpRetransmits = "wellhead.tcp.retransmits", Counter Int "{segment}", flow [TcpRetransmitReason];
    /// Segments received out of order.
    TcpOutOfOrder = "wellhead.tcp.out_of_order", Counter Int "{segment}", flow [];
    /// Established connections that were reset: by the peer (`receive`), or resets this end sent (`transmit`).
    TcpResets = "wellhead.tcp.resets", Counter Int "{reset}", flow [NetworkIoDirection];
    /// Time for which connections had data to send, by what it waited for.
    TcpLimited = "wellhead.tcp.limited", Counter Float "s", flow [TcpLimit];
    /// The kernel's smoothed round-trip time, one sample per connection and snapshot (`snapshot_interval`), and one when it closes.
    TcpRtt = "wellhead.tcp.rtt", Histogram Float "s", flow [], LATENCY;
    /// The least round-trip time the kernel measured of late (`net.ipv4.tcp_min_rtt_wlen`, five minutes by default), sampled likewise: what the path takes without queues.
    TcpRttMin = "wellhead.tcp.rtt.min", Histogram Float "s", flow [], LATENCY;
    /// Connections that wait to be accepted, of all sockets that listen on the port, as the last snapshot found them.
    TcpListenQueueLength = "wellhead.tcp.listen.queue.length", Gauge Int "{connection}", plain [ServerPort];
    /// How many may wait there.
    TcpListenQueueLimit = "wellhead.tcp.listen.queue.limit", Gauge Int "{connection}", plain [ServerPort];
    /// SYNs turned away there: the queue was full, or there was no memory, or the SYN came again because the SYN-ACK was lost (`sk_drops`).
    TcpListenOverflows = "wellhead.tcp.listen.overflows", Counter Int "{connection}", plain [ServerPort];
    /// SYN-ACKs sent again there, also for connections that never came to be.
    TcpListenRetransmits = "wellhead.tcp.listen.retransmits", Counter Int "{segment}", plain [ServerPort];
    /// Bytes that datagrams carried, without headers.
    UdpIo = "wellhead.udp.io", Counter Int "By", flow [NetworkIoDirection, NetworkProtocolName];
    /// Datagrams sent and received; one that is sent in segments counts as many as there are on the wire.
    UdpDatagrams = "wellhead.udp.datagrams", Counter Int "{datagram}", flow [NetworkIoDirection, NetworkProtocolName];
    /// Time from a query to its answer, counted at the socket that asked; one that is not answered within five seconds counts as `timeout`.
    DnsLookupDuration = "dns.lookup.duration", Histogram Float "s", plain [DnsQuestionName, ErrorType], SECONDS;
    /// IP packets the kernel dropped. Those of no known socket are the node's.
    PacketDrops = "wellhead.packet.drops", Counter Int "{packet}", plain [DropReason];
    /// Programs executed.
    ProcessExecs = "wellhead.process.execs", Counter Int "{process}", plain [ProcessExecutableName];
    /// Processes forked.
    ProcessForks = "wellhead.process.forks", Counter Int "{process}", plain [];
    /// Processes that ended.
    ProcessExits = "wellhead.process.exits", Counter Int "{process}", plain [ProcessExecutableName, ProcessExitCode, ProcessSignal];
    /// Time from the start of a process to its end.
    ProcessDuration = "wellhead.process.duration", Histogram Float "s", plain [ProcessExecutableName], LIFETIME;
    /// Processes the kernel killed for lack of memory.
    ProcessOomKills = "wellhead.process.oom_kills", Counter Int "{process}", plain [ProcessExecutableName];
    /// Time processes ran on a processor, as the scheduler has it, split into user mode and kernel in the proportion that the timer's ticks tell. Read with every snapshot, and completed when the kernel lets go of a process that ended.
    ProcessCpuTime = "process.cpu.time", Counter Float "s", plain [CpuMode, ProcessExecutableName];
    /// Memory of processes that is in RAM, as the last snapshot found it: of its own, of files and shared. What several processes share counts for each.
    ProcessMemoryUsage = "process.memory.usage", UpDownCounter Int "By", plain [ProcessExecutableName];
    /// Bytes that processes had read from storage, and that they caused to be written there.
    ProcessDiskIo = "process.disk.io", Counter Int "By", plain [DiskIoDirection, ProcessExecutableName];
    /// Containers that ended: their main process did, or their cgroup was removed. Of a pod's, counted for the pod.
    ContainerExits = "wellhead.container.exits", Counter Int "{container}", plain [K8sContainerName, ProcessExitCode, ContainerOomKilled, ProcessSignal];
    /// Kernel records read.
    AgentRecords = "wellhead.agent.records", Counter Int "{record}", plain [RecordKind];
    /// Items discarded, by where and why.
    AgentDiscards = "wellhead.agent.discards", Counter Int "{item}", plain [Reason, Stage];
    /// Records read ÷ (records read + records that found their ring full + runs of programs that the kernel skipped + ends of connections that were missed), of a signal since the agent started. 1: nothing is known to be lost. Of records that found their ring full the details are missing and the totals are counted all the same; what skipped runs and missed ends would have told is not counted.
    AgentCompleteness = "wellhead.agent.completeness", Gauge Float "1", plain [Signal];
    /// Times connection tracking was asked where a connection really goes.
    AgentConntrackLookups = "wellhead.agent.conntrack.lookups", Counter Int "{lookup}", plain [Outcome];
    /// How far the agent is off where it checks itself; 0 is right.
    AgentInvariantDrift = "wellhead.agent.invariant.drift", Gauge Int "{item}", plain [Invariant];
    /// Series the store holds of each metric, its overflow series included.
    AgentSeries = "wellhead.agent.series", Gauge Int "{series}", plain [Metric];
    /// Series the store may hold of each metric (`series_limit_per_metric`), and without `wellhead.metric` of all together (`series_limit`); overflow series not counted.
    AgentSeriesLimit = "wellhead.agent.series.limit", Gauge Int "{series}", plain [Metric];
    /// Memory a part of the agent may take; of `total`, all of it: `memory_budget`.
    AgentMemoryBudget = "wellhead.agent.memory.budget", Gauge Int "By", plain [Component];
    /// Memory a part of the agent takes, estimated by what it holds; of `kernel_maps`, what the kernel says, or their size where it says nothing; of `total`, the pages of the process that are in memory, rings included and the kernel's maps not.
    AgentMemoryUsage = "wellhead.agent.memory.usage", Gauge Int "By", plain [Component];
    /// Steps taken to stay within `memory_budget`: 0 for none, 4 for all. What they are is in operations.md, "Memory".
    AgentMemorySteps = "wellhead.agent.memory.steps", Gauge Int "{step}", plain [];
    /// Constant 1 for the state each feature is in.
    AgentFeature = "wellhead.agent.feature", Gauge Int "{feature}", plain [Feature, Mechanism, State];
    /// Times the configuration was read again, by what came of it.
    AgentConfigReloads = "wellhead.agent.config.reloads", Counter Int "{reload}", plain [Outcome];
    /// 1 if the configuration that was read last is in effect, as far as it can be without a restart; 0 if it was refused or could not be read.
    AgentConfigLastReloadSuccessful = "wellhead.agent.config.last_reload.successful", Gauge Int "{reload}", plain [];
    /// When a configuration was taken up last, at the start or since, in seconds since the Unix epoch.
    AgentConfigLastReloadTimestamp = "wellhead.agent.config.last_reload.success.timestamp", Gauge Int "s", plain [];
    /// Keys whose values in the configuration are not in effect before the agent is restarted.
    AgentConfigKeysWaiting = "wellhead.agent.config.keys.waiting", Gauge Int "{key}", plain [];
    /// Time a kernel program ran; needs `program_stats`.
    AgentProgramRunTime = "wellhead.agent.program.run.time", Counter Float "s", plain [Program];
    /// How often a kernel program ran; needs `program_stats`.
    AgentProgramRuns = "wellhead.agent.program.runs", Counter Int "{run}", plain [Program];
    /// Items a receiver accepted.
    AgentExportItems = "wellhead.agent.export.items", Counter Int "{item}", plain [Signal];
    /// Items in requests that failed, each attempt counted.
    AgentExportFailures = "wellhead.agent.export.failures", Counter Int "{item}", plain [ErrorType, Signal];
    /// Items sent again after a failure.
    AgentExportRetries = "wellhead.agent.export.retries", Counter Int "{item}", plain [Signal];
    /// Items a receiver refused out of requests it otherwise accepted.
    AgentExportRejected = "wellhead.agent.export.rejected", Counter Int "{item}", plain [Signal];
    /// Items that wait to be sent.
    AgentExportQueueLength = "wellhead.agent.export.queue.length", Gauge Int "{item}", plain [Signal];
    /// Bytes of telemetry that receivers accepted, by whose it is: of the protobuf messages, before compression. The agent's own is its own.
    AgentExportVolume = "wellhead.agent.export.volume", Counter Int "By", plain [K8sNamespaceName, ServiceName, Signal];
    /// Metrics (not data points), spans and log records that receivers accepted, by whose they are.
    AgentExportVolumeItems = "wellhead.agent.export.volume.items", Counter Int "{item}", plain [K8sNamespaceName, ServiceName, Signal];
    /// Kubernetes objects known.
    AgentKubeObjects = "wellhead.agent.kube.objects", Gauge Int "{object}", plain [Kind];
    /// Watch events received from the Kubernetes API server.
    AgentKubeEvents = "wellhead.agent.kube.events", Counter Int "{event}", plain [Kind];
    /// Times a watch had to list everything again.
    AgentKubeRelists = "wellhead.agent.kube.relists", Counter Int "{relist}", plain [Kind];
    /// Requests to the Kubernetes API server, and watches, that failed.
    AgentKubeErrors = "wellhead.agent.kube.errors", Counter Int "{error}", plain [Kind];
    /// Time from the making of a container's cgroup until Kubernetes told whose it is: how long what it did had to wait for its name. Of containers that were made since the agent started.
    AgentKubeLag = "wellhead.agent.kube.lag", Histogram Float "s", plain [Kind], SECONDS;
    /// Agents that are being told.
    ResolverClients = "wellhead.resolver.clients", Gauge Int "{client}", plain [];
    /// Deltas sent, to all agents together.
    ResolverDeltas = "wellhead.resolver.deltas", Counter Int "{delta}", plain [];
    /// Snapshots begun: for agents that are new, come from another replica, or were away or too slow for longer than the log goes back.
    ResolverSnapshots = "wellhead.resolver.snapshots", Counter Int "{snapshot}", plain [];
    /// Bytes of messages sent to agents, without what TLS and HTTP/2 add.
    ResolverIo = "wellhead.resolver.io", Counter Int "By", plain [];
}

impl Metric {
    /// OpenTelemetry name.
    pub const fn name(self) -> &'static str {
        self.definition().name
    }

    /// Instrument.
    pub const fn instrument(self) -> Instrument {
        self.definition().instrument
    }

    /// Whether it is about the agent or resolver itself, and so not in the store.
    pub fn is_of_agent(self) -> bool {
        let prefixes = ["wellhead.agent.", "wellhead.resolver."];
        prefixes
            .iter()
            .any(|prefix| self.name().starts_with(prefix))
    }

    /// Whether it counts whole units or fractions.
    pub const fn value_kind(self) -> ValueKind {
        self.definition().value
    }

    /// Unit in UCUM.
    pub const fn unit(self) -> &'static str {
        self.definition().unit
    }

    /// One sentence on what it measures.
    pub const fn description(self) -> &'static str {
        self.definition().description
    }

    /// Histogram bounds; empty for other instruments.
    pub const fn bounds(self) -> &'static [f64] {
        self.definition().bounds
    }
}
