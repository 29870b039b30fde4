//! Who: cgroup → container → pod → workload → service, and IP address → peer.

mod resource;

pub use self::resource::{Resolution, Resource, Value};

/// Dense handle of an owner: a container, a host slice, or the node itself.
///
/// Handles are never reused while anything refers to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub u32);

impl OwnerId {
    /// The node: the agent's own telemetry, and whatever belongs to no known cgroup.
    pub const NODE: Self = Self(0);
}
