//! The only code that names aya or libbpf: kernel facts, structure offsets, loading and attaching, rings, counters.

mod btf;
mod capabilities;
mod clock;
mod counts;
mod environment;
mod features;
mod hooks;
mod live_tcp;
mod netns;
mod offsets;
mod probes;
mod programs;
mod rings;
mod sock_diag;

pub use self::{
    btf::BtfError,
    capabilities::{Capabilities, Capability},
    clock::Clock,
    counts::{AttachedPrograms, ProgramStats},
    environment::{CgroupMode, Environment},
    features::{Feature, FeatureState, FeatureStatus},
    hooks::{HookError, Hooks},
    live_tcp::{LiveTcp, LiveTcpError, live_tcp_connections},
    netns::{Inside, NamespaceError, NetworkNamespace, NetworkNamespaces},
    probes::{AttachError, ProbeSettings, Probes, check_privilege, embedded_object},
    rings::{Ring, Rings},
    sock_diag::{SockDiagError, TcpCounts, TcpState, count_tcp},
};
