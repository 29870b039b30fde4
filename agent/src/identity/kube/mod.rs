//! The watches of Kubernetes objects: of this node's pods, and of everything in the cluster that has an address.

mod allow_list;
mod client;
mod cluster;
mod facts;
mod failure;
mod guarded;
mod node_pods;
mod pod;
mod resource_annotations;
mod status;
#[cfg(test)]
mod testing;
mod translate;
mod watch;

pub use self::allow_list::AllowList;
pub use self::client::{KubeError, KubernetesMode, connect};
pub use self::cluster::{ClusterStatus, ClusterWatch};
pub use self::facts::learn_facts;
pub use self::node_pods::PodWatch;
pub use self::status::KubeStatus;
