//! The pods of one node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::core::ApiResource;
use kube::runtime::watcher::Config;
use tokio::sync::{mpsc, watch};

use super::allow_list::AllowList;
use super::pod::SlimPod;
use super::status::KubeStatus;
use super::translate::Translate;
use super::watch::Watch;
use crate::identity::pod_info::PodInfo;
use crate::identity::pods::PodUpdate;

/// The watch of one node's pods.
pub type PodWatch = Watch<NodePods>;

/// Reads the pods of one node.
#[derive(Debug)]
pub struct NodePods {
    node: String,
    allowed: AllowList,
}

impl NodePods {
    /// `node` is its `metadata.name`.
    pub(super) fn new(node: &str, allowed: AllowList) -> Self {
        Self {
            node: node.to_owned(),
            allowed,
        }
    }
}

impl PodWatch {
    /// A watch that starts with [`Watch::run`], and the receiving end of its status. At most `max_pods` pods are told of;
    /// `node` is `metadata.name` of this node, `allowed` what is kept of pods' labels and annotations.
    pub fn new(
        client: kube::Client,
        node: &str,
        allowed: AllowList,
        max_pods: usize,
        updates: mpsc::Sender<PodUpdate>,
    ) -> (Self, watch::Receiver<KubeStatus>) {
        Self::start(client, NodePods::new(node, allowed), max_pods, updates)
    }
}

impl Translate for NodePods {
    type Content = SlimPod;
    type Item = PodInfo;
    type Update = PodUpdate;

    const OBJECTS: &'static str = "pods of this node";

    fn resources(&self) -> Vec<ApiResource> {
        vec![ApiResource::erase::<Pod>(&())]
    }

    fn selection(&self) -> Config {
        Config::default()
            .fields(&format!("spec.nodeName={}", self.node))
            .any_semantic()
    }

    fn read(&mut self, content: SlimPod) -> Option<PodInfo> {
        content.into_info(&mut self.allowed)
    }

    fn uid(item: &PodInfo) -> &Arc<str> {
        &item.uid
    }

    fn applied(&self, item: PodInfo) -> PodUpdate {
        PodUpdate::Applied(Box::new(item))
    }

    fn deleted(&self, uid: Arc<str>) -> PodUpdate {
        PodUpdate::Deleted { uid }
    }

    fn restarted(&self, items: Vec<PodInfo>) -> PodUpdate {
        PodUpdate::Restarted(items)
    }
}
