//! The only code that names aya or libbpf: kernel facts, structure offsets, loading and attaching, rings, counters.

mod btf;
mod capabilities;
mod classic;
mod clock;
mod counts;
mod environment;
mod features;
mod hooks;
mod offsets;
mod positions;
mod probes;
mod programs;
mod rings;
mod tracepoint_format;

pub use self::{
    btf::BtfError,
    capabilities::{Capabilities, Capability},
    clock::Clock,
    counts::{AttachedPrograms, ProgramStats},
    environment::{CgroupMode, Environment},
    features::{Feature, FeatureState, FeatureStatus},
    hooks::{HookError, Hooks},
    probes::{AttachError, ProbeSettings, Probes, check_privilege, embedded_object},
    rings::{Ring, Rings},
};
