//! What the agent read and what it discarded, and why. A leaf: every stage counts here, `self_telemetry` reads.

use std::sync::atomic::{AtomicU64, Ordering};

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
    /// A program was skipped because it interrupted itself on the same CPU (`recursion_misses` of the kernel).
    KernelRecursion = Kernel / "recursion",
    /// Memory of a process or of the kernel could not be read; the record went out without that part.
    KernelReadFailed = Kernel / "read_failed",
    /// The ring for cgroup events was full; the cgroup tree is scanned again.
    RingIdentityFull = Ring / "identity_full",
    /// The ring for process events was full.
    RingProcessFull = Ring / "process_full",
    /// The ring for connection events was full.
    RingNetworkFull = Ring / "network_full",
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
    /// A table of cgroups, processes or pods was full; its oldest entry made room.
    IdentityTableFull = Identity / "table_full",
    /// The series limit was reached; the measurement went to the overflow series of its metric.
    StoreSeriesLimit = Store / "series_limit",
    /// The span queue was full; the oldest span made room.
    QueueSpansFull = Queue / "spans_full",
    /// A subscriber of live events reads too slowly; the event was left out for it.
    QueueSubscriberSlow = Queue / "subscriber_slow",
    /// The receiver accepted the request only in part.
    ExportRejected = Export / "rejected",
    /// The receiver refused the request, or could not be reached before it was given up.
    ExportFailed = Export / "failed",
}

macro_rules! record_kinds {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// Kinds of kernel records, as `wellhead.record.kind` names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RecordKind { $(#[doc = $name] $variant),+ }

        impl RecordKind {
            /// All of them, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value of `wellhead.record.kind`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

record_kinds! {
    CgroupMkdir = "cgroup_mkdir",
    CgroupRmdir = "cgroup_rmdir",
    CgroupAttach = "cgroup_attach",
    Fork = "fork",
    Exec = "exec",
    Exit = "exit",
    OomKill = "oom_kill",
    TcpOpen = "tcp_open",
    TcpClose = "tcp_close",
    TcpConnectFailed = "tcp_connect_failed",
}

/// The agent's own counters. Shared by reference between tasks; every cell only grows.
#[derive(Debug, Default)]
pub struct Counters {
    discards: [AtomicU64; Discard::ALL.len()],
    records: [AtomicU64; RecordKind::ALL.len()],
    lost: [AtomicU64; RecordKind::ALL.len()],
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

    /// Sets a discard counter that the kernel owns.
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
