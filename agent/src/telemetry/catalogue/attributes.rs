//! Attributes of data points, with their OpenTelemetry and Prometheus names.

macro_rules! attributes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $key:literal / $label:literal),+ $(,)?) => {
        /// An attribute of a data point. Declared, and therefore ordered, by its OpenTelemetry key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Attr { $($(#[doc = $doc])+ $variant),+ }

        impl Attr {
            /// All of them, in key order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The OpenTelemetry attribute key.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$variant => $key),+ }
            }

            /// The Prometheus label name: the key with everything but letters and digits made `_`.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }

            /// What it means, for the reference.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

attributes! {
    /// `user` or `system`: in user mode or in the kernel.
    CpuMode = "cpu.mode" / "cpu_mode",
    /// Address of the end that accepted the connection; only where that is not a Kubernetes object.
    DestinationAddress = "destination.address" / "destination_address",
    /// Namespace of the end that accepted the connection.
    DestinationNamespace = "destination.k8s.namespace.name" / "destination_k8s_namespace_name",
    /// Service the connection was opened to.
    DestinationService = "destination.k8s.service.name" / "destination_k8s_service_name",
    /// Kind of the workload that accepted the connection, such as `Deployment`.
    DestinationWorkloadKind = "destination.k8s.workload.kind" / "destination_k8s_workload_kind",
    /// Workload that accepted the connection.
    DestinationWorkload = "destination.k8s.workload.name" / "destination_k8s_workload_name",
    /// Port the connection was opened to.
    DestinationPort = "destination.port" / "destination_port",
    /// `read` or `write`.
    DiskIoDirection = "disk.io.direction" / "disk_io_direction",
    /// The name that was asked for; only with `dns.question_name`, as there may be very many.
    DnsQuestionName = "dns.question.name" / "dns_question_name",
    /// Class of the failure. Of look-ups: `nxdomain`, `servfail`, `refused`, `formerr`, `notimp`, `timeout` or `_OTHER`. Of connections: `connection_refused`, `timed_out`, `connection_reset`,
    /// `host_unreachable`, `network_unreachable`, `address_not_available`, `aborted` or `_OTHER`; of exports:
    /// listed under "Export failures".
    ErrorType = "error.type" / "error_type",
    /// Name of a container in its pod, where what is counted is the pod's.
    K8sContainerName = "k8s.container.name" / "k8s_container_name",
    /// Namespace of the pods whose telemetry it was; none for others.
    K8sNamespaceName = "k8s.namespace.name" / "k8s_namespace_name",
    /// State of a connection (RFC 9293): `syn_sent`, `close_wait`, `fin_wait_1`, `fin_wait_2`, `last_ack` or `closing`.
    ConnectionState = "network.connection.state" / "network_connection_state",
    /// `transmit` or `receive`, seen from the container whose metric it is.
    NetworkIoDirection = "network.io.direction" / "network_io_direction",
    /// `quic` where port and first byte of datagrams say so; otherwise absent.
    NetworkProtocolName = "network.protocol.name" / "network_protocol_name",
    /// `true` on the series that takes what no longer fits under the series limit, and of exported volume what is of services that are
    /// not told apart.
    MetricOverflow = "otel.metric.overflow" / "otel_metric_overflow",
    /// Name the program was called by: the base name of the executed path; where that was a descriptor or `/proc/self/exe`, of the file.
    ProcessExecutableName = "process.executable.name" / "process_executable_name",
    /// Exit status of a process that exited by itself.
    ProcessExitCode = "process.exit.code" / "process_exit_code",
    /// Port that is listened on.
    ServerPort = "server.port" / "server_port",
    /// The service whose telemetry it was.
    ServiceName = "service.name" / "service_name",
    /// Address of the end that opened the connection; only where that is not a Kubernetes object.
    SourceAddress = "source.address" / "source_address",
    /// Namespace of the end that opened the connection.
    SourceNamespace = "source.k8s.namespace.name" / "source_k8s_namespace_name",
    /// Kind of the workload that opened the connection, such as `Deployment`.
    SourceWorkloadKind = "source.k8s.workload.kind" / "source_k8s_workload_kind",
    /// Workload that opened the connection.
    SourceWorkload = "source.k8s.workload.name" / "source_k8s_workload_name",
    /// Part of the agent that takes memory: `rings`, `kernel_maps` (which the kernel measures, and may take a few per cent more than it is given), `connections`, `processes`, `cgroups`, `pods`, `owners`, `cluster`, `series`, `spans`, `logs`; `total` is the whole process.
    Component = "wellhead.component" / "wellhead_component",
    /// `true` of a container in which the kernel killed a process for lack of memory; otherwise absent.
    ContainerOomKilled = "wellhead.container.oom_killed" / "wellhead_container_oom_killed",
    /// Why packets were dropped, as the kernel calls it (`enum skb_drop_reason` without its prefix, since Linux 5.17; before, the function
    /// that dropped them, if `/proc/kallsyms` tells); `SUBSYS_N` of a subsystem whose reasons have no names, else `_OTHER`.
    DropReason = "wellhead.drop.reason" / "wellhead_drop_reason",
    /// Something the agent captures or can do, as `doctor` lists it.
    Feature = "wellhead.feature" / "wellhead_feature",
    /// What the agent checks itself by: `tcp_balance`, `tcp_active_series` or `tcp_active_kernel`; see
    /// "Checks of itself".
    Invariant = "wellhead.invariant" / "wellhead_invariant",
    /// Kind of Kubernetes object: `Pod`, `Service`, `Endpoints` or `Node`. Of an agent `Pod` are its own node's, and `ClusterPod`
    /// those of all nodes (`peers.kubernetes`).
    Kind = "wellhead.kind" / "wellhead_kind",
    /// Kernel mechanism a feature is attached by.
    Mechanism = "wellhead.mechanism" / "wellhead_mechanism",
    /// Name of the metric the series belong to.
    Metric = "wellhead.metric" / "wellhead_metric",
    /// What a look-up came to: `translated` (another destination was found), `untranslated` (the one that was dialled), `unknown`
    /// (no such connection is tracked) or `failed`. What reading the configuration again came to: `applied`, `unchanged` (nothing
    /// that can change now), `refused` (a mistake in it) or `unreadable`.
    Outcome = "wellhead.outcome" / "wellhead_outcome",
    /// Signal that ended the process, such as `SIGKILL`.
    ProcessSignal = "wellhead.process.signal" / "wellhead_process_signal",
    /// A program in the kernel.
    Program = "wellhead.program" / "wellhead_program",
    /// Reason within the stage; listed under "Discards".
    Reason = "wellhead.reason" / "wellhead_reason",
    /// Kind of kernel record; listed under "Record kinds".
    RecordKind = "wellhead.record.kind" / "wellhead_record_kind",
    /// Which end of the connection is on this node: `source` or `destination`.
    Reporter = "wellhead.reporter" / "wellhead_reporter",
    /// Kind of telemetry: `process`, `tcp` or `dns` where it is captured, `metrics`, `traces` or `logs` where it is exported.
    Signal = "wellhead.signal" / "wellhead_signal",
    /// Stage of the data's way at which it was discarded.
    Stage = "wellhead.stage" / "wellhead_stage",
    /// State of a feature: `on`, `off` or `unknown`.
    State = "wellhead.state" / "wellhead_state",
    /// What data waited for: `busy` (it was on its way, or waited for acknowledgements), `receive_window` (the peer had no room for
    /// more) or `send_buffer` (the sender's own buffer, as large as it may become, was too small).
    TcpLimit = "wellhead.tcp.limit" / "wellhead_tcp_limit",
    /// Why segments were sent again: `handshake` (a SYN of the source, a SYN-ACK of the destination), `timeout` (no acknowledgement in time),
    /// `tail_loss_probe`, `fast` (acknowledgements told of the loss), or `_OTHER` where that was not seen.
    TcpRetransmitReason = "wellhead.tcp.retransmit.reason" / "wellhead_tcp_retransmit_reason",
}

/// Both ends of a flow, in key order. *Source* is the end that opened the connection.
pub const FLOW: &[Attr] = &[
    Attr::DestinationAddress,
    Attr::DestinationNamespace,
    Attr::DestinationService,
    Attr::DestinationWorkloadKind,
    Attr::DestinationWorkload,
    Attr::DestinationPort,
    Attr::SourceAddress,
    Attr::SourceNamespace,
    Attr::SourceWorkloadKind,
    Attr::SourceWorkload,
    Attr::Reporter,
];
