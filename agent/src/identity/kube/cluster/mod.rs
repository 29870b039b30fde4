//! The watches of everything in the cluster that has an address: pods, Services, what is behind those and no pod, nodes.
//!
//! What is asked of the API server does not depend on how much happens on this node, so one process should do it for many:
//! the resolver.

mod endpoints;
mod nodes;
mod object;
mod pods;
mod services;
mod status;
#[cfg(test)]
mod tests;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Client;
use tokio::sync::{mpsc, watch};

use self::endpoints::Endpoints;
use self::nodes::Nodes;
use self::pods::Pods;
use self::services::Services;
pub use self::status::ClusterStatus;
use super::status::KubeStatus;
use super::translate::Translate;
use super::watch::Watch;
use crate::identity::cluster::{ClusterObject, ClusterUpdate, ObjectKind};

/// One watch for each kind of object. They run as tasks of their own, so that a kind that cannot be listed holds up no other.
pub struct ClusterWatch {
    watches: Vec<BoxFuture<'static, ()>>,
    status: ClusterStatus,
}

impl ClusterWatch {
    /// Watches that are yet to be run. At most `max_objects` of a kind are told of.
    pub fn new(client: &Client, max_objects: usize, updates: &mpsc::Sender<ClusterUpdate>) -> Self {
        let mut all = Self {
            watches: Vec::new(),
            status: ClusterStatus::default(),
        };
        let (pods, services) = (Pods::default(), Services::default());
        let (endpoints, nodes) = (Endpoints::default(), Nodes::default());
        all.add(client, pods, max_objects, updates);
        all.add(client, services, max_objects, updates);
        all.add(client, endpoints, max_objects, updates);
        all.add(client, nodes, max_objects, updates);
        all
    }

    fn add<T>(
        &mut self,
        client: &Client,
        translate: T,
        max_objects: usize,
        updates: &mpsc::Sender<ClusterUpdate>,
    ) where
        T: Translate<Item = ClusterObject, Update = ClusterUpdate> + OfKind + Sync + 'static,
    {
        let (watch, status): (Watch<T>, watch::Receiver<KubeStatus>) =
            Watch::start(client.clone(), translate, max_objects, updates.clone());
        self.watches.push(watch.run().boxed());
        self.status.add(T::KIND, status);
    }

    /// How they are doing.
    pub fn status(&self) -> ClusterStatus {
        self.status.clone()
    }

    /// The watches, each to be run as a task. They end when the receiver of updates is dropped.
    pub fn into_tasks(self) -> Vec<BoxFuture<'static, ()>> {
        self.watches
    }
}

/// A translation to [`ClusterObject`]s of one kind.
trait OfKind {
    const KIND: ObjectKind;
}

/// What all translations to cluster updates have in common.
macro_rules! cluster_updates {
    () => {
        type Item = crate::identity::cluster::ClusterObject;
        type Update = crate::identity::cluster::ClusterUpdate;

        /// Pages keep a list of the whole cluster from being one answer; with `any_semantic` servers would ignore the limit.
        fn selection(&self) -> kube::runtime::watcher::Config {
            kube::runtime::watcher::Config::default()
        }

        fn uid(item: &Self::Item) -> &std::sync::Arc<str> {
            &item.uid
        }

        fn matters(item: &Self::Item) -> bool {
            !item.addresses.is_empty()
        }

        fn applied(&self, item: Self::Item) -> Self::Update {
            Self::Update::Applied(Box::new(item))
        }

        fn deleted(&self, uid: std::sync::Arc<str>) -> Self::Update {
            let kind = <Self as super::OfKind>::KIND;
            Self::Update::Deleted { kind, uid }
        }

        fn restarted(&self, objects: Vec<Self::Item>) -> Self::Update {
            let kind = <Self as super::OfKind>::KIND;
            Self::Update::Restarted { kind, objects }
        }
    };
}
use cluster_updates;
