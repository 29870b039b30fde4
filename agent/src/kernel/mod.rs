//! The only code that names aya or libbpf: kernel facts, structure offsets, loading and attaching, rings, counters.

mod abilities;
mod bpf;
mod btf;
mod capabilities;
mod classic;
mod clock;
mod conntrack;
mod counts;
mod drop_reasons;
mod environment;
mod features;
mod handover;
mod hooks;
mod host_addresses;
mod host_netns;
mod jiffies;
mod kernel_config;
mod layout;
mod live;
mod live_tcp;
mod load;
mod lost_handshakes;
mod map_memory;
mod maps;
mod netns;
mod offsets;
mod pins;
mod positions;
mod probes;
mod programs;
mod report;
mod rings;
mod roll;
mod sock_diag;
mod spill;
mod steering;
mod tallies;
mod tracepoint_format;
mod usage;

pub use self::{
    abilities::Ability,
    btf::BtfError,
    capabilities::{Capabilities, Capability},
    clock::Clock,
    conntrack::{Conntrack, ConntrackError, Transport, WantConntrack, conntrack_status},
    counts::{AttachedPrograms, ProgramStats, SpillEpoch, wait_for_programs},
    environment::{Environment, Fact},
    features::{Feature, FeatureState, FeatureStatus},
    handover::Switched,
    hooks::{HookError, Hooks, Step},
    host_addresses::host_addresses,
    host_netns::host_network_namespace,
    layout::{Argument, Layout},
    live::{LiveIterators, NAMESPACES},
    live_tcp::{LiveTcp, LiveTcpError, live_tcp_connections},
    load::embedded_object,
    lost_handshakes::LostHandshakes,
    map_memory::map_memory,
    netns::{Inside, NamespaceError, NetworkNamespace, NetworkNamespaces},
    pins::{PinError, remove_pins, restart_status},
    probes::{AttachError, ProbeSettings, Probes, check_privilege},
    report::FeatureReport,
    rings::{Ring, Rings},
    roll::ConnectionTable,
    sock_diag::{SockDiagError, TcpCounts, TcpState, count_tcp},
    tallies::{Dropped, Tallied, Tallies, TallyEpoch, UdpFlow},
    usage::ProcessUsage,
};
