//! What is known of the node and the cluster beside their names.

use std::sync::Arc;

/// What the API server says, as far as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
