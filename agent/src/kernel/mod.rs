//! The only code that names aya or libbpf: kernel facts, structure offsets, loading and attaching, rings, counters.

mod abilities;
mod btf;
mod capabilities;
mod classic;
mod clock;
mod counts;
mod environment;
mod features;
mod hooks;
mod kernel_config;
mod offsets;
mod positions;
mod probes;
mod programs;
mod report;
mod rings;
mod tracepoint_format;

pub use self::{
    abilities::Ability,
    btf::BtfError,
    capabilities::{Capabilities, Capability},
    clock::Clock,
    counts::{AttachedPrograms, ProgramStats},
    environment::{Environment, Fact},
    features::{Feature, FeatureState, FeatureStatus},
    hooks::{HookError, Hooks},
    probes::{AttachError, ProbeSettings, Probes, check_privilege, embedded_object},
    report::FeatureReport,
    rings::{Ring, Rings},
};
