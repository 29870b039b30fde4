//! The one watch of this node's pods.

mod client;
mod pod;
mod status;
mod watch;

pub use self::client::{KubeError, KubernetesMode, connect};
pub use self::status::KubeStatus;
pub use self::watch::PodWatch;
