//! The only code that names aya or libbpf: kernel facts, structure offsets, loading and attaching, rings, counters.

mod bpf;
mod btf;
mod capabilities;
mod clock;
mod counts;
mod environment;
mod features;
mod handover;
mod hooks;
mod live;
mod live_tcp;
mod load;
mod maps;
mod netns;
mod offsets;
mod pins;
mod probes;
mod programs;
mod rings;
mod sock_diag;
mod spill;
mod steering;

pub use self::{
    btf::BtfError,
    capabilities::{Capabilities, Capability},
    clock::Clock,
    counts::{AttachedPrograms, ProgramStats, SpillEpoch, wait_for_programs},
    environment::{CgroupMode, Environment},
    features::{Feature, FeatureState, FeatureStatus},
    hooks::{HookError, Hooks},
    live::LiveIterators,
    live_tcp::{LiveTcp, LiveTcpError, live_tcp_connections},
    load::embedded_object,
    netns::{Inside, NamespaceError, NetworkNamespace, NetworkNamespaces},
    pins::{PinError, remove_pins, restart_status},
    probes::{AttachError, ProbeSettings, Probes, check_privilege},
    rings::{Ring, Rings},
    sock_diag::{SockDiagError, TcpCounts, TcpState, count_tcp},
};
