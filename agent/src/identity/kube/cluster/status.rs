//! How the watches of the cluster are doing.

use tokio::sync::watch;

use super::super::status::KubeStatus;
use crate::identity::cluster::ObjectKind;

/// The status of each kind's watch.
#[derive(Clone, Debug, Default)]
pub struct ClusterStatus {
    kinds: Vec<(ObjectKind, watch::Receiver<KubeStatus>)>,
}

impl ClusterStatus {
    /// Adds a kind.
    pub(super) fn add(&mut self, kind: ObjectKind, status: watch::Receiver<KubeStatus>) {
        self.kinds.push((kind, status));
    }

    /// How each is doing now.
    pub fn read(&self) -> Vec<(ObjectKind, KubeStatus)> {
        let status = |(kind, status): &(ObjectKind, watch::Receiver<KubeStatus>)| {
            (*kind, status.borrow().clone())
        };
        self.kinds.iter().map(status).collect()
    }

    /// Whether all are connected.
    pub fn is_connected(&self) -> bool {
        let mut kinds = self.kinds.iter();
        kinds.all(|(_, status)| status.borrow().connected)
    }

    /// The kinds that were not listed yet.
    pub fn unlisted(&self) -> Vec<ObjectKind> {
        let kinds = self.kinds.iter();
        kinds
            .filter(|(_, status)| !status.borrow().listed)
            .map(|(kind, _)| *kind)
            .collect()
    }

    /// Waits until every kind was listed once. `false` if a watch ended before.
    pub async fn all_listed(&mut self) -> bool {
        for (_, status) in &mut self.kinds {
            if status.wait_for(|status| status.listed).await.is_err() {
                return false;
            }
        }
        true
    }
}
