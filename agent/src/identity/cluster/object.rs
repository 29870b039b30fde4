//! What is kept of an object that has addresses, and the news of such objects.
//!
//! The same whether the agent watches the cluster itself or is told by a resolver.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use jiff::Timestamp;

use crate::identity::workload::Workload;

/// What kind of object has an address. Where several have the same one, the kind that comes first here names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A pod, by the addresses of its own; one with the host's network has none.
    Pod,
    /// A Service, by its cluster addresses, whatever the port, by external and load-balancer addresses with its ports, and by its
    /// ports at every node.
    Service,
    /// What an EndpointSlice (or Endpoints) says is behind a Service and no pod, such as the API server; each address with its port.
    Endpoints,
    /// A node, by `status.addresses`.
    Node,
}

impl ObjectKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pod, Self::Service, Self::Endpoints, Self::Node];

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Addresses kept of one object: more than it has in earnest, and no more than whoever may write it should take of every
    /// node's memory.
    pub const fn most_addresses(self) -> usize {
        match self {
            Self::Pod | Self::Node => 64,
            Self::Service | Self::Endpoints => 1_024,
        }
    }

    /// How many of the objects that a table has room for may be there when one more of this kind is told of by the cluster. Pods are by
    /// far the most, so some room is for all others; and some is for this node's own pods.
    pub const fn room(self, capacity: usize) -> usize {
        match self {
            Self::Pod => capacity - capacity / 8,
            Self::Service | Self::Endpoints | Self::Node => capacity - capacity / 32,
        }
    }

    /// Its name, as `wellhead.kind` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::Endpoints => "Endpoints",
            Self::Node => "Node",
        }
    }
}

/// An address of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The address; an IPv6 address that holds an IPv4 one is written as the latter.
    pub ip: IpAddr,
    /// `None`: whatever the port.
    pub port: Option<u16>,
}

impl Address {
    /// An address, whatever the port.
    pub fn any_port(ip: IpAddr) -> Self {
        Self {
            ip: ip.to_canonical(),
            port: None,
        }
    }

    /// A port at every node's addresses. It has an address of its own, in a block where nothing can be (RFC 6666).
    pub fn at_nodes(port: u16) -> Self {
        let ip = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, port);
        Self::any_port(ip.into())
    }
}

/// An object that has addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterObject {
    /// What it is.
    pub kind: ObjectKind,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// What it is called: the workload a pod is part of; a Service (also for its endpoints) or Node itself, with that kind.
    /// A Node's namespace is empty.
    pub name: Arc<Workload>,
    /// Its addresses. Without any it is still told of, since it may have had some.
    pub addresses: Vec<Address>,
    /// When it began: of a pod `status.startTime`, else `metadata.creationTimestamp`.
    pub since: Option<Timestamp>,
    /// A pod that has succeeded or failed for good, or a Service that is being deleted: its addresses may be another's by now.
    pub finished: bool,
}

/// What a watch of the cluster, or a resolver, tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterUpdate {
    /// An object is new or has changed.
    Applied(Box<ClusterObject>),
    /// An object is gone.
    Deleted {
        /// What it was.
        kind: ObjectKind,
        /// Its `metadata.uid`.
        uid: Arc<str>,
    },
    /// All objects of a kind, after a (re)list; whatever is not among them is gone.
    Restarted {
        /// The kind.
        kind: ObjectKind,
        /// All of them.
        objects: Vec<ClusterObject>,
    },
}
