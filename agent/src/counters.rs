//! What the agent read and what it discarded, and why. A leaf: every stage counts here, `self_telemetry` reads.

mod record_kinds;
mod reloads;
mod volume;

use std::array;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub use self::record_kinds::RecordKind;
pub use self::reloads::{Reload, Reloads};
pub use self::volume::{Exporter, Volume, Volumes};

/// Where along the data's way an item was discarded: `wellhead.stage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// In a kernel program, before the ring.
    Kernel,
    /// The ring between kernel and daemon was full.
    Ring,
    /// The record could not be decoded.
    Decode,
    /// Whom it belongs to could not be said.
    Identity,
    /// The series store had no room.
    Store,
    /// A queue in front of an exporter or subscriber was full.
    Queue,
    /// The receiver refused it, or could not be reached in time.
    Export,
    /// The configuration asked for it to be left out.
    Policy,
}

impl Stage {
    /// The value of `wellhead.stage`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Ring => "ring",
            Self::Decode => "decode",
            Self::Identity => "identity",
            Self::Store => "store",
            Self::Queue => "queue",
            Self::Export => "export",
            Self::Policy => "policy",
        }
    }
}

macro_rules! discards {
    ($($(#[doc = $doc:literal])+ $variant:ident = $stage:ident / $reason:literal),+ $(,)?) => {
        /// Every way an item can be discarded; the documentation's table is generated from it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Discard { $($(#[doc = $doc])+ $variant),+ }

        impl Discard {
            /// All of them, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stage it happens at.
            pub const fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage),+ }
            }

            /// The value of `wellhead.reason`.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason),+ }
            }

            /// What it means, for the reference.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

discards! {
    /// The map of open connections had no room; the connection is not counted.
    KernelMapFull = Kernel / "map_full",
    /// The kernel skipped a program because the program was running on that CPU already: interrupted or, since Linux 7.0,
    /// preempted. What it would have told is lost (`recursion_misses` of the kernel, less what another program told instead).
    KernelRecursion = Kernel / "recursion",
    /// The end of a connection, or of an attempt to open one, was not told: the kernel skipped the program that would have, or
    /// it stood still (`gap`). Its socket is gone, so it is not active any more; it is not counted as closed, and neither is
    /// what it carried since the last snapshot.
    KernelEndMissed = Kernel / "end_missed",
    /// The agent stood still for so long (`SIGSTOP`, a frozen cgroup, a suspended machine) that its programs stopped, ten
    /// minutes after it was last seen; or an earlier agent did so long ago, or left what this one could not go on with. One for
    /// each time; what happened meanwhile is not known.
    KernelGap = Kernel / "gap",
    /// Memory of a process or of the kernel could not be read; the record went out without that part.
    KernelReadFailed = Kernel / "read_failed",
    /// Dropped packets of which only the reason is counted, or not even that: there was no room for whose they were.
    KernelDropsFull = Kernel / "drops_full",
    /// Packets with datagrams of which is only counted whose they were: there was no room for whom they were exchanged with.
    KernelUdpFull = Kernel / "udp_full",
    /// A record found its ring full, and so did what would have told whom it was about: it is counted for its cgroup, or
    /// for the node, only.
    KernelSpillFull = Kernel / "spill_full",
    /// The ring for cgroup events was full; the cgroup tree is scanned again.
    RingIdentityFull = Ring / "identity_full",
    /// The ring for process events was full: the event is counted, its details are lost.
    RingProcessFull = Ring / "process_full",
    /// The ring for connection events was full: the connection and its bytes are counted, its details are lost.
    RingNetworkFull = Ring / "network_full",
    /// A message of DNS found the ring for what packets carry full.
    RingPayloadFull = Ring / "payload_full",
    /// A packet at a port of DNS carried no message, or not all of its question.
    DecodeDnsMalformed = Decode / "dns_malformed",
    /// A message of DNS over TCP that did not lie in one segment up to the end of its question, or of which segments were missed.
    DecodeDnsSplit = Decode / "dns_split",
    /// An answer to nothing that was asked, or to something else, or that came before; also other messages than queries and answers.
    DecodeDnsUnmatched = Decode / "dns_unmatched",
    /// The record is shorter than its kind requires.
    DecodeShort = Decode / "short_record",
    /// The record's kind is unknown.
    DecodeUnknownKind = Decode / "unknown_kind",
    /// A length inside the record points past its end.
    DecodeBadLength = Decode / "bad_length",
    /// A field holds a value that cannot occur.
    DecodeBadValue = Decode / "bad_value",
    /// The event's cgroup is not known; it is counted for the node instead of its workload.
    IdentityUnknownCgroup = Identity / "unknown_cgroup",
    /// A table of cgroups, processes, containers or pods was full; its oldest entry made room.
    IdentityTableFull = Identity / "table_full",
    /// There is no room for another pod, Service, endpoint or node of the cluster: connections with it name its address only.
    IdentityClusterFull = Identity / "cluster_full",
    /// An object has more addresses than are kept of one, or of all together, or shares one with too many: connections with those
    /// left out name the address only.
    IdentityAddressesCut = Identity / "addresses_cut",
    /// The kernel did not say where a connection to a translated address really goes; it keeps the address that was dialled.
    IdentityConntrackFailed = Identity / "conntrack_failed",
    /// The series limit was reached, or memory was short (the step `series`); the measurement went to the overflow series of its metric.
    StoreSeriesLimit = Store / "series_limit",
    /// More series had ended than are kept until their end is exported; of the oldest it is not: over OTLP their last points go
    /// without a mark that they ended, and with delta temporality what was counted since the last export is lost.
    StoreEndsFull = Store / "ends_full",
    /// There were as many exemplars as there may be series; the observation is counted, and does not point to its span.
    StoreExemplarLimit = Store / "exemplar_limit",
    /// The table of open connections had no room: the connection is counted as opened and closed, but not as active.
    StoreConnectionsFull = Store / "connections_full",
    /// More look-ups of names waited for their answers than there is room for: the oldest is not counted.
    StoreLookupsFull = Store / "lookups_full",
    /// More addresses were looked up than there is room for: connections to the oldest are not called by their names any more.
    StoreNamesFull = Store / "names_full",
    /// The table of listening sockets had no room for another: nothing is told of it.
    StoreListenersFull = Store / "listeners_full",
    /// No room to follow one more connection that hangs.
    StoreHangingFull = Store / "hanging_full",
    /// The queue of spans was full; the oldest made room.
    QueueSpansFull = Queue / "spans_full",
    /// The queue of log records was full; the oldest made room.
    QueueLogsFull = Queue / "logs_full",
    /// Too many spans and events waited for their pod's metadata; the oldest made room.
    QueuePodWaitFull = Queue / "pod_wait_full",
    /// Too many of the agent's own spans or log records waited to be sent.
    QueueOwnFull = Queue / "own_full",
    /// A subscriber of live events reads too slowly; the event was left out for it.
    QueueSubscriberSlow = Queue / "subscriber_slow",
    /// A single data point or span is larger than a whole request may be.
    ExportTooLarge = Export / "too_large",
    /// What was kept on disk until its export could not be read again: an agent was ended while it wrote, or the file was damaged. A request that was not written to its end counts as one item.
    ExportSpillTorn = Export / "spill_torn",
    /// The receiver accepted the request only in part.
    ExportRejected = Export / "rejected",
    /// The receiver refused the request, or could not be reached before it was given up. Of metrics nothing is lost by that alone: the next export tells their totals, or what of them was not told.
    ExportFailed = Export / "failed",
    /// Something happened in a pod whose namespace is left out (`kubernetes.namespaces`): a fork, an execution, an exit, an
    /// out-of-memory kill, or an opened, closed or failed connection. It is counted here and nowhere else, and is not missing from completeness.
    PolicyNamespace = Policy / "namespace",
    /// An event or span that was not made because memory was short (the step `details`).
    PolicyMemory = Policy / "memory",
    /// An event that is not exported because its workload has more of them than `events.rate_limit` allows.
    PolicyEventRate = Policy / "event_rate",
    /// The arguments of a program that an event has to do without, because so many came at once that there is no time to look for secrets in them.
    PolicyArgumentRate = Policy / "argument_rate",
    /// The span of a process that ended well and soon, in a trace that `traces.sampling.process` leaves out.
    PolicySpanSampling = Policy / "span_sampling",
    /// Lines of the agent's own log beyond twenty of the same kind within ten seconds; a line that sums them up follows.
    PolicyLogLines = Policy / "log_lines",
}

/// What asking connection tracking for a connection came to: `wellhead.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookUp {
    /// Its destination was translated.
    Translated,
    /// Its destination is the one that was dialled.
    Untranslated,
    /// There is no such connection.
    Unknown,
    /// The answer is not known.
    Failed,
}

