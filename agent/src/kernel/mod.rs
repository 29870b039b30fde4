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
mod load;
mod maps;
mod offsets;
mod pins;
mod probes;
mod programs;
mod rings;
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
    load::embedded_object,
    pins::{PinError, remove_pins, restart_status},
    probes::{AttachError, ProbeSettings, Probes, check_privilege},
    rings::{Ring, Rings},
};
