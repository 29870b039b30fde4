//! What the integration tests share: cgroups, network namespaces, workloads, and readers of the agent's records.
//!
//! Tests here run against the real kernel. Everything they make is their own and is removed again, panics included.

pub mod capture;
pub mod cgroup;
pub mod execute;
pub mod floor;
pub mod hostile;
pub mod netns;
pub mod pinned;
pub mod receiver;
pub mod report;
pub mod require;
pub mod snapshot;
pub mod steps;
pub mod workload;
