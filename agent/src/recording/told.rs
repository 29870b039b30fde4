//! What a pipeline is told beside the kernel's records.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Counts, Missing, SpilledEntries};
use crate::identity::cluster::ClusterUpdate;
use crate::identity::{NodeFacts, PodUpdate};
use crate::kernel::{ProcessUsage, Tallied};

/// How a recording begins: the circumstances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Of the agent that recorded.
    pub version: String,
    /// Of the kernel.
    pub kernel: String,
    /// `node_name`.
    pub node_name: String,
    /// What tells this boot from others: ids of spans follow from it.
    pub boot_id: String,
    /// Boot clock when it began, nanoseconds.
    pub boot_ns: u64,
    /// By how much the wall clock was ahead of the boot clock, nanoseconds.
    pub wall_offset_ns: i64,
    /// Whether connections are known by the cookies of their sockets.
    pub cookies: bool,
    /// Process id of the agent that recorded, as the kernel's records have it.
    pub own_pid: Option<u32>,
    /// Whether pods were watched.
    pub kubernetes: bool,
    /// Whether somebody told of the rest of the cluster.
    pub cluster: bool,
    /// Inode number of the host's network namespace, where it was known.
    pub host_netns: Option<u32>,
}

/// What a pipeline is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The first entry.
    Start(Start),
    /// A scan of the cgroup tree.
    Cgroups {
        /// Boot clock when it began.
        started_ns: u64,
        /// Whether nothing was left out.
        complete: bool,
        /// Id and path, parents before children.
        cgroups: Vec<(u64, String)>,
    },
    /// News of this node's pods.
    Pods(PodUpdate),
    /// What the API server says of the node.
    Facts(NodeFacts),
    /// The host's own addresses.
    HostAddresses(BTreeSet<IpAddr>),
    /// News of the rest of the cluster.
    Cluster(ClusterUpdate),
    /// Where a connection to a translated address really went. Comes before what it was asked for.
    Backend {
        /// The end that opened the connection.
        local: SocketAddr,
        /// What it connected to.
        remote: SocketAddr,
        /// Who answered.
        backend: SocketAddr,
    },
    /// Why a packet of a handshake was dropped. Comes before what it was asked for.
    LostHandshake {
        /// The number it began with.
        sequence: u32,
        /// As the kernel calls it.
        reason: Arc<str>,
    },
    /// What the kernel counted by now.
    Counts(Counts),
    /// What the kernel added up of records that found their ring full.
    Spilled(SpilledEntries),
    /// What the programs counted without telling of each.
    Tallied(Tallied),
    /// What processes used until now.
    Usage(Vec<ProcessUsage>),
    /// Connections whose end was told by such a record.
    Vanished {
        /// Their sockets.
        sockets: Vec<u64>,
    },
    /// Connections without a socket.
    Missing(Missing),
    /// The wall clock was set.
    WallClockMoved {
        /// Forward.
        nanoseconds: i64,
    },
    /// A second has passed: tables are looked after.
    Second,
    /// Whoever wrote it could not keep up.
    Missed {
        /// Records left out.
        records: u64,
    },
    /// The recording was ended in order.
    End,
}
