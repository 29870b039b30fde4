//! What is known of the node and the cluster beside their names.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the API server says, as far as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// `metadata.uid` of the node.
    pub node_uid: Option<Arc<str>>,
    /// Its label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// Its label `topology.kubernetes.io/region`.
    pub region: Option<Arc<str>>,
    /// `metadata.uid` of the namespace `kube-system`.
    pub cluster_uid: Option<Arc<str>>,
}

impl NodeFacts {
    /// Whether there is nothing more to be learned. Regions say nothing that zones do not.
    pub fn is_complete(&self) -> bool {
        self.node_uid.is_some() && self.zone.is_some() && self.cluster_uid.is_some()
    }

    /// These, and what was known before where they say nothing.
    #[must_use]
    pub fn or(self, before: &Self) -> Self {
        Self {
            node_uid: self.node_uid.or_else(|| before.node_uid.clone()),
            zone: self.zone.or_else(|| before.zone.clone()),
            region: self.region.or_else(|| before.region.clone()),
            cluster_uid: self.cluster_uid.or_else(|| before.cluster_uid.clone()),
        }
    }

    /// Attributes of every Resource.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&'static str, &Arc<str>)> {
        let all = [
            ("k8s.cluster.uid", &self.cluster_uid),
            ("k8s.node.uid", &self.node_uid),
            ("cloud.availability_zone", &self.zone),
            ("cloud.region", &self.region),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)))
    }
}