impl LookUp {
    /// All of them, in declaration order.
    pub const ALL: &'static [Self] = &[
        Self::Translated,
        Self::Untranslated,
        Self::Unknown,
        Self::Failed,
    ];

    /// The value of `wellhead.outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::Untranslated => "untranslated",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// The agent's own counters. Shared by reference between tasks; every cell only grows.
#[derive(Debug)]
pub struct Counters {
    discards: [AtomicU64; Discard::ALL.len()],
    records: [AtomicU64; RecordKind::ALL.len()],
    lost: [AtomicU64; RecordKind::ALL.len()],
    skipped: [AtomicU64; RecordKind::ALL.len()],
    look_ups: [AtomicU64; LookUp::ALL.len()],
    reloads: Reloads,
    memory_steps: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            discards: cells(),
            records: cells(),
            lost: cells(),
            skipped: cells(),
            look_ups: cells(),
            reloads: Reloads::default(),
            memory_steps: AtomicU64::default(),
        }
    }
}

/// Zeros. The standard library makes no more than 32 of them.
fn cells<const N: usize>() -> [AtomicU64; N] {
    array::from_fn(|_| AtomicU64::default())
}

impl Counters {
    /// Counts `items` discarded for one reason.
    pub fn discard(&self, why: Discard, items: u64) {
        self.discards[why as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// Counts one record read from a ring and decoded.
    pub fn record(&self, kind: RecordKind) {
        self.records[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Sets how many records of a kind found their ring full since the programs were loaded.
    /// The kernel owns that number; the daemon only mirrors it.
    pub fn set_lost(&self, kind: RecordKind, records: u64) {
        self.lost[kind as usize].store(records, Ordering::Relaxed);
    }

    /// Sets how many runs of the program that makes records of a kind the kernel skipped. Not every run makes one.
    pub fn set_skipped(&self, kind: RecordKind, runs: u64) {
        self.skipped[kind as usize].store(runs, Ordering::Relaxed);
    }

    /// Runs of the program that makes records of this kind that the kernel skipped, and that nothing made up for.
    pub fn skipped(&self, kind: RecordKind) -> u64 {
        self.skipped[kind as usize].load(Ordering::Relaxed)
    }

    /// Counts one look-up; one that failed is a discard as well.
    pub fn look_up(&self, outcome: LookUp) {
        self.look_ups[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome == LookUp::Failed {
            self.discard(Discard::IdentityConntrackFailed, 1);
        }
    }

    /// Look-ups that came to this so far.
    pub fn look_ups(&self, outcome: LookUp) -> u64 {
        self.look_ups[outcome as usize].load(Ordering::Relaxed)
    }

    /// Sets how many steps are taken to stay within the memory budget.
    pub fn set_memory_steps(&self, steps: u64) {
        self.memory_steps.store(steps, Ordering::Relaxed);
    }

    /// Steps that are taken now to stay within the memory budget.
    pub fn memory_steps(&self) -> u64 {
        self.memory_steps.load(Ordering::Relaxed)
    }

    /// What became of changed configurations.
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Sets a discard counter that somebody else owns, such as the kernel.
    pub fn set_discards(&self, why: Discard, items: u64) {
        self.discards[why as usize].store(items, Ordering::Relaxed);
    }

    /// Items discarded for this reason so far.
    pub fn discards(&self, why: Discard) -> u64 {
        self.discards[why as usize].load(Ordering::Relaxed)
    }

    /// Records of this kind read so far.
    pub fn records(&self, kind: RecordKind) -> u64 {
        self.records[kind as usize].load(Ordering::Relaxed)
    }

    /// Records of this kind lost so far.
    pub fn lost(&self, kind: RecordKind) -> u64 {
        self.lost[kind as usize].load(Ordering::Relaxed)
    }
}

/// What is exported over OTLP: `wellhead.signal` of the export metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Data points.
    Metrics,
    /// Spans.
    Traces,
    /// Log records: events.
    Logs,
}

impl Signal {
    /// All of them, in declaration order.
    pub const ALL: &'static [Self] = &[Self::Metrics, Self::Traces, Self::Logs];

    /// The value of `wellhead.signal`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

macro_rules! export_failures {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// Why a request to a receiver failed: `error.type` of `wellhead.agent.export.failures`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ExportFailure { $($(#[doc = $doc])+ $variant),+ }

        impl ExportFailure {
            /// All of them, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value of `error.type`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it means, for the reference.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

export_failures! {
    /// No connection: name not found, refused, reset, or TLS not agreed on.
    Connection = "connection",
    /// No answer within the timeout.
    Timeout = "timeout",
    /// The receiver says it cannot take data just now (HTTP 502, 503, 504; gRPC UNAVAILABLE and its like).
    Unavailable = "unavailable",
    /// The receiver wants less data (HTTP 429; gRPC RESOURCE_EXHAUSTED).
    Throttled = "throttled",
    /// Credentials are missing or not accepted (HTTP 401, 403; gRPC UNAUTHENTICATED, PERMISSION_DENIED).
    Unauthorized = "unauthorized",
    /// There is no such service at the endpoint (HTTP 404, 405; gRPC NOT_FOUND, UNIMPLEMENTED).
    NotFound = "not_found",
    /// The receiver does not accept the request (HTTP 400, 413, 415; gRPC INVALID_ARGUMENT and its like).
    Refused = "refused",
    /// The answer could not be read as OTLP, or was too large.
    InvalidResponse = "invalid_response",
    /// Anything else.
    Other = "_OTHER",
}

/// What became of exported data, by signal. Shared by reference between tasks.
#[derive(Debug, Default)]
pub struct ExportStats {
    signals: [SignalStats; Signal::ALL.len()],
    volumes: Volumes,
    ledger_bytes: AtomicUsize,
}

impl ExportStats {
    /// How much was accepted of whom.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Sets how many bytes it takes to know what of each series the receiver was told.
    pub fn set_ledger_bytes(&self, bytes: usize) {
        self.ledger_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes that takes.
    pub fn ledger_bytes(&self) -> usize {
        self.ledger_bytes.load(Ordering::Relaxed)
    }

    /// The cells of one signal.
    pub fn signal(&self, signal: Signal) -> &SignalStats {
        &self.signals[signal as usize]
    }
}

/// What became of one signal's exported items (data points or spans).
#[derive(Debug, Default)]
pub struct SignalStats {
    items: AtomicU64,
    retries: AtomicU64,
    rejected: AtomicU64,
    queue_length: AtomicU64,
    failures: [AtomicU64; ExportFailure::ALL.len()],
}

impl SignalStats {
    /// Counts items that a receiver accepted.
    pub fn add_items(&self, items: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
    }

    /// Counts items sent again after a failure.
    pub fn add_retries(&self, items: u64) {
        self.retries.fetch_add(items, Ordering::Relaxed);
    }

    /// Counts items a receiver refused out of a request it otherwise accepted.
    pub fn add_rejected(&self, items: u64) {
        self.rejected.fetch_add(items, Ordering::Relaxed);
    }

    /// Counts the items of one request that failed; each attempt counts.
    pub fn add_failures(&self, why: ExportFailure, items: u64) {
        self.failures[why as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// Sets how many items wait to be sent.
    pub fn set_queue_length(&self, items: u64) {
        self.queue_length.store(items, Ordering::Relaxed);
    }

    /// Items accepted so far.
    pub fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    /// Items sent again so far.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Items refused so far out of requests otherwise accepted.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Items of failed requests so far.
    pub fn failures(&self, why: ExportFailure) -> u64 {
        self.failures[why as usize].load(Ordering::Relaxed)
    }

    /// Items that wait to be sent now.
    pub fn queue_length(&self) -> u64 {
        self.queue_length.load(Ordering::Relaxed)
    }
}
