//! Where the agent learns what has which address in the cluster: from a resolver, by watching it itself, or not at all.

use kube::Client;
use tokio::sync::{mpsc, watch};

use super::Settings;
use crate::identity::cluster::ClusterUpdate;
use crate::identity::kube::{ClusterStatus, ClusterWatch};
use crate::identity::remote::{RemoteStatus, ResolverClient};
use crate::supervised::Tasks;

/// Updates that may wait for the pipeline; a list of all objects of a kind is one of them.
const UPDATES: usize = 1_024;

/// News of the cluster's objects, and how their source is doing.
#[derive(Debug)]
pub(super) struct ClusterNews {
    pub(super) updates: mpsc::Receiver<ClusterUpdate>,
    pub(super) source: ClusterSource,
}

/// Where news come from.
#[derive(Clone, Debug)]
pub(super) enum ClusterSource {
    /// A resolver.
    Resolver(watch::Receiver<RemoteStatus>),
    /// The agent's own watches.
    Watch(ClusterStatus),
}

impl ClusterSource {
    /// The agent's own watches, if that is what it is.
    pub(super) fn watches(&self) -> Option<ClusterStatus> {
        match self {
            Self::Resolver(_) => None,
            Self::Watch(status) => Some(status.clone()),
        }
    }
}

/// Starts what is configured; `None` if nothing is, or there is no cluster.
pub(super) fn follow(
    client: Option<&Client>,
    settings: &Settings,
    tasks: &Tasks,
) -> Option<ClusterNews> {
    let (sender, updates) = mpsc::channel(UPDATES);
    if let Some(remote) = settings.resolver.clone() {
        tracing::info!(resolver = %remote.url, "following a resolver");
        let (client, status) = ResolverClient::new(remote, sender);
        tasks.spawn("resolver's news", client.run());
        let source = ClusterSource::Resolver(status);
        return Some(ClusterNews { updates, source });
    }
    if !settings.watch_cluster {
        return None;
    }
    let Some(client) = client else {
        tracing::warn!("there is no cluster to watch (peers.kubernetes)");
        return None;
    };
    let watch = ClusterWatch::new(client, settings.cluster_objects, &sender);
    let source = ClusterSource::Watch(watch.status());
    for kind in watch.into_tasks() {
        tasks.spawn("cluster", kind);
    }
    Some(ClusterNews { updates, source })
}
