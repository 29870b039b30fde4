//! Who: cgroup → container → pod → workload → service, and IP address → peer.
//!
//! All of it is plain data that one task owns through [`Identity`]; only [`kube`], the watch that feeds it, is
//! asynchronous. Every table is bounded; what has to make room is counted.

pub mod cgroup_path;
pub mod cgroups;
pub mod cluster;
mod container_status;
pub mod containers;
mod describe;
mod facade;
mod facts;
mod far_ends;
mod free_attributes;
mod glob;
mod image;
pub mod kube;
mod names;
mod naming_lag;
mod owners;
mod peers;
mod pod_info;
mod pods;
mod proc_cgroup;
mod processes;
mod programs;
pub mod remote;
mod resource;
pub mod scan;
mod service;
mod settings;
#[cfg(test)]
mod testing;
mod workload;
mod workloads;

pub use self::cgroup_path::{CgroupOwner, Runtime};
pub use self::container_status::{ContainerStatus, Terminated};
pub use self::containers::{Which, is_runtimes_own};
pub use self::facade::{ContainerOf, Identity, IdentitySizes};
pub use self::facts::NodeFacts;
pub use self::far_ends::{FarEnd, PeerKey};
pub use self::glob::Glob;
pub use self::image::ImageRef;
pub use self::owners::{Owner, OwnerTable, PodNamespace};
pub use self::peers::{Peer, PeerNames};
pub use self::pod_info::{ContainerInfo, PodInfo, ServiceEnv, ServiceLabels};
pub use self::pods::{PodTable, PodUpdate};
pub use self::proc_cgroup::parse_proc_cgroup;
pub use self::processes::{
    Ancestor, Ends, Grown, MemoryLeft, Note, Noted, Notes, Process, ProcessTable, SpanState,
    processor_time,
};
pub use self::programs::{Program, Programs, executable_path};
pub use self::resource::{Resolution, Resource, Value};
pub use self::service::{Service, UNKNOWN_SERVICE};
pub use self::settings::{IdentityLimits, IdentitySettings, PeerAddresses};
pub use self::workload::{ObjectName, Workload};

/// Dense handle of an owner: a container, a host slice, or the node itself.
///
/// Handles are never reused while anything refers to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub u32);

impl OwnerId {
    /// The node: the agent's own telemetry, and whatever belongs to no known cgroup.
    pub const NODE: Self = Self(0);
}
