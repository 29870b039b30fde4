//! What identity has to be told at start.

use std::net::IpAddr;

const SECOND: u64 = 1_000_000_000;

/// Settings of [`Identity`](super::Identity), as they follow from the configuration.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// Name of this node.
    pub node_name: String,
    /// `k8s.cluster.name`, if known.
    pub cluster_name: Option<String>,
    /// Put on every resource that does not say something else under the same key.
    pub resource_attributes: Vec<(String, String)>,
    /// Names of address ranges: name, address, length of the prefix in bits.
    pub cidrs: Vec<(String, IpAddr, u8)>,
    /// How addresses that are neither pods nor in a named range are shown.
    pub peer_addresses: PeerAddresses,
    /// Whether pods are watched. If not, nothing is worth waiting for.
    pub kubernetes: bool,
    /// Whether everything in the cluster that has an address is told of, besides this node's pods.
    pub cluster: bool,
    /// Whether `app.kubernetes.io/…` labels name services; on unless told otherwise.
    pub use_well_known_labels: bool,
    /// Inode number of the host's network namespace, where it is known.
    pub host_netns: Option<u32>,
    /// Sizes and times.
    pub limits: IdentityLimits,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            cluster_name: None,
            resource_attributes: Vec::new(),
            cidrs: Vec::new(),
            peer_addresses: PeerAddresses::Name,
            kubernetes: false,
            cluster: false,
            use_well_known_labels: true,
            host_netns: None,
            limits: IdentityLimits::default(),
        }
    }
}

/// `peers.addresses`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerAddresses {
    /// `external`, whatever the address.
    #[default]
    Name,
    /// The address itself.
    Ip,
}

/// Capacities of identity's tables (entries) and how long they wait and remember (nanoseconds).
#[derive(Clone, Copy, Debug)]
pub struct IdentityLimits {
    /// Living cgroups; as many removed ones again.
    pub cgroups: usize,
    /// Owners: containers, pods, host slices and services.
    pub owners: usize,
    /// Living pods; as many deleted ones again.
    pub pods: usize,
    /// Everything in the cluster that has an address.
    pub cluster_objects: usize,
    /// Peer addresses kept as text, and as many that nothing is known of.
    pub peer_addresses: usize,
    /// How long a removed cgroup is known.
    pub cgroup_linger: u64,
    /// How long a deleted pod is known.
    pub pod_linger: u64,
    /// How long telemetry of a container waits for its pod's metadata.
    pub pod_wait: u64,
}

impl Default for IdentityLimits {
    fn default() -> Self {
        Self {
            cgroups: 8_192,
            owners: 8_192,
            pods: 1_024,
            cluster_objects: 32_768,
            peer_addresses: 4_096,
            cgroup_linger: 60 * SECOND,
            pod_linger: 120 * SECOND,
            pod_wait: 30 * SECOND,
        }
    }
}
